"""The store: what is written down, each write one script that happens whole or not at all."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from bridge.actors.leases import Lease
from bridge.actors.store.commands import Commands, EngineScripts, Script
from bridge.actors.store.connections import Connections
from bridge.actors.store.context import MICROSECONDS, decode_context, encode_context
from bridge.actors.store.lease_store import LeaseStore, script_source
from bridge.actors.store.pipelining import connected_replicas
from bridge.door import Posted
from bridge.errors import Fenced, MailboxFull, NewerRecord, RecordTooLarge, StaleRecord
from bridge.keys import Keys
from bridge.messages import Answer, Ask, InboxEvent, UserMessage, encode_event, id_of_key
from bridge.records import (
    CONTEXT_TTL_S,
    RECORD_VERSION,
    ChatRecord,
    ContextEntry,
    DeadLetter,
    FlightEntry,
    context_entry,
    decode_record,
    encode_record,
    ended_record,
    version_on_record,
)

log = logging.getLogger("bridge.store")

SEEN_TTL_S = 8 * 86_400
CONTEXT_LIMIT = 1_000
CONTEXT_BYTES = 1 << 20
# Of the entries in the inbox and the record together; below RECORD_BYTES, so that a full mailbox is refused first.
MAILBOX_BYTES = 4 << 20
RECORD_BYTES = 8 << 20
FLIGHT_LIMIT = 500
DEAD_LIMIT = 10_000
DEAD_TTL_S = 30 * 86_400
REPLIES_TTL_S = 60
UNCHECKED = "*"
FENCED, WRITTEN, REPEATED, STALE = range(4)


class StoredChat(msgspec.Struct, frozen=True):
    """A chat as it is on record; `record` is None where that cannot be read."""

    user_id: str
    raw: bytes
    record: ChatRecord | None


class Commit(msgspec.Struct, kw_only=True):
    """Everything that one step writes. `over`: the record is that of a chat that has ended.

    `position` is what the engine of the inbox records, of the entries that led to the step. `base` is the version of
    the record that the step builds on, empty for a new record; None leaves it unchecked. `sent_letters` are the
    names of dead letters that the step owes again.
    """

    user_id: str
    record: ChatRecord | None = None
    base: str | None = None
    over: bool = False
    position: Iterable[str | int] = ()
    context: Iterable[UserMessage] = ()
    dead_letters: Iterable[DeadLetter] = ()
    sent_letters: Iterable[str] = ()
    flight: Iterable[FlightEntry] = ()
    # Of the step, not of the try: a commit that is repeated writes the very same bytes.
    at_ms: int = msgspec.field(default_factory=lambda: _now_ms())


class Store(LeaseStore):
    """Reads and writes for one tenant. Every method raises StoreUnavailable when the store does not answer."""

    def __init__(
        self, connections: Connections, keys: Keys, *, client: str, mailbox_limit: int, engine: EngineScripts
    ) -> None:
        super().__init__(Commands(connections), keys)
        self.durability = connections.durability
        self._client = client
        self._mailbox_limit = mailbox_limit
        self._wait_replicas = connections.wait_replicas
        self._engine_names = engine.names
        names = ("post", "posted", "commit", "rename")
        shared = script_source("shared")
        before = {
            "post": shared + engine.append,
            "commit": shared + engine.record_position,
            "posted": shared,
            "rename": "",
        }
        self._scripts = {name: Script(before[name] + script_source(name)) for name in names}

    # --- in ---------------------------------------------------------------------------------------------------------

    def post(
        self,
        message: UserMessage,
        event: InboxEvent | None,
        *,
        append: Callable[[InboxEvent, str], None] | None = None,
    ) -> Posted:
        """Stores a message durably: into the inbox of an open chat, else as context; a repeat changes nothing.

        `event` is None where the message may only be context. `append` is called with the event and the open chat's id
        where the engine of the inbox appends outside the script. Raises MailboxFull.
        """
        partition, user = self.keys.partition(message.user_key), message.user_key
        seen = self.keys.seen(partition, user, message.provider, message.message_id)
        loads = self.keys.of(partition, "loads")
        keys = [
            seen,
            self.keys.of(partition, "chats"),
            self.keys.of(partition, "context", user),
            self.keys.of(partition, "context_bytes", user),
            loads,
            self.keys.of(partition, "versions"),
            *self._engine_keys(partition),
        ]
        encoded = encode_event(event) if event else b""
        args: list[Any] = [user, encoded, self._as_context(message, self.clock.now_ms()), SEEN_TTL_S]
        args += [CONTEXT_TTL_S, CONTEXT_LIMIT, CONTEXT_BYTES, self._mailbox_limit, MAILBOX_BYTES]
        args.append(message.user_id if message.user_id != user else "")
        raw: list[bytes] = self._durably("post", keys, args)
        went, chat_id = (part.decode() for part in raw)
        if went == "full":
            raise MailboxFull(f"the chat owes {self._mailbox_limit} messages, or {MAILBOX_BYTES} bytes")
        if went == "append" and event is not None and append is not None:
            append(event, chat_id)
            self._run(self._scripts["posted"], [seen, loads], [user, encoded, SEEN_TTL_S])
            return "inbox"
        return went  # type: ignore[return-value]

    def reply(self, ask: Ask, answer: Answer) -> None:
        """Writes an answer where the asker waits for it."""
        fields: Any = {"id": ask.correlation_id, "answer": msgspec.json.encode(answer)}
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.xadd(ask.reply_to, fields, maxlen=10_000)
            pipe.expire(ask.reply_to, REPLIES_TTL_S)
            self._call(pipe.execute)

    # --- a chat's own -----------------------------------------------------------------------------------------------

    def commit(self, lease: Lease, commit: Commit) -> None:
        """Writes a step. May be repeated as a whole.

        Raises Fenced when the partition has another owner, StaleRecord when the store lacks what it had confirmed,
        RecordTooLarge.
        """
        partition, user, record = lease.partition, commit.user_id, commit.record
        of = self.keys.of
        keys = [
            *(of(partition, name) for name in ("lease", "chats")),
            of(partition, "ended", user),
            of(partition, "context", user),
            of(partition, "context_bytes", user),
            of(partition, "dead"),
            of(partition, "flight", record.chat_id if record else ""),
            *(of(partition, name) for name in ("loads", "versions", "steps")),
            *self._engine_keys(partition),
        ]
        args: list[Any] = [lease.value, user, _encoded(record, over=commit.over), "1" if commit.over else "0"]
        args += [version_of(record), UNCHECKED if commit.base is None else commit.base, lease.steps]
        args += [len(record.to_agent) if record else 0, CONTEXT_TTL_S, CONTEXT_LIMIT, CONTEXT_BYTES]
        args += [FLIGHT_LIMIT, DEAD_LIMIT, DEAD_TTL_S]
        for items in (
            list(commit.position),
            [self._as_context(message, commit.at_ms) for message in commit.context],
            [msgspec.json.encode(letter) for letter in commit.dead_letters],
            [name.rpartition("/")[2] for name in commit.sent_letters],
            [msgspec.json.encode(entry) for entry in commit.flight],
        ):
            args += [len(items), *items]
        code, steps = self._durably("commit", keys, args)
        if code == FENCED:
            raise Fenced(f"partition {partition} has another owner")
        if code == STALE:
            lease.give_up(stale=True)
            raise StaleRecord(f"the store lost writes of partition {partition}: it has {steps} of {lease.steps} steps")
        lease.confirm(steps)

    def chats(self, partition: int) -> list[ChatRecord]:
        """Every open chat of a partition that can be read. Raises NewerRecord."""
        return [chat.record for chat in self.stored_chats(partition) if chat.record is not None]

    def check_versions(self, partition: int) -> None:
        """Raises NewerRecord where a newer version of this service wrote a chat of the partition."""
        raw: Any = self._call(lambda: self._redis.hvals(self.keys.of(partition, "chats")))
        _refuse_newer(partition, raw)

    def stored_chats(self, partition: int) -> list[StoredChat]:
        """Every open chat of a partition. Raises NewerRecord where a newer version of this service wrote one."""
        found: Any = self._call(lambda: self._redis.hgetall(self.keys.of(partition, "chats")))
        _refuse_newer(partition, found.values())
        return [StoredChat(user.decode("utf-8", "replace"), raw, _readable(raw)) for user, raw in found.items()]

    def chat(self, user_id: str) -> ChatRecord | None:
        """One user's open chat."""
        partition = self.keys.partition(user_id)
        raw: Any = self._call(lambda: self._redis.hget(self.keys.of(partition, "chats"), user_id))
        return decode_record(raw) if raw else None

    def open_chat_id(self, user_id: str) -> str:
        """The id of the chat that the user has open; empty without one."""
        key = self.keys.of(self.keys.partition(user_id), "versions")
        version: Any = self._call(lambda: self._redis.hget(key, user_id))
        return version.decode().rpartition("/")[0] if version else ""

    def context(self, user_id: str) -> list[ContextEntry]:
        """What was said in the last 24 hours outside a chat, in the order in which it came."""
        key = self.keys.of(self.keys.partition(user_id), "context", user_id)
        raw: Any = self._call(lambda: self._redis.zrange(key, 0, -1, withscores=True))
        raw = self._context_by_id(user_id) + raw
        return decode_context(raw, oldest_ms=self.clock.now_ms() - CONTEXT_TTL_S * 1000)

    def _context_by_id(self, user_id: str) -> list[tuple[bytes, float]]:
        """What an earlier version kept for a user whose key is not the id alone."""
        user = id_of_key(user_id)
        if user == user_id:
            return []
        key = self.keys.of(self.keys.partition(user_id), "context", user)
        found: list[tuple[bytes, float]] = self._call(
            lambda: self._redis.zrangebyscore(key, "-inf", MICROSECONDS, withscores=True)
        )
        return found

    def rename(self, lease: Lease, chat: StoredChat, user_id: str) -> None:
        """Moves a chat of an earlier version to the user's key of today."""
        keys = [self.keys.of(lease.partition, name) for name in ("lease", "chats", "loads", "versions")]
        self._durably("rename", keys, [lease.value, chat.user_id, user_id])

    # --- the whole store ----------------------------------------------------------------------------------------------

    def check_deployment(self, deployment: Mapping[str, str]) -> dict[str, str]:
        """What the store was first used for, written now when the store is new."""
        ours = msgspec.json.encode(dict(deployment))
        self._call(lambda: self._redis.set(self.keys.deployment, ours, nx=True))
        found: Any = self._call(lambda: self._redis.get(self.keys.deployment))
        return msgspec.json.decode(found, type=dict[str, str])

    def check_layout(self) -> int:
        """The number of partitions that the store was first used with; writes ours when it is new."""
        self._call(lambda: self._redis.set(self.keys.layout, self.keys.partitions, nx=True))
        found: Any = self._call(lambda: self._redis.get(self.keys.layout))
        return int(found)

    def unconfirmed_replicas(self) -> int:
        """How many replicas the server has although no write waits for one."""
        if self._wait_replicas != 0 or self.durability == "none":
            return 0
        return connected_replicas(self._call(lambda: self._redis.info("replication")))

    def ping(self) -> None:
        """Raises StoreUnavailable unless the store answers."""
        self._call(self._redis.ping)

    # --- how --------------------------------------------------------------------------------------------------------

    def _as_context(self, message: UserMessage, now_ms: int) -> bytes:
        entry = context_entry(message, client=self._client, now_ms=now_ms)
        return encode_context(message.message_id, entry)

    def _engine_keys(self, partition: int) -> list[str]:
        return [self.keys.of(partition, name) for name in self._engine_names]

    def _durably(self, script: str, keys: list[str], args: list[Any]) -> Any:
        return self._commands.durably(self._scripts[script], keys, args)


def _refuse_newer(partition: int, records: Iterable[bytes]) -> None:
    if any(version_on_record(raw) > RECORD_VERSION for raw in records):
        raise NewerRecord(f"partition {partition} has chats that a newer version of this service wrote")


def _readable(raw: bytes) -> ChatRecord | None:
    try:
        return decode_record(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # One record that cannot be read must not keep a partition from its other chats.
        log.exception("a chat's record cannot be read")
        return None


def _encoded(record: ChatRecord | None, *, over: bool) -> bytes:
    if record is None:
        return b""
    raw = encode_record(ended_record(record) if over else record)
    if len(raw) > RECORD_BYTES:
        raise RecordTooLarge(f"the record has {len(raw)} bytes; {RECORD_BYTES} are allowed")
    return raw


def version_of(record: ChatRecord | None) -> str:
    """Which chat a record is of, and how many steps it has taken; empty without a record."""
    return f"{record.chat_id}/{record.step}" if record else ""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
