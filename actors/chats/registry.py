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
    Failed,
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
FAILURES_ALLOWED = 3
FAILURES_WINDOW_S = 60.0
# The desk may take a moment to notice that the poll of the failed interconnection is gone.
RESTARTED_POLL_DELAY_S = 1.0


class Child:
    """One user's place: the interconnection, its partition, and how many entries it was told."""

    __slots__ = ("entries", "partition", "ref")

    def __init__(self, ref: Ref, partition: int) -> None:
        self.ref = ref
        self.partition = partition
        self.entries = 0


class InterconnectionRegistry(BridgeActor):
    """Replaces the interconnection map.

    The inbox tells me entries, the ownership tells me partitions gained and lost, interconnections tell me when they
    are idle, drained or have failed. I tell interconnections their entries. I own the map, and only I create and stop
    them. I do no I/O.
    """

    def __init__(self, start: Callable[..., Ref], *, restarted_poll_delay_s: float = RESTARTED_POLL_DELAY_S) -> None:
        super().__init__()
        self._start = start
        self._restarted_poll_delay_s = restarted_poll_delay_s
        self._children: dict[str, Child] = {}
        self._leases: dict[int, Lease] = {}
        self._failures: dict[str, deque[float]] = defaultdict(deque)
        self._quarantined: dict[str, int] = {}
        self._quarantines = 0
        self._drains: list[tuple[set[str], gevent.event.Event]] = []
        self.handlers = {
            Entry: self._route,
            Idle: self._let_go,
            Drained: self._note_drained,
            Failed: self._restart,
            PartitionGained: self._gain,
            PartitionLost: self._lose,
            DrainPartitions: self._drain,
            Snapshot: lambda _: self._snapshot(),
            Ping: lambda _: len(self._children),
        }

    def _route(self, entry: Entry) -> None:
        user_id = entry.event.user_key
        lease = self._leases.get(entry.partition)
        if lease is None or not lease.held:
            # It stays in the inbox, for the next owner.
            return
        if user_id in self._quarantined:
            # Its chat is still on record, so no second chat may begin.
            log.warning("entry %s waits for a chat that is quarantined", entry.entry_id)
            return
        child = self._children.get(user_id) or self._start_child(user_id, lease)
        child.entries += 1
        tell(child.ref, entry)

    def _start_child(
        self,
        user_id: str,
        lease: Lease,
        *,
        record: ChatRecord | None = None,
        first_poll_delay_s: float = 0.0,
        reload: bool = False,
        quarantine: str = "",
    ) -> Child:
        ref = self._start(user_id, lease, registry=self.actor_ref, record=record, first_poll_delay_s=first_poll_delay_s)
        child = self._children[user_id] = Child(ref, lease.partition)
        if record is not None or reload:
            tell(ref, Resume(reload, quarantine))
        return child

    def _let_go(self, idle: Idle) -> None:
        child = self._children.get(idle.user_id)
        # Entries that were told to it meanwhile keep it: it will tell again that it is idle.
        if child is not None and child.entries == idle.entries:
            del self._children[idle.user_id]
            child.ref.stop(block=False)

    def _gain(self, gained: PartitionGained) -> None:
        self._leases[gained.lease.partition] = gained.lease
        for record in gained.records:
            # Otherwise many polls would begin in the same instant.
            jitter_s = random.uniform(0, len(gained.records) / 500) if len(gained.records) > FEW else 0.0
            self._start_child(
                record.request.user_key,
                gained.lease,
                record=record,
                first_poll_delay_s=gained.first_poll_delay_s + jitter_s,
            )

    def _lose(self, lost: PartitionLost) -> None:
        self._leases.pop(lost.partition, None)
        self._quarantined = {user_id: home for user_id, home in self._quarantined.items() if home != lost.partition}
        for user_id in self._users_of({lost.partition}):
            self._children.pop(user_id).ref.stop(block=False)
            self._note_drained(Drained(user_id))

    def _users_of(self, partitions: set[int]) -> list[str]:
        return [user_id for user_id, child in self._children.items() if child.partition in partitions]

    def _drain(self, drain: DrainPartitions) -> gevent.event.Event:
        users = self._users_of(set(drain.partitions))
        drained = gevent.event.Event()
        self._drains.append((set(users), drained))
        for partition in drain.partitions:
            self._leases.pop(partition, None)
        for user_id in users:
            tell(self._children[user_id].ref, Drain())
        gevent.spawn_later(max(drain.deadline_s - time.monotonic(), 0), drained.set)
        self._finish_drains()
        return drained

    def _note_drained(self, drained: Drained) -> None:
        for users, _ in self._drains:
            users.discard(drained.user_id)
        self._finish_drains()

    def _finish_drains(self) -> None:
        for users, drained in self._drains:
            if not users:
                drained.set()
        self._drains = [drain for drain in self._drains if not drain[1].is_set()]

    def _restart(self, failed: Failed) -> None:
        """Starts a new interconnection from the record. A chat that fails again and again is ended instead."""
        child = self._children.pop(failed.user_id, None)
        if child is None:
            return
        child.ref.stop(block=False)
        self._note_drained(Drained(failed.user_id))
        lease = self._leases.get(child.partition)
        if lease is None:
            return
        failures = self._failures[failed.user_id]
        failures.append(time.monotonic())
        while failures[0] < time.monotonic() - FAILURES_WINDOW_S:
            failures.popleft()
        if len(failures) > FAILURES_ALLOWED + 1:
            log.critical("a chat could not even be ended: it stays on record as it is: %s", failed.reason)
            self._quarantined[failed.user_id] = child.partition
            return
        if len(failures) > FAILURES_ALLOWED:
            log.critical("an interconnection failed %d times, so its chat is ended: %s", len(failures), failed.reason)
            self._quarantines += 1
        quarantine = failed.reason if len(failures) > FAILURES_ALLOWED else ""
        self._start_child(
            failed.user_id, lease, first_poll_delay_s=self._restarted_poll_delay_s, reload=True, quarantine=quarantine
        )

    def _snapshot(self) -> dict[str, Any]:
        refs = [child.ref for child in self._children.values()]
        return {
            "interconnections": len(refs),
            "mailbox": mailbox_length(self),
            "quarantined": self._quarantines,
            "refs": refs,
        }
