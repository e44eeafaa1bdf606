"""A second engine of the inbox, for the tests: a log in memory, read by offset as Kafka is.

Nothing is deleted from a log. Where a partition's reader stands is in Redis: the lowest offset that no commit has
recorded, and the recorded offsets above it. Both are written by the commit of the step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import gevent
import gevent.event

from bridge.actors.base import Ref, tell
from bridge.actors.protocol import Entry
from bridge.actors.store.commands import Commands, EngineScripts
from bridge.actors.store.connections import Connections
from bridge.keys import Keys
from bridge.messages import InboxEvent, decode_event, encode_event

APPEND = "local function append() return false end\n"

RECORD_POSITION = """
local function record_position(keys, position)
  local news, low = 0, tonumber(position[1])
  if not low then
    return 0
  end
  local before = tonumber(redis.call('GET', keys[1]) or '0')
  for i = 2, #position do
    if tonumber(position[i]) >= before then
      news = news + redis.call('ZADD', keys[2], position[i], position[i])
    end
  end
  low = math.max(low, before)
  redis.call('SET', keys[1], low)
  redis.call('ZREMRANGEBYSCORE', keys[2], '-inf', '(' .. low)
  return news
end
"""


class Appended(NamedTuple):
    """What the log holds at one offset."""

    chat_id: str
    raw: bytes


class Log:
    """The log that all workers share: a list a partition, which only grows."""

    def __init__(self) -> None:
        self.partitions: dict[int, list[Appended]] = defaultdict(list)
        self.grew = gevent.event.Event()

    def append(self, partition: int, appended: Appended) -> None:
        self.partitions[partition].append(appended)
        self.grew.set()


class Assignment:
    """One partition as its reader sees it: what to read next, and what is told and not recorded."""

    def __init__(self, low: int, done: set[int]) -> None:
        self.next = low
        self.done = done
        self.open: set[int] = set()

    def low_without(self, offsets: set[int]) -> int:
        """The lowest offset that is not recorded when these are."""
        return min(self.open - offsets, default=self.next)


class LogInbox:
    """Implements `bridge.actors.inbox.engine.InboxEngine`."""

    scripts = EngineScripts(names=("low", "done"), append=APPEND, record_position=RECORD_POSITION)

    def __init__(self, log: Log, connections: Connections, keys: Keys) -> None:
        self._log = log
        self._commands = Commands(connections)
        self._keys = keys
        self._assigned: dict[int, Assignment] = {}
        self._reading: gevent.Greenlet | None = None

    def start(self, registry: Ref) -> None:
        self._reading = gevent.spawn(self._run, registry)

    def stop(self) -> None:
        if self._reading is not None:
            self._reading.kill()

    def append(self, event: InboxEvent, chat_id: str = "") -> None:
        self._log.append(self._keys.partition(event.user_key), Appended(chat_id, encode_event(event)))

    def read(self, user_id: str) -> list[Entry]:
        partition = self._keys.partition(user_id)
        low, done = self._place(partition)
        offsets = (n for n in range(low, len(self._log.partitions[partition])) if n not in done)
        entries = [self._entry(partition, offset) for offset in offsets]
        return [entry for entry in entries if entry.event.user_key == user_id]

    def position(self, partition: int, entries: Sequence[str]) -> Sequence[str | int]:
        assignment = self._assigned.get(partition)
        if assignment is None or not entries:
            return ()
        offsets = set(map(int, entries))
        return [assignment.low_without(offsets), *offsets]

    def recorded(self, partition: int, entries: Sequence[str]) -> None:
        if (assignment := self._assigned.get(partition)) is not None:
            assignment.open -= set(map(int, entries))

    def assigned(self, partition: int) -> None:
        self._assigned[partition] = Assignment(*self._place(partition))
        self._log.grew.set()

    def revoked(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            self._assigned.pop(partition, None)

    def _place(self, partition: int) -> tuple[int, set[int]]:
        low, done = (self._keys.of(partition, name) for name in self.scripts.names)
        call, redis = self._commands.call, self._commands.redis
        found: Any = call(lambda: redis.get(low)), call(lambda: redis.zrange(done, 0, -1))
        return int(found[0] or 0), set(map(int, found[1]))

    def _run(self, registry: Ref) -> None:
        while True:
            self._log.grew.wait()
            self._log.grew.clear()
            for partition, assignment in list(self._assigned.items()):
                self._tell(registry, partition, assignment)

    def _tell(self, registry: Ref, partition: int, assignment: Assignment) -> None:
        while assignment.next < len(self._log.partitions[partition]):
            offset, assignment.next = assignment.next, assignment.next + 1
            if offset not in assignment.done:
                assignment.open.add(offset)
                tell(registry, self._entry(partition, offset))

    def _entry(self, partition: int, offset: int) -> Entry:
        appended = self._log.partitions[partition][offset]
        return Entry(partition, str(offset), decode_event(appended.raw), appended.chat_id)
