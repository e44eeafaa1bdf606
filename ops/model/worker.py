"""A worker of the model: it holds the lease, reads the inbox, applies, commits, and only then sends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from bridge.actors.chats.journal import Journal
from bridge.actors.inbox.redis import RedisInbox
from bridge.actors.leases import Lease, lease_clock_s
from bridge.actors.protocol import Entry
from bridge.actors.store.store import Commit, Store
from bridge.chat.arrivals import set_aside
from bridge.chat.machine import ENDS, Chat
from bridge.chat.policy import ChatPolicy
from bridge.chat.retries import Attempt, after_failure, first_attempt
from bridge.chat.step import Step
from bridge.commands import Lane, lane_of
from bridge.errors import BridgeError, Fenced, RemoteUnavailable
from bridge.events import ChatEstablished, Event
from bridge.messages import InboxEvent

TTL_MS = 3_600_000


class _CarelessLease(Lease):
    """A lease that does not know how many commits the store confirmed."""

    def __init__(self, partition: int, value: str, *, deadline_s: float, steps: int = 0, doubted: bool = False) -> None:
        super().__init__(partition, value, deadline_s=deadline_s)

    def confirm(self, steps: int) -> None:
        """Notes nothing."""


class _CarelessJournal(Journal):
    """A journal that does not say which version of the record a step builds on."""

    def _write(self, commit: Commit, entries: Sequence[str]) -> None:
        commit.base = None
        super()._write(commit, entries)


class Sent:
    """A command on its way to a remote service, and its outcome once that is there."""

    def __init__(self, worker: Worker, attempt: Attempt) -> None:
        self.worker = worker
        self.attempt = attempt
        self.life = worker.life
        self.events: tuple[Event, ...] | None = None
        self.error: BridgeError | None = None

    @property
    def answered(self) -> bool:
        """Whether the remote service has carried it out."""
        return self.events is not None or self.error is not None


class Worker:
    """One worker with one user. `life` counts its restarts: what an earlier life sent has nobody to answer to."""

    def __init__(self, name: str, store: Store, inbox: RedisInbox, user_id: str, policy: ChatPolicy) -> None:
        self.name = name
        self.life = 0
        self._store = store
        self._inbox = inbox
        self._user_id = user_id
        self._policy = policy
        # Off, the model is that of a service that neither binds entries to their chat nor checks versions.
        self.mended = True
        self.forget()

    def forget(self) -> None:
        """A crash: all that is in memory is gone. Its lease stays in the store until it expires."""
        self.life += 1
        self.lease: Lease | None = None
        self.in_flight: dict[Lane, Sent] = {}
        self._told: set[str] = set()
        self._ids = 0

    @property
    def holds(self) -> bool:
        """Whether it believes that it owns the partition."""
        return self.lease is not None and self.lease.held

    def claim(self) -> None:
        """Takes the partition, if it is free, and resumes the chat that is on record."""
        if self.holds:
            return
        self.forget()
        claim = self._store.claim(0, self.name, ttl_ms=TTL_MS)
        if claim is None:
            return
        lease = Lease if self.mended else _CarelessLease
        self.lease = lease(0, claim.value, deadline_s=lease_clock_s() + TTL_MS, steps=claim.steps)
        record = self._store.chat(self._user_id)
        journal = Journal if self.mended else _CarelessJournal
        self._journal = journal(self._store, self._inbox, self._user_id, self.lease, record=record)
        self._chat = Chat(self._policy, record, new_id=self._new_id)
        if record is not None:
            self._step(())

    def renew(self) -> None:
        """Renews the lease; a store that went back, or another owner, ends it."""
        if self.lease is not None and not self._store.renew(self.lease, ttl_ms=TTL_MS):
            self.lose()

    def lose(self) -> None:
        """Stops acting. What it holds in the store is released where that is still its own."""
        lease, stale = self.lease, self.lease is not None and self.lease.is_stale
        self.forget()
        if lease is not None and stale:
            self._store.release(lease)

    def read(self) -> None:
        """Applies the first entry of the inbox that it was not told before."""
        entry = next((entry for entry in self._inbox.read(self._user_id) if entry.entry_id not in self._told), None)
        if self.holds and entry is not None:
            self._told.add(entry.entry_id)
            self._guarded(lambda: self._apply(entry))

    def hear(self, sent: Sent) -> None:
        """Applies the outcome of a command."""
        lane = lane_of(sent.attempt.command)
        if sent.life != self.life or self.in_flight.get(lane) is not sent or not self.holds:
            return
        if sent.error is not None:
            self._guarded(lambda: self._hear_failure(lane, sent, sent.error or RemoteUnavailable("")))
            return
        del self.in_flight[lane]
        self._guarded(lambda: self._step(self._with_context(sent.events or ())))

    def _hear_failure(self, lane: Lane, sent: Sent, error: BridgeError) -> None:
        attempt = sent.attempt.failed()
        decision = after_failure(attempt, error, self._policy, now_ms=_now_ms())
        if decision.again_in_s is not None and lane is Lane.POLL:
            self.in_flight[lane] = Sent(self, attempt)
            return
        del self.in_flight[lane]
        self._step(decision.events)

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Fenced:
            self.lose()

    def _apply(self, entry: Entry) -> None:
        aside = self._aside(entry.event, entry.chat_id) if self.mended else None
        if aside is None:
            self._step([entry.event], [entry.entry_id])
            return
        self._journal.set_aside(aside, [entry.entry_id])
        self._journal.answer(aside)

    def _aside(self, event: InboxEvent, chat_id: str) -> Step | None:
        return set_aside(event, chat_id, self._chat.record, policy=self._policy, now_ms=_now_ms())

    def _step(self, events: Iterable[Event], entries: Sequence[str] = ()) -> None:
        step = self._chat.apply(events, busy=self.in_flight, now_ms=_now_ms())
        if step.writes or entries:
            self._journal.write(self._chat, step, entries)
        self._journal.answer(step)
        if step.cancel_poll:
            self.in_flight.pop(Lane.POLL, None)
        if self._chat.state in ENDS or self._chat.record is None:
            self.in_flight.clear()
            self._chat.forget()
            return
        for command in step.commands:
            self.in_flight[lane_of(command)] = Sent(self, first_attempt(command, self._chat.record, now_ms=_now_ms()))

    def _with_context(self, events: tuple[Event, ...]) -> tuple[Event, ...]:
        if not any(isinstance(event, ChatEstablished) for event in events):
            return events
        context = self._journal.context()
        return tuple(
            ChatEstablished(event.agent_name, context) if isinstance(event, ChatEstablished) else event
            for event in events
        )

    def _new_id(self) -> str:
        self._ids += 1
        return f"{self.name}{self.life}{self._ids}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
