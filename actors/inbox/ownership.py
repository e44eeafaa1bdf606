"""Which partitions this worker owns: it claims its share, renews its leases, and gives partitions up in time."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial

import gevent
import gevent.event
import msgspec

from bridge.actors.base import Ref, tell
from bridge.actors.inbox.engine import InboxEngine
from bridge.actors.leases import Lease, lease_clock_s
from bridge.actors.protocol import DrainPartitions, PartitionGained, PartitionLost
from bridge.actors.store.store import Store
from bridge.actors.store.unreadable import end_unreadable
from bridge.errors import StoreUnavailable
from bridge.records import ChatRecord

log = logging.getLogger("bridge.ownership")

POLL_DELAY_RELEASED_S = 1.0
POLL_DELAY_EXPIRED_S = 3.0
# A partition that could not be served is tried again after this time.
RETRY_CLAIM_S = 5.0


class LeaseTimes(msgspec.Struct, frozen=True, kw_only=True):
    """How long leases and heartbeats last, and how often they are renewed.

    `hand_over_s` is longer than the longest call of a chat (15 s; only file uploads take longer), so that giving a
    partition up cuts no call whose effect the next owner would repeat.
    """

    lease_ttl_ms: int = 10_000
    heartbeat_ttl_ms: int = 6_000
    renew_every_s: float = 2.0
    tick_s: float = 0.25
    hand_over_s: float = 16.0

    def deadline_s(self, asked_s: float) -> float:
        """Until when the holder of a lease may act that was claimed or renewed at `asked_s`."""
        return asked_s + self.lease_ttl_ms / 1000 * 0.75


class Ownership:
    """One greenlet a worker. It tells the registry which partitions are gained and lost, and the inbox what to read."""

    def __init__(
        self, store: Store, worker: str, *, registry: Ref, inbox: InboxEngine, times: LeaseTimes | None = None
    ) -> None:
        self._times = times or LeaseTimes()
        self._store = store
        self._worker = worker
        self._registry = registry
        self._inbox = inbox
        self._leases: dict[int, Lease] = {}
        self._living: list[str] = []
        self._wanted: set[int] = set()
        self._refused_until_s: dict[int, float] = {}
        self._leaving: dict[int, gevent.Greenlet] = {}
        self._renewed_s = 0.0
        self._greenlet: gevent.Greenlet | None = None
        self._stopping = False
        self.first_round = gevent.event.Event()

    @property
    def partitions(self) -> list[int]:
        """What this worker owns right now."""
        return sorted(self._leases)

    def start(self) -> None:
        """Begins to claim."""
        self._greenlet = gevent.spawn(self._run)
        gevent.spawn(self._watch)

    def stop(self, *, deadline_s: float) -> None:
        """Brings every chat to rest, then frees every partition; `deadline_s` is on the monotonic clock."""
        self._stopping = True
        if self._greenlet is not None:
            self._greenlet.join(timeout=2 * self._times.tick_s + 1)
        # Draining takes a while, and a lease must not end in the middle of it.
        self._quietly(self._renew)
        self._hand_over_each(self._leases.keys() - self._leaving.keys(), deadline_s)
        gevent.joinall(list(self._leaving.values()), timeout=max(deadline_s - time.monotonic(), 0.1) + 1)
        self._quietly(lambda: self._store.remove_worker(self._worker))

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._round()
                self.first_round.set()
            except StoreUnavailable as error:
                log.warning("cannot renew leases: %s", error)
            except Exception:
                log.exception("the ownership's round failed")
            gevent.sleep(self._times.tick_s)

    def _watch(self) -> None:
        # Beside the rounds: one of them may wait for the store, or for chats to come to rest, past a lease's deadline.
        while self._leases or not self._stopping:
            self._drop_overdue()
            gevent.sleep(self._times.tick_s)

    def _round(self) -> None:
        if time.monotonic() - self._renewed_s >= self._times.renew_every_s:
            self._renew()
        # Every round, because a worker that died is struck off at once and its chats must not wait.
        living = self._store.living(self._worker, ttl_ms=self._times.heartbeat_ttl_ms)
        if living != self._living:
            log.info("%d workers share the partitions", len(living))
            self._living = living
            self._wanted = share(self._worker, living, self._store.keys.partitions)
        refused = {p for p, until_s in self._refused_until_s.items() if time.monotonic() < until_s}
        for partition in sorted(self._wanted - self._leases.keys() - refused):
            if self._stopping:
                return
            self._claim(partition)
        unwanted = self._leases.keys() - self._wanted - self._leaving.keys()
        self._hand_over_each(unwanted, time.monotonic() + self._times.hand_over_s)

    def _renew(self) -> None:
        for lease in list(self._leases.values()):
            asked_s = lease_clock_s()
            renewed = self._store.renew(lease, ttl_ms=self._times.lease_ttl_ms)
            if renewed and lease.held:
                lease.deadline_s = self._times.deadline_s(asked_s)
            elif renewed:
                # Too late: its chats may have stopped by themselves, so claim it again and restore them.
                self._lose(lease)
                self._store.release(lease)
            elif lease.is_stale:
                self._claim_again_later(lease)
            else:
                log.warning("partition %d was taken away", lease.partition)
                self._lose(lease)
        self._renewed_s = time.monotonic()

    def _claim(self, partition: int) -> None:
        asked_s = lease_clock_s()
        claim = self._store.claim(partition, self._worker, ttl_ms=self._times.lease_ttl_ms)
        if claim is None:
            return
        lease = Lease(partition, claim.value, deadline_s=self._times.deadline_s(asked_s), steps=claim.steps)
        try:
            records = self._records(lease)
            self._begin(lease, records, POLL_DELAY_RELEASED_S if claim.released else POLL_DELAY_EXPIRED_S)
        except Exception as error:
            # One partition must not keep the others without an owner. Kept, this one would have none until it ran out.
            self._refused_until_s[partition] = time.monotonic() + RETRY_CLAIM_S
            log.critical("partition %d cannot be served and is given up: %s", partition, error, exc_info=error)
            self._give_back(lease)

    def _records(self, lease: Lease) -> tuple[ChatRecord, ...]:
        chats = self._store.stored_chats(lease.partition)
        for chat in chats:
            if chat.record is not None and chat.record.request.user_key != chat.user_id:
                self._store.rename(lease, chat, chat.record.request.user_key)
        readable = [chat.record for chat in chats if chat.record is not None]
        unreadable = [chat for chat in chats if chat.record is None]
        return (*readable, *end_unreadable(self._store, lease, unreadable, now_ms=time.time_ns() // 1_000_000))

    def _begin(self, lease: Lease, records: tuple[ChatRecord, ...], first_poll_delay_s: float) -> None:
        self._leases[lease.partition] = lease
        tell(self._registry, PartitionGained(lease, records, first_poll_delay_s))
        self._inbox.assigned(lease.partition)

    def _give_back(self, lease: Lease) -> None:
        if lease.partition in self._leases:
            self._lose(lease)
        self._quietly(partial(self._store.release, lease))

    def _hand_over_each(self, partitions: Iterable[int], deadline_s: float) -> None:
        """Gives partitions up, each as soon as its own chats are at rest: one slow call must not keep the others."""
        for partition in partitions:
            self._leaving[partition] = gevent.spawn(self._hand_over, partition, deadline_s)

    def _hand_over(self, partition: int, deadline_s: float) -> None:
        try:
            self._inbox.revoked([partition])
            self._drain(partition, max(deadline_s - time.monotonic(), 0.1))
            if (lease := self._leases.pop(partition, None)) is not None:
                tell(self._registry, PartitionLost(partition))
                lease.give_up()
                self._quietly(partial(self._store.release, lease))
        finally:
            self._leaving.pop(partition, None)

    def _drain(self, partition: int, timeout_s: float) -> None:
        drain = DrainPartitions((partition,), time.monotonic() + timeout_s * 0.95)
        try:
            drained = self._registry.ask(drain, block=False)
            drained.get(timeout=timeout_s).wait(timeout=timeout_s)
        except Exception:
            log.exception("partition %d: not every chat came to rest in time", partition)

    def _drop_overdue(self) -> None:
        for lease in list(self._leases.values()):
            if not lease.held:
                if lease.is_stale:
                    self._claim_again_later(lease)
                else:
                    log.error("partition %d could not be renewed in time: stopping its chats", lease.partition)
                    self._lose(lease)

    def _claim_again_later(self, lease: Lease) -> None:
        """Gives up a partition whose writes the store lost: the next round claims it, and restores its chats."""
        log.error("the store lost writes of partition %d: its chats go on from what is on record", lease.partition)
        self._lose(lease)
        gevent.spawn(self._quietly, partial(self._store.release, lease))

    def _lose(self, lease: Lease) -> None:
        lease.give_up()
        self._leases.pop(lease.partition, None)
        self._inbox.revoked([lease.partition])
        tell(self._registry, PartitionLost(lease.partition))

    @staticmethod
    def _quietly(call: Callable[[], None]) -> None:
        try:
            call()
        except StoreUnavailable as error:
            log.warning("left to run out by itself: %s", error)


def share(worker: str, living: Iterable[str], partitions: int) -> set[int]:
    """The partitions that a worker should own among the living: rendezvous hashing, so that few move when one comes."""
    names = {worker, *living}
    return {p for p in range(partitions) if max(names, key=lambda name: _weight(name, p)) == worker}


def _weight(worker: str, partition: int) -> bytes:
    return hashlib.blake2b(f"{worker}/{partition}".encode(), digest_size=8).digest()
