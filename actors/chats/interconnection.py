"""An interconnection: one user's chat, alive. Event in → chat → commit → commands out."""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gevent
import msgspec

from bridge.actors.base import BridgeActor, Ref, mailbox_length, tell
from bridge.actors.chats.journal import Journal
from bridge.actors.chats.lanes import InFlight, Lanes
from bridge.actors.chats.polling import Poller
from bridge.actors.inbox.engine import InboxEngine
from bridge.actors.leases import Lease
from bridge.actors.protocol import (
    Drain,
    Drained,
    Entry,
    Failed,
    Failure,
    Idle,
    Outcome,
    Request,
    Resume,
    RetryDue,
    Snapshot,
    WaitDue,
)
from bridge.actors.store.store import Store
from bridge.actors.timers import tell_after
from bridge.chat.arrivals import set_aside
from bridge.chat.machine import ENDS, Chat
from bridge.chat.policy import Policy
from bridge.chat.retries import TimeLimits, after_failure
from bridge.chat.step import Step
from bridge.commands import Command, Lane, Poll, RepairSession, SendToUser, TellBot
from bridge.errors import Fenced
from bridge.events import ChatEstablished, ChatQuarantined, Event, WaitExpired
from bridge.records import ChatRecord, ChatState, unread

log = logging.getLogger("bridge.interconnection")

REPAIR_JITTER_S = 0.5


class ChatContext(msgspec.Struct, frozen=True):
    """What every interconnection of a worker is given: the store, the operator's choices, and the way out."""

    store: Store
    policy: Policy
    time_limits: TimeLimits
    send: Callable[[Request], None]
    poll: Callable[[Request], gevent.Greenlet]
    inbox: InboxEngine


class Interconnection(BridgeActor):
    """One user's chat.

    The registry tells me entries of the inbox; outbound clients and the poll tell me outcomes; timers tell me that
    something is due. I tell outbound clients their requests and the registry when I am idle, at rest or fallen.
    I own the chat, its record and its session; nobody else changes them.
    """

    expected_errors = (Fenced,)

    def __init__(
        self,
        context: ChatContext,
        user_id: str,
        lease: Lease,
        *,
        registry: Ref,
        record: ChatRecord | None,
        first_poll_delay_s: float,
    ) -> None:
        super().__init__()
        self._context = context
        self._user_id = user_id
        self._registry = registry
        self._lease = lease
        self._recorder = Journal(context.store, context.inbox, user_id, lease, record=record)
        self._poller = Poller(context.poll, first_poll_delay_s=first_poll_delay_s)
        self._chat = self._chat_of(record)
        self._lanes = Lanes()
        self._entries = 0
        self._reloaded: set[str] = set()
        self._draining = False
        self._failed = False
        self.handlers = {
            Entry: self._take_entry,
            Outcome: self._take_outcome,
            Failure: self._take_failure,
            RetryDue: self._try_again,
            WaitDue: self._wait_is_over,
            Resume: self._resume,
            Drain: self._drain,
            Snapshot: lambda _: self._snapshot(),
        }

    def on_stop(self) -> None:
        """In my greenlet, at the very end. Nothing of the poll may outlive me."""
        self._cancel_poll()
        self._lanes.cancel_timers()

    def on_receive(self, message: Any) -> Any:
        """After a fall my chat may hold what was never written: nothing may be built on that."""
        return None if self._failed else super().on_receive(message)

    def on_error(self, message: Any, error: BaseException) -> None:
        """A fenced actor stops by itself; any other error is for the registry to mend."""
        self._failed = True
        self._cancel_poll()
        self._lanes.cancel_timers()
        if isinstance(error, Fenced):
            log.warning("stopping a chat: %s", error)
            tell(self._registry, Drained(self._user_id))
            self.stop()
        else:
            tell(self._registry, Failed(self._user_id, f"{type(error).__name__} on {type(message).__name__}"))

    # --- what comes in ----------------------------------------------------------------------------------------------

    def _take_entry(self, entry: Entry) -> None:
        self._entries += 1
        if entry.entry_id in self._reloaded:
            # It lay in the inbox when I reloaded, so its step is on record.
            self._reloaded.discard(entry.entry_id)
            return
        self._apply_entry(entry)

    def _apply_entry(self, entry: Entry) -> None:
        aside = set_aside(
            entry.event,
            entry.chat_id,
            self._chat.record,
            now_ms=_now_ms(),
            timeout_s=self._context.policy.connect_s,
        )
        if aside is None:
            self._step([entry.event], [entry.entry_id])
            return
        log.info("%s is not carried out: it is late, or of another chat", type(entry.event).__name__)
        self._recorder.set_aside(aside, [entry.entry_id])
        self._carry_out(aside)

    def _take_outcome(self, outcome: Outcome) -> None:
        if self._lanes.finish(outcome.lane, outcome.token) is None:
            log.debug("dropped a late outcome")
            return
        self._chat.free(outcome.lane)
        if outcome.lane is Lane.POLL:
            self._poller.answered(quiet=not outcome.events)
        self._step(self._with_context(outcome.events))

    def _take_failure(self, failure: Failure) -> None:
        under_way = self._lanes.get(failure.lane, failure.token)
        if under_way is None:
            log.debug("dropped a late failure")
            return
        verdict = after_failure(under_way.tried(), failure.error, self._context.time_limits, now_ms=_now_ms())
        log.info("%s failed (try %d): %s", type(under_way.command).__name__, under_way.tries, failure.error)
        pointless = failure.lane is Lane.DESK and self._chat.over_at_desk
        if pointless or verdict.again_in_s is None:
            self._lanes.finish(failure.lane, failure.token)
            self._chat.free(failure.lane)
            self._step(() if pointless else verdict.events)
        elif self._draining:
            self._lanes.finish(failure.lane, failure.token)
            self._report_drained()
        else:
            under_way.timer = tell_after(self.actor_ref, RetryDue(failure.lane, failure.token), verdict.again_in_s)

    def _try_again(self, due: RetryDue) -> None:
        under_way = self._lanes.get(due.lane, due.token)
        if under_way is None:
            return
        if self._draining:
            self._lanes.drop(due.lane)
            self._report_drained()
        else:
            self._send(under_way)

    def _wait_is_over(self, due: WaitDue) -> None:
        if self._chat.record is not None and self._chat.record.chat_id == due.chat_id:
            self._step([WaitExpired()])

    def _resume(self, resume: Resume) -> None:
        if resume.quarantine:
            self._quarantine(resume.quarantine)
            return
        if resume.reload:
            self._reload()
        # A step, for it may be the one that ends the chat, and that has to be written down.
        self._step(())
        self._arm_wait()

    def _reload(self) -> None:
        """After a fall: what is on record, and what lay in the mailbox that was lost."""
        self._chat = self._chat_of(self._recorder.record())
        for entry in self._recorder.inbox():
            self._apply_entry(entry)
            self._reloaded.add(entry.entry_id)

    def _quarantine(self, reason: str) -> None:
        """Ends a chat that falls again and again; what may be to blame goes to the dead letters, unread."""
        self._chat = self._chat_of(self._recorder.record())
        step = self._chat.apply([ChatQuarantined(reason)], now_ms=_now_ms())
        entries = self._recorder.inbox()
        for entry in entries:
            step.dead_letters += unread(entry.event, entry.entry_id, reason=reason, now_ms=_now_ms())
            self._reloaded.add(entry.entry_id)
        self._recorder.write(self._chat, step, [entry.entry_id for entry in entries])
        self._carry_out(step)

    def _chat_of(self, record: ChatRecord | None) -> Chat:
        return Chat(self._context.policy, record, new_id=_new_id)

    # --- one step ---------------------------------------------------------------------------------------------------

    def _step(self, events: Iterable[Event], entries: Sequence[str] = ()) -> None:
        held_before = self._chat.state is ChatState.ON_HOLD
        step = self._chat.apply(events, now_ms=_now_ms())
        if step.ignored:
            log.info("ignored in %s: %s", self._chat.state.value, ", ".join(step.ignored))
        if step.writes or entries:
            self._recorder.write(self._chat, step, entries)
        self._carry_out(step)
        if self._chat.state is ChatState.ON_HOLD and not held_before:
            self._arm_wait()

    def _carry_out(self, step: Step) -> None:
        self._recorder.answer(step)
        if step.cancel_poll:
            self._cancel_poll()
        if self._chat.state in ENDS or self._chat.record is None:
            self._let_go()
        elif not self._draining:
            for command in step.commands:
                self._send(self._lanes.begin(command, since_ms=self._since_ms(command)))
        self._report_drained()

    def _since_ms(self, command: Command) -> int:
        """When patience begins: as a caller began to wait for the chat, or as the text to the user was owed."""
        record = self._chat.record
        if record and record.state is ChatState.CONNECTING:
            return record.opened_at_ms
        return command.delivery.owed_since_ms if isinstance(command, SendToUser) else _now_ms()

    def _let_go(self) -> None:
        if self._chat.record is not None:
            log.info("chat %s is over: %s", self._chat.record.chat_id, self._chat.record.reason)
        self._cancel_poll()
        self._lanes.clear()
        self._chat.forget()
        tell(self._registry, Idle(self._user_id, self._entries))

    def _send(self, under_way: InFlight) -> None:
        if not self._lease.held:
            raise Fenced(f"the lease on partition {self._lease.partition} is over")
        command = under_way.command
        delay_s = self._delay_s(command) if under_way.tries == 0 and under_way.timer is None else 0.0
        request = Request(command, self.actor_ref, under_way.token, self._lease)
        if delay_s > 0:
            under_way.timer = tell_after(self.actor_ref, RetryDue(under_way.lane, under_way.token), delay_s)
        elif isinstance(command, Poll):
            self._poller.begin(request)
        else:
            self._context.send(request)

    def _delay_s(self, command: Command) -> float:
        if isinstance(command, TellBot):
            return (command.due_at_ms - _now_ms()) / 1000
        if isinstance(command, Poll):
            return self._poller.delay_s
        if isinstance(command, RepairSession):
            # When the desk moves, it moves all chats at once; they shall not all come back in one instant.
            return random.uniform(0, REPAIR_JITTER_S)
        return 0.0

    def _with_context(self, events: tuple[Event, ...]) -> tuple[Event, ...]:
        """An agent who comes is given what was said before: read from the store at this moment."""
        if not any(isinstance(event, ChatEstablished) for event in events) or self._chat.state is ChatState.ACTIVE:
            return events
        context = self._recorder.context()
        return tuple(
            msgspec.structs.replace(event, context=context) if isinstance(event, ChatEstablished) else event
            for event in events
        )

    def _cancel_poll(self) -> None:
        self._lanes.drop(Lane.POLL)
        self._poller.end()

    def _arm_wait(self) -> None:
        record, max_wait_s = self._chat.record, self._context.policy.max_wait_s
        if record is None or not max_wait_s or record.state is not ChatState.ON_HOLD:
            return
        left_s = max_wait_s - (_now_ms() - record.held_since_ms) / 1000
        tell_after(self.actor_ref, WaitDue(record.chat_id), max(left_s, 0.0))

    # --- coming to rest ---------------------------------------------------------------------------------------------

    def _drain(self, drain: Drain) -> None:
        self._draining = True
        self._cancel_poll()
        self._lanes.drop_waiting()
        self._report_drained()

    def _report_drained(self) -> None:
        if self._draining and not self._lanes.busy:
            tell(self._registry, Drained(self._user_id))

    def _snapshot(self) -> dict[str, Any]:
        record = self._chat.record
        session = record.session if record else None
        return {
            "user": self._user_id,
            "chat": record.chat_id if record else "",
            "state": self._chat.state.value,
            "session": session.session_id if session else "",
            "ack": session.ack if session else None,
            "sequence": session.sequence if session else None,
            "owed_to_agent": len(record.to_agent) if record else 0,
            "owed_to_user": len(record.to_user) if record else 0,
            "owed_to_bot": record.to_bot.state if record and record.to_bot else "",
            "agent": record.agent_name if record else "",
            "agent_typing": record.agent_typing if record else False,
            "queue_position": record.queue_position if record else None,
            "opened_at_ms": record.opened_at_ms if record else None,
            "under_way": {lane.value: type(state.command).__name__ for lane, state in self._lanes.states.items()},
            "mailbox": mailbox_length(self),
            "last_poll_s": self._poller.last_s,
        }


def _new_id() -> str:
    return uuid.uuid4().hex


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
