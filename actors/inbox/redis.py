"""The feed: from the inboxes of the partitions that this worker owns to the registry, each entry once, in order."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from typing import Any

import gevent
import msgspec
import redis

from bridge.actors.base import Ref, tell
from bridge.actors.protocol import Entry
from bridge.keys import Keys
from bridge.messages import decode_event

log = logging.getLogger("bridge.feed")

BLOCK_S = 0.5
BATCH = 500
START = "0-0"
TOLD_KEPT = 10_000


class Cursor:
    """Where one inbox is read on from, and which entries were told: after an error all that is left is read again."""

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


class InboxReader:
    """One greenlet a worker, with a connection of its own.

    An entry leaves the inbox with the commit that it led to, and the lease makes the reader unique: so what lies there
    when a partition is gained is what its last owner did not finish, and reading begins at the start.
    """

    def __init__(self, client: redis.Redis, keys: Keys, *, registry: Ref) -> None:
        self._redis = client
        self._keys = keys
        self._registry = registry
        self._cursors: dict[int, Cursor] = {}
        self._greenlet: gevent.Greenlet | None = None
        self._stopping = False

    def start(self) -> None:
        """Begins to read."""
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """Ends after the read under way."""
        self._stopping = True
        if self._greenlet is not None:
            self._greenlet.join(timeout=BLOCK_S + 3)

    def add(self, partition: int) -> None:
        """Reads a partition too, from the start."""
        self._cursors[partition] = Cursor()

    def remove(self, partitions: Iterable[int]) -> None:
        """Reads these no more."""
        for partition in partitions:
            self._cursors.pop(partition, None)

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._round()
            except (redis.exceptions.RedisError, OSError) as error:
                log.warning("cannot read the inboxes: %s: %s", type(error).__name__, error)
                # A store that failed over may give smaller ids than before, so nothing may be skipped.
                self._rewind()
                gevent.sleep(BLOCK_S)
            except Exception:
                log.exception("the feed's round failed")
                gevent.sleep(BLOCK_S)

    def _rewind(self) -> None:
        for cursor in self._cursors.values():
            cursor.position = START

    def _round(self) -> None:
        if not self._cursors:
            gevent.sleep(BLOCK_S / 10)
            return
        asked = {self._keys.of(partition, "inbox"): (partition, cursor) for partition, cursor in self._cursors.items()}
        streams: Any = {name: cursor.position for name, (_, cursor) in asked.items()}
        answer: Any = self._redis.xread(streams, count=BATCH, block=int(BLOCK_S * 1000)) or []
        for name, entries in answer.items() if isinstance(answer, dict) else answer:
            self._tell(*asked[name.decode()], entries)

    def _tell(self, partition: int, cursor: Cursor, entries: Iterable[tuple[bytes, dict[bytes, bytes]]]) -> None:
        for name, fields in entries:
            entry_id = name.decode()
            if self._cursors.get(partition) is not cursor:
                # Lost meanwhile, or lost and gained again: then it is read from its start.
                return
            if not cursor.is_news(entry_id):
                continue
            try:
                event = decode_event(fields[b"event"])
            except (msgspec.MsgspecError, KeyError):
                log.exception("entry %s of partition %d cannot be read and is left there", entry_id, partition)
                continue
            tell(self._registry, Entry(partition, entry_id, event))
