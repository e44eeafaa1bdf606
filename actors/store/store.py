"""The store: what is written down, each write one script that happens whole or not at all."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from importlib.resources import files
from typing import Any

import msgspec
import redis

from bridge.actors.leases import Lease
from bridge.actors.store.connections import Connections
from bridge.actors.store.pipelining import Pipeline
from bridge.door import Posted
from bridge.errors import Fenced, MailboxFull, StoreUnavailable
from bridge.keys import Keys
from bridge.messages import Answer, Ask, InboxEvent, UserMessage, encode_event
from bridge.records import (
    CONTEXT_TTL_S,
    ChatRecord,
    ContextEntry,
    DeadLetter,
    FlightEntry,
    context_entry,
    decode_record,
    encode_record,
)

log = logging.getLogger("bridge.store")

SEEN_TTL_S = 8 * 86_400
CONTEXT_LIMIT = 1_000
FLIGHT_LIMIT = 500
REPLIES_TTL_S = 60
FENCED = 0


class Claim(msgspec.Struct, frozen=True):
    """A partition that was taken: its lease's value, and whether its last owner is known to have let go of it."""

    value: str
    released: bool


class Commit(msgspec.Struct, kw_only=True):
    """Everything that one step writes. `over`: the record is that of a chat that has ended."""

    user_id: str
    record: ChatRecord | None = None
    over: bool = False
    entries: Iterable[str] = ()
    context: Iterable[UserMessage] = ()
    dead_letters: Iterable[DeadLetter] = ()
    flight: Iterable[FlightEntry] = ()
    # Of the step, not of the try: a commit that is repeated writes the very same bytes.
    at_ms: int = msgspec.field(default_factory=lambda: _now_ms())


class Store:
    """Reads and writes for one tenant. Every method raises StoreUnavailable when the store does not answer."""

    def __init__(self, connections: Connections, keys: Keys, *, client: str, mailbox_limit: int) -> None:
        self.keys = keys
        self.durability = connections.durability
        self._redis = connections.client()
        self._batches = Pipeline(self._redis, wait_replicas=connections.wait_replicas)
        self._client = client
        self._mailbox_limit = mailbox_limit
        self._scripts = {name: _source(name) for name in ("post", "commit", "claim", "renew", "release", "beat")}
        self._shas: dict[str, str] = {}

    # --- in ---------------------------------------------------------------------------------------------------------

    def post(self, message: UserMessage, event: InboxEvent | None) -> Posted:
        """Stores a message durably: into the inbox of an open chat, else as context; a repeat changes nothing.

        `event` is None where the message may only be context. Raises MailboxFull.
        """
        now_ms = _now_ms()
        partition = self.keys.partition(message.user_id)
        user = message.user_id
        keys = [
            self.keys.seen(partition, message.provider, message.message_id),
            *(self.keys.of(partition, name) for name in ("chats", "inbox")),
            self.keys.of(partition, "context", user),
            self.keys.of(partition, "loads"),
        ]
        args: list[Any] = [user, encode_event(event) if event else b"", self._as_context(message, now_ms)]
        args += [message.sent_at_ms, now_ms, SEEN_TTL_S, CONTEXT_TTL_S, CONTEXT_LIMIT, self._mailbox_limit]
        went: str = self._durably("post", keys, args).decode()
        if went == "full":
            raise MailboxFull(f"the chat owes {self._mailbox_limit} messages")
        return went  # type: ignore[return-value]

    def ask(self, event: InboxEvent) -> None:
        """Appends a question to its user's inbox; the answer comes on the asker's reply stream."""
        partition = self.keys.partition(event.user_id)
        inbox = self.keys.of(partition, "inbox")
        self._call(lambda: self._batches.run("XADD", inbox, "*", "user", event.user_id, "event", encode_event(event)))

    def reply(self, ask: Ask, answer: Answer) -> None:
        """Writes an answer where the asker waits for it."""
        fields: Any = {"id": ask.correlation_id, "answer": msgspec.json.encode(answer)}
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.xadd(ask.reply_to, fields, maxlen=10_000)
            pipe.expire(ask.reply_to, REPLIES_TTL_S)
            self._call(pipe.execute)

    # --- a chat's own -----------------------------------------------------------------------------------------------

    def commit(self, lease: Lease, commit: Commit) -> None:
        """Writes a step down. Raises Fenced when the partition is not ours any more. May be repeated as a whole."""
        partition, user, record = lease.partition, commit.user_id, commit.record
        of = self.keys.of
        keys = [
            *(of(partition, name) for name in ("lease", "chats", "inbox")),
            of(partition, "ended", user),
            of(partition, "context", user),
            of(partition, "dead"),
            of(partition, "flight", record.chat_id if record else ""),
            of(partition, "loads"),
        ]
        args: list[Any] = [lease.value, user, encode_record(record) if record else b"", "1" if commit.over else "0"]
        args += [len(record.to_agent) if record else 0, CONTEXT_TTL_S, CONTEXT_LIMIT, FLIGHT_LIMIT]
        context = [
            item for message in commit.context for item in (message.sent_at_ms, self._as_context(message, commit.at_ms))
        ]
        for items in (
            list(commit.entries),
            context,
            [msgspec.json.encode(letter) for letter in commit.dead_letters],
            [msgspec.json.encode(entry) for entry in commit.flight],
        ):
            args += [len(items), *items]
        if self._durably("commit", keys, args) == FENCED:
            raise Fenced(f"partition {partition} has another owner")

    def chats(self, partition: int) -> list[ChatRecord]:
        """Every open chat of a partition."""
        raw: Any = self._call(lambda: self._redis.hvals(self.keys.of(partition, "chats")))
        return [record for record in map(_readable, raw) if record is not None]

    def chat(self, user_id: str) -> ChatRecord | None:
        """One user's open chat."""
        partition = self.keys.partition(user_id)
        raw: Any = self._call(lambda: self._redis.hget(self.keys.of(partition, "chats"), user_id))
        return decode_record(raw) if raw else None

    def context(self, user_id: str) -> list[ContextEntry]:
        """What was said in the last 24 hours outside a chat, oldest first."""
        key = self.keys.of(self.keys.partition(user_id), "context", user_id)
        oldest_ms = _now_ms() - CONTEXT_TTL_S * 1000
        raw: Any = self._call(lambda: self._redis.zrangebyscore(key, oldest_ms, "+inf"))
        return [msgspec.json.decode(entry, type=_StoredContext).entry for entry in raw]

    # --- dead letters -----------------------------------------------------------------------------------------------

    def dead_letters(self) -> list[tuple[str, DeadLetter]]:
        """Every dead letter, partition by partition, the oldest first; each with the name that `drop_letter` takes."""
        found: list[tuple[str, DeadLetter]] = []
        for partition in range(self.keys.partitions):
            raw: Any = self._call(partial(self._redis.xrange, self.keys.of(partition, "dead")))
            for name, fields in raw:
                letter = msgspec.json.decode(fields[b"letter"], type=DeadLetter)
                found.append((f"{partition}/{name.decode()}", letter))
        return found

    def drop_letter(self, name: str) -> bool:
        """Removes a dead letter; whether it was there."""
        partition, _, entry_id = name.partition("/")
        return bool(self._call(lambda: self._redis.xdel(self.keys.of(int(partition), "dead"), entry_id)))

    # --- ownership --------------------------------------------------------------------------------------------------

    def claim(self, partition: int, worker: str, *, ttl_ms: int) -> Claim | None:
        """Takes a free partition; None when somebody holds it."""
        keys = [self.keys.of(partition, name) for name in ("lease", "epoch", "released")]
        taken: list[Any] | None = self._run("claim", keys, [worker, ttl_ms])
        return Claim(taken[0].decode(), bool(taken[1])) if taken else None

    def renew(self, lease: Lease, *, ttl_ms: int) -> bool:
        """Keeps a lease; False when it is not ours any more."""
        return bool(self._run("renew", [self.keys.of(lease.partition, "lease")], [lease.value, ttl_ms]))

    def release(self, lease: Lease) -> None:
        """Gives a lease up."""
        keys = [self.keys.of(lease.partition, name) for name in ("lease", "released")]
        self._run("release", keys, [lease.value])

    def living(self, worker: str, *, ttl_ms: int) -> list[str]:
        """Says that this worker lives, and which do."""
        return sorted(name.decode() for name in self._run("beat", [self.keys.workers], [worker, ttl_ms]))

    def remove_worker(self, worker: str) -> None:
        """Says that a worker lives no more."""
        self._call(lambda: self._redis.zrem(self.keys.workers, worker))

    def release_all(self, theirs: Callable[[str], bool]) -> int:
        """Gives up every lease of the workers that are meant, and strikes them off; how many leases there were."""
        partitions = range(self.keys.partitions)
        with self._redis.pipeline(transaction=False) as pipe:
            for partition in partitions:
                pipe.get(self.keys.of(partition, "lease"))
            values: list[bytes | None] = self._call(pipe.execute)
        held = [Lease(p, v.decode(), deadline_s=0.0) for p, v in zip(partitions, values, strict=True) if v]
        meant = [lease for lease in held if theirs(lease.value.rpartition(":")[0])]
        for lease in meant:
            self.release(lease)
        for worker in self._call(lambda: self._redis.zrange(self.keys.workers, 0, -1)):
            if theirs(worker.decode()):
                self.remove_worker(worker.decode())
        return len(meant)

    def inbox_of(self, user_id: str) -> list[tuple[str, bytes]]:
        """A user's entries that lie in the inbox, in order: id and event. None of them has led to a commit yet."""
        key = self.keys.of(self.keys.partition(user_id), "inbox")
        raw: Any = self._call(lambda: self._redis.xrange(key))
        return [(name.decode(), fields[b"event"]) for name, fields in raw if fields[b"user"] == user_id.encode()]

    def check_layout(self) -> int:
        """The number of partitions that the store was first used with; writes ours when it is new."""
        self._call(lambda: self._redis.set(self.keys.layout, self.keys.partitions, nx=True))
        found: Any = self._call(lambda: self._redis.get(self.keys.layout))
        return int(found)

    def ping(self) -> None:
        """Raises StoreUnavailable unless the store answers."""
        self._call(self._redis.ping)

    # --- how --------------------------------------------------------------------------------------------------------

    def _as_context(self, message: UserMessage, now_ms: int) -> bytes:
        entry = context_entry(message, client=self._client, now_ms=now_ms)
        return msgspec.json.encode(_StoredContext(message.message_id, entry))

    def _durably(self, script: str, keys: list[str], args: list[Any]) -> Any:
        """Runs a script, together with those of others; answers when the replicas that are promised have it."""
        return self._evalsha(self._batches.run, script, keys, args)

    def _run(self, script: str, keys: list[str], args: list[Any]) -> Any:
        return self._evalsha(self._redis.execute_command, script, keys, args)

    def _evalsha(self, execute: Callable[..., Any], script: str, keys: list[str], args: list[Any]) -> Any:
        def evalsha() -> Any:
            try:
                return execute("EVALSHA", self._sha(script), len(keys), *keys, *args)
            except redis.exceptions.NoScriptError:
                self._shas.clear()
                return execute("EVALSHA", self._sha(script), len(keys), *keys, *args)

        return self._call(evalsha)

    def _sha(self, script: str) -> str:
        if script not in self._shas:
            self._shas[script] = str(self._redis.script_load(self._scripts[script]))
        return self._shas[script]

    @staticmethod
    def _call(command: Callable[[], Any]) -> Any:
        try:
            return command()
        except (redis.exceptions.RedisError, OSError) as error:
            raise StoreUnavailable(f"the store did not answer: {type(error).__name__}: {error}") from error


class _StoredContext(msgspec.Struct, array_like=True):
    """A context entry with its message's id, so that two equal texts of one moment stay two."""

    message_id: str
    entry: ContextEntry


def _readable(raw: bytes) -> ChatRecord | None:
    try:
        return decode_record(raw)
    except msgspec.MsgspecError:
        # One record that cannot be read must not keep a partition from its other chats.
        log.exception("a chat's record cannot be read and is left as it is")
        return None


def _source(name: str) -> str:
    return files("bridge.actors.store").joinpath("scripts", f"{name}.lua").read_text()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
