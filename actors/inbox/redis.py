"""The inbox on Redis Streams: one stream a partition. An entry is there until the commit that it led to deletes it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import gevent
import msgspec
import redis

from bridge.actors.base import Ref, tell
from bridge.actors.protocol import Entry
from bridge.actors.store.commands import Commands, EngineScripts, Script
from bridge.actors.store.connections import Connections
from bridge.keys import Keys
from bridge.messages import ConnectRequested, FinishRequested, InboxEvent, decode_event, encode_event, id_of_key

log = logging.getLogger("bridge.inbox")

BLOCK_S = 0.5
BATCH = 500
START = "0-0"
TOLD_KEPT = 10_000
ASKED_TTL_S = 300

APPEND = """
local function append(keys, user, event, chat)
  redis.call('XADD', keys[1], '*', 'user', user, 'event', event, 'chat', chat)
  return true
end
"""

RECORD_POSITION = """
local function record_position(keys, entries)
  local news = 0
  for _, entry in ipairs(entries) do
    news = news + redis.call('XDEL', keys[1], entry)
  end
  return news
end
"""

_APPEND_ONE = Script(
    APPEND
    + """
-- KEYS: stream, asked   ARGV: user, event, chat, correlation id of an ask or '', TTL of `asked` (s)
if ARGV[4] ~= '' and not redis.call('SET', KEYS[2], '1', 'NX', 'EX', ARGV[5]) then
  -- A write, so that a WAIT after a repeat waits for the first copy as well.
  return redis.call('EXPIRE', KEYS[2], ARGV[5])
end
append(KEYS, ARGV[1], ARGV[2], ARGV[3])
return 1
"""
)


class Cursor:
    """Where one stream is read on from, and which entries were told: after an error the whole stream is read again."""

    __slots__ = ("_told", "_told_order", "position")

    def __init__(self) -> None:
        self.position = START
        self._told: set[str] = set()
        self._told_order: deque[str] = deque()

    def is_news(self, entry_id: str) -> bool:
        """Whether this entry was not told before; from now on it was."""
        self.position = entry_id
        if entry_id in self._told:
            return False
        self._told.add(entry_id)
        self._told_order.append(entry_id)
        if len(self._told_order) > TOLD_KEPT:
            self._told.discard(self._told_order.popleft())
        return True


class RedisInbox:
    """Implements `bridge.actors.inbox.engine.InboxEngine`. One greenlet a worker reads, on a connection of its own."""

    scripts = EngineScripts(names=("inbox",), append=APPEND, record_position=RECORD_POSITION)

    def __init__(self, connections: Connections, keys: Keys, *, block_s: float = BLOCK_S) -> None:
        self._commands = Commands(connections)
        self._reader = connections.client(blocking_s=block_s)
        self._keys = keys
        self._block_s = block_s
        self._cursors: dict[int, Cursor] = {}
        self._greenlet: gevent.Greenlet | None = None
        self._stopping = False

    def start(self, registry: Ref) -> None:
        """Begins to read; each entry is told to the registry."""
        self._registry = registry
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """Ends after the read that is under way."""
        self._stopping = True
        if self._greenlet is not None:
            self._greenlet.join(timeout=self._block_s + 3)

    def append(self, event: InboxEvent, chat_id: str = "") -> None:
        """Appends an event. Raises StoreUnavailable: then it is not known whether the event was appended.

        An ask that is appended again under the same correlation id changes nothing.
        """
        partition = self._keys.partition(event.user_key)
        ask = event.ask if isinstance(event, ConnectRequested | FinishRequested) else None
        asked = ask.correlation_id if ask else ""
        keys = [self._stream(partition), self._keys.of(partition, "asked", asked)]
        args = [event.user_key, encode_event(event), chat_id, asked, ASKED_TTL_S]
        self._commands.durably(_APPEND_ONE, keys, args)

    def read(self, user_id: str) -> list[Entry]:
        """A user's entries that no commit has deleted yet, in order."""
        partition = self._keys.partition(user_id)
        found: Any = self._commands.call(lambda: self._commands.redis.xrange(self._stream(partition)))
        id_alone = id_of_key(user_id).encode()
        # An earlier version named every user by the id alone.
        theirs = (item for item in found if item[1].get(b"user") in (user_id.encode(), id_alone))
        entries = (_entry(partition, name, fields) for name, fields in theirs)
        return [entry for entry in entries if entry is not None and entry.event.user_key == user_id]

    def position(self, partition: int, entries: Sequence[str]) -> Sequence[str]:
        """The entries themselves: the commit deletes them."""
        return entries

    def recorded(self, partition: int, entries: Sequence[str]) -> None:
        """Nothing more to do: the entries are deleted."""

    def assigned(self, partition: int) -> None:
        """Reads this partition too, from its start: what is there is what its last owner did not finish."""
        self._cursors[partition] = Cursor()

    def revoked(self, partitions: Iterable[int]) -> None:
        """Reads these partitions no more."""
        for partition in partitions:
            self._cursors.pop(partition, None)

    @property
    def partitions(self) -> list[int]:
        """What is read."""
        return sorted(self._cursors)

    def _stream(self, partition: int) -> str:
        return self._keys.of(partition, "inbox")

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._round()
            except (redis.exceptions.RedisError, OSError) as error:
                log.warning("cannot read the inboxes: %s: %s", type(error).__name__, error)
                # A store that failed over may give smaller ids than before, so no entry may be skipped.
                self._rewind()
                gevent.sleep(self._block_s)
            except Exception:
                log.exception("reading the inboxes failed")
                gevent.sleep(self._block_s)

    def _rewind(self) -> None:
        for cursor in self._cursors.values():
            cursor.position = START

    def _round(self) -> None:
        if not self._cursors:
            gevent.sleep(self._block_s / 10)
            return
        asked = {self._stream(partition): (partition, cursor) for partition, cursor in self._cursors.items()}
        streams: Any = {name: cursor.position for name, (_, cursor) in asked.items()}
        answer: Any = self._reader.xread(streams, count=BATCH, block=int(self._block_s * 1000)) or []
        for name, entries in answer.items() if isinstance(answer, dict) else answer:
            self._tell(*asked[name.decode()], entries)

    def _tell(self, partition: int, cursor: Cursor, entries: Iterable[tuple[bytes, dict[bytes, bytes]]]) -> None:
        for name, fields in entries:
            if self._cursors.get(partition) is not cursor:
                # The partition was revoked meanwhile, or revoked and assigned again: then it is read from its start.
                return
            if not cursor.is_news(name.decode()):
                continue
            entry = _entry(partition, name, fields)
            if entry is not None:
                tell(self._registry, entry)


def _entry(partition: int, name: bytes, fields: dict[bytes, bytes]) -> Entry | None:
    try:
        event = decode_event(fields[b"event"])
    except (msgspec.MsgspecError, KeyError):
        log.exception("entry %s of partition %d cannot be read and is left there", name.decode(), partition)
        return None
    return Entry(partition, name.decode(), event, fields.get(b"chat", b"").decode())
