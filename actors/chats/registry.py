"""The registry: which interconnection serves which user, and nothing else."""

from __future__ import annotations

import logging
import random
import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

import gevent
import gevent.event

from bridge.actors.base import BridgeActor, Ref, mailbox_length, tell
from bridge.actors.leases import Lease
from bridge.actors.protocol import (
    Drain,
    Drained,
    DrainPartitions,
    Entry,
    Fallen,
    Idle,
    PartitionGained,
    PartitionLost,
    Ping,
    Resume,
    Snapshot,
)
from bridge.records import ChatRecord

log = logging.getLogger("bridge.registry")

FEW = 10
FALLS_ALLOWED = 3
FALLS_WINDOW_S = 60.0
# The desk may take a moment to notice that the poll of the one who fell is gone.
RAISED_GUARD_S = 1.0


class Seat:
    """One user's place: the interconnection, its partition, and how many entries it was told."""

    __slots__ = ("entries", "partition", "ref")

    def __init__(self, ref: Ref, partition: int) -> None:
        self.ref = ref
        self.partition = partition
        self.entries = 0


class InterconnectionRegistry(BridgeActor):
    """Replaces the interconnection map.

    The feed tells me entries, the ownership tells me partitions gained and lost, interconnections tell me when they are
    idle, at rest or fallen. I tell interconnections their entries. I own the map, and alone create and stop them; I do
    no I/O.
    """

    def __init__(self, start: Callable[..., Ref]) -> None:
        super().__init__()
        self._start = start
        self._seats: dict[str, Seat] = {}
        self._leases: dict[int, Lease] = {}
        self._falls: dict[str, deque[float]] = defaultdict(deque)
        self._parked: dict[str, int] = {}
        self._parkings = 0
        self._drains: list[tuple[set[str], gevent.event.Event]] = []
        self.handlers = {
            Entry: self._route,
            Idle: self._let_go,
            Drained: self._note_drained,
            Fallen: self._raise_again,
            PartitionGained: self._gain,
            PartitionLost: self._lose,
            DrainPartitions: self._drain,
            Snapshot: lambda _: self._snapshot(),
            Ping: lambda _: len(self._seats),
        }

    def _route(self, entry: Entry) -> None:
        user_id = entry.event.user_id
        lease = self._leases.get(entry.partition)
        if lease is None or not lease.held:
            # It stays pending in the inbox, for the owner that comes next.
            return
        if user_id in self._parked:
            # Its chat is on record: one begun anew beside it would be a second one.
            log.warning("entry %s waits for a chat that is parked", entry.entry_id)
            return
        seat = self._seats.get(user_id) or self._seat(user_id, lease)
        seat.entries += 1
        tell(seat.ref, entry)

    def _seat(
        self,
        user_id: str,
        lease: Lease,
        *,
        record: ChatRecord | None = None,
        guard_s: float = 0.0,
        reload: bool = False,
        parked: str = "",
    ) -> Seat:
        ref = self._start(user_id, lease, registry=self.actor_ref, record=record, guard_s=guard_s)
        seat = self._seats[user_id] = Seat(ref, lease.partition)
        if record is not None or reload:
            tell(ref, Resume(reload, parked))
        return seat

    def _let_go(self, idle: Idle) -> None:
        seat = self._seats.get(idle.user_id)
        # Entries that are on their way to it keep it: it will say again that it is idle.
        if seat is not None and seat.entries == idle.entries:
            del self._seats[idle.user_id]
            seat.ref.stop(block=False)

    def _gain(self, gained: PartitionGained) -> None:
        self._leases[gained.lease.partition] = gained.lease
        for record in gained.records:
            # Many polls would else begin in the same instant.
            jitter_s = random.uniform(0, len(gained.records) / 500) if len(gained.records) > FEW else 0.0
            self._seat(record.request.user_id, gained.lease, record=record, guard_s=gained.guard_s + jitter_s)

    def _lose(self, lost: PartitionLost) -> None:
        self._leases.pop(lost.partition, None)
        self._parked = {user_id: home for user_id, home in self._parked.items() if home != lost.partition}
        for user_id in self._users_of({lost.partition}):
            self._seats.pop(user_id).ref.stop(block=False)
            self._note_drained(Drained(user_id))

    def _users_of(self, partitions: set[int]) -> list[str]:
        return [user_id for user_id, seat in self._seats.items() if seat.partition in partitions]

    def _drain(self, drain: DrainPartitions) -> gevent.event.Event:
        users = self._users_of(set(drain.partitions))
        at_rest = gevent.event.Event()
        self._drains.append((set(users), at_rest))
        for partition in drain.partitions:
            self._leases.pop(partition, None)
        for user_id in users:
            tell(self._seats[user_id].ref, Drain())
        gevent.spawn_later(max(drain.deadline_s - time.monotonic(), 0), at_rest.set)
        self._finish_drains()
        return at_rest

    def _note_drained(self, drained: Drained) -> None:
        for users, _ in self._drains:
            users.discard(drained.user_id)
        self._finish_drains()

    def _finish_drains(self) -> None:
        for users, at_rest in self._drains:
            if not users:
                at_rest.set()
        self._drains = [drain for drain in self._drains if not drain[1].is_set()]

    def _raise_again(self, fallen: Fallen) -> None:
        """Starts a fallen interconnection anew from its record, unless it falls again and again."""
        seat = self._seats.pop(fallen.user_id, None)
        if seat is None:
            return
        seat.ref.stop(block=False)
        self._note_drained(Drained(fallen.user_id))
        lease = self._leases.get(seat.partition)
        if lease is None:
            return
        falls = self._falls[fallen.user_id]
        falls.append(time.monotonic())
        while falls[0] < time.monotonic() - FALLS_WINDOW_S:
            falls.popleft()
        if len(falls) > FALLS_ALLOWED + 1:
            log.critical("a chat could not even be ended: it stays as it is on record: %s", fallen.reason)
            self._parked[fallen.user_id] = seat.partition
            return
        if len(falls) > FALLS_ALLOWED:
            log.critical("an interconnection fell %d times, so its chat is ended: %s", len(falls), fallen.reason)
            self._parkings += 1
        parked = fallen.reason if len(falls) > FALLS_ALLOWED else ""
        self._seat(fallen.user_id, lease, guard_s=RAISED_GUARD_S, reload=True, parked=parked)

    def _snapshot(self) -> dict[str, Any]:
        refs = [seat.ref for seat in self._seats.values()]
        return {"interconnections": len(refs), "mailbox": mailbox_length(self), "parked": self._parkings, "refs": refs}
