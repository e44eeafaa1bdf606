"""An interconnection: the actor of one user's chat. Event in → step of the chat → commit → commands out."""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import msgspec

from bridge.actors.base import BridgeActor, Ref, mailbox_length, tell
from bridge.actors.chats.journal import Journal
from bridge.actors.chats.lanes import InFlight, Lanes
from bridge.actors.chats.polling import Begin, Poller
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
from bridge.chat.machine import ENDS, LAST_TEXTS_MS, Chat
from bridge.chat.policy import ChatPolicy
from bridge.chat.retries import after_failure, first_attempt
from bridge.chat.step import Step
from bridge.commands import TERMS, Command, Lane, lane_of
from bridge.errors import Fenced
from bridge.events import ChatEstablished, ChatQuarantined, DeskSilent, Event, SessionBroke, SessionPolled, WaitExpired
from bridge.messages import DeskSession, id_of_key, mask_user
from bridge.personal import strike
from bridge.records import ChatRecord, ChatState, unread

log = logging.getLogger("bridge.interconnection")


class ChatContext(msgspec.Struct, frozen=True):
    """What every interconnection of a worker is given: the store, the policy, and the ways out.

    `send` gives a request to a pool, `poll` begins a poll, `describe` shows a session to an operator.
    """

    store: Store
    policy: ChatPolicy
    send: Callable[[Request], None]
    poll: Begin
    describe: Callable[[DeskSession], Mapping[str, object]]
    inbox: InboxEngine


class ChatLog(logging.LoggerAdapter[logging.Logger]):
    """Adds chat, user (masked) and partition to every line; `command` and `attempt` where they are given."""

    def __init__(self, user_id: str, partition: int) -> None:
        super().__init__(log)
        self.fields: dict[str, object] = {"chat": "", "user": mask_user(id_of_key(user_id)), "partition": partition}

    def process(self, msg: str, kwargs: MutableMapping[str, Any]) -> tuple[str, MutableMapping[str, Any]]:
        """Merges the fields of the chat with those of the line."""
        return msg, {**kwargs, "extra": {**self.fields, **kwargs.get("extra", {})}}


class Interconnection(BridgeActor):
    """One user's chat.

    The registry tells me entries of the inbox; outbound clients and the poll tell me outcomes; timers tell me that
    something is due. I tell outbound clients their requests, and the registry when I am idle, drained or have failed.
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
        self._journal = Journal(context.store, context.inbox, user_id, lease, record=record)
        self._poller = Poller(context.poll, first_poll_delay_s=first_poll_delay_s)
        self._log = ChatLog(user_id, lease.partition)
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
        """In my greenlet, at the very end. The poll must not outlive me."""
        self._cancel_poll()
        self._lanes.cancel_timers()

    def on_receive(self, message: Any) -> Any:
        """After an unexpected error memory may differ from the stored record: I ignore all messages.

        The registry restarts this chat from the record.
        """
        return None if self._failed else super().on_receive(message)

    def on_error(self, message: Any, error: BaseException) -> None:
        """A fenced actor stops by itself. After any other error the registry restarts the chat."""
        self._failed = True
        self._cancel_poll()
        self._lanes.cancel_timers()
        if isinstance(error, Fenced):
            self._log.warning("stopping a chat: %s", error)
            tell(self._registry, Drained(self._user_id))
            self.stop()
        else:
            tell(self._registry, Failed(self._user_id, f"{type(error).__name__} on {type(message).__name__}"))

    # --- what comes in ----------------------------------------------------------------------------------------------

    def _take_entry(self, entry: Entry) -> None:
        self._entries += 1
        if entry.entry_id in self._reloaded:
            # It was in the inbox when I reloaded, so its step is on record.
            self._reloaded.discard(entry.entry_id)
            return
        self._apply_entry(entry)

    def _apply_entry(self, entry: Entry) -> None:
        policy = self._context.policy
        aside = set_aside(entry.event, entry.chat_id, self._chat.record, policy=policy, now_ms=self._now_ms())
        if aside is None:
            self._step([entry.event], [entry.entry_id])
            return
        self._log.info("%s is not carried out: it is late, or of another chat", type(entry.event).__name__)
        self._journal.set_aside(aside, [entry.entry_id])
        self._carry_out(aside)

    def _take_outcome(self, outcome: Outcome) -> None:
        if self._lanes.finish(outcome.lane, outcome.token) is None:
            self._log.debug("dropped a late outcome")
            return
        if outcome.lane is Lane.POLL:
            # A batch without messages is empty as well.
            self._poller.answered(empty=all(isinstance(event, SessionPolled) for event in outcome.events))
        silent = outcome.lane is Lane.POLL and not outcome.events and self._chat.awaits_last_texts
        self._step((DeskSilent(),) if silent else self._with_context(outcome.events))

    def _take_failure(self, failure: Failure) -> None:
        in_flight = self._lanes.get(failure.lane, failure.token)
        if in_flight is None:
            self._log.debug("dropped a late failure")
            return
        if (record := self._chat.record) is not None:
            # Before the sentence reaches a log line, an answer or a dead letter.
            strike(failure.error, record.request)
        attempt = in_flight.attempt = in_flight.attempt.failed()
        decision = after_failure(attempt, failure.error, self._context.policy, now_ms=self._now_ms())
        self._log_failure(attempt.command, attempt.tries, failure.error)
        pointless = failure.lane in (Lane.DESK, Lane.FILE) and self._chat.over_at_desk
        if pointless or decision.again_in_s is None:
            self._lanes.finish(failure.lane, failure.token)
            self._step(() if pointless else decision.events)
        elif self._draining:
            self._lanes.finish(failure.lane, failure.token)
            self._report_drained()
        else:
            in_flight.wait(tell_after(self.actor_ref, RetryDue(failure.lane, failure.token), decision.again_in_s))

    def _log_failure(self, command: Command, tries: int, error: BaseException) -> None:
        name = type(command).__name__
        self._log.info("%s failed: %s", name, error, extra={"command": name, "attempt": tries})

    def _try_again(self, due: RetryDue) -> None:
        in_flight = self._lanes.get(due.lane, due.token)
        if in_flight is None or not in_flight.waiting:
            # Its timer and the recovery of its remote may both say that it is due.
            return
        in_flight.stop_waiting()
        if self._draining:
            self._lanes.drop(due.lane)
            self._report_drained()
        else:
            self._send(in_flight)

    def _wait_is_over(self, due: WaitDue) -> None:
        if self._chat.record is not None and self._chat.record.chat_id == due.chat_id:
            self._step([WaitExpired()])

    def _resume(self, resume: Resume) -> None:
        if resume.quarantine:
            self._quarantine(resume.quarantine)
            return
        if resume.reload:
            self._reload()
        # This step may end the chat, and then it has to be written down.
        self._step(())
        self._arm_wait()

    def _reload(self) -> None:
        """After a failure: reads the record, and the entries that were in the mailbox of the failed actor."""
        self._chat = self._chat_of(self._journal.record())
        for entry in self._journal.inbox():
            self._apply_entry(entry)
            self._reloaded.add(entry.entry_id)

    def _quarantine(self, reason: str) -> None:
        """Ends a chat that fails again and again. Any of its entries may be the cause: they become dead letters."""
        self._chat = self._chat_of(self._journal.record())
        step = self._chat.apply([ChatQuarantined(reason)], busy=self._lanes.busy, now_ms=self._now_ms())
        entries = self._journal.inbox()
        for entry in entries:
            step.dead_letters += unread(entry.event, entry.entry_id, reason=reason, now_ms=self._now_ms())
            self._reloaded.add(entry.entry_id)
        self._journal.write(self._chat, step, [entry.entry_id for entry in entries])
        self._carry_out(step)

    def _chat_of(self, record: ChatRecord | None) -> Chat:
        return Chat(self._context.policy, record, new_id=_new_id)

    # --- one step ---------------------------------------------------------------------------------------------------

    def _step(self, events: Sequence[Event], entries: Sequence[str] = ()) -> None:
        waited_before = self._waits
        if any(isinstance(event, SessionBroke) for event in events):
            # A text that waits to be tried again would only delay the repair.
            self._lanes.drop_waiting(Lane.DESK)
        step = self._chat.apply(events, busy=self._lanes.busy, now_ms=self._now_ms())
        self._log.fields["chat"] = self._chat.record.chat_id if self._chat.record else ""
        if step.ignored:
            self._log.info("ignored in %s: %s", self._chat.state.value, ", ".join(step.ignored))
        if step.writes or entries:
            self._journal.write(self._chat, step, entries)
        self._carry_out(step)
        if self._waits and not waited_before:
            self._arm_wait()

    @property
    def _waits(self) -> bool:
        """Whether the chat is in a phase that ends after some time by itself."""
        return self._chat.state is ChatState.ON_HOLD or self._chat.awaits_last_texts

    def _carry_out(self, step: Step) -> None:
        self._journal.answer(step)
        if step.cancel_poll:
            self._cancel_poll()
        if step.cancel_bot:
            self._lanes.drop(Lane.BOT)
        if self._chat.state in ENDS or self._chat.record is None:
            self._let_go()
        elif not self._draining:
            for command in step.commands:
                self._send(self._lanes.begin(first_attempt(command, self._chat.record, now_ms=self._now_ms())))
        self._report_drained()

    def _let_go(self) -> None:
        if self._chat.record is not None:
            self._log.info("the chat is over: %s", self._chat.record.reason)
        self._cancel_poll()
        self._lanes.clear()
        self._chat.forget()
        tell(self._registry, Idle(self._user_id, self._entries))

    def _send(self, in_flight: InFlight) -> None:
        if not self._lease.held:
            raise Fenced(f"the lease on partition {self._lease.partition} is over")
        first = in_flight.attempt.tries == 0 and in_flight.timer is None
        delay_s = self._delay_s(in_flight.attempt.command) if first else 0.0
        request = Request(in_flight.attempt.command, self.actor_ref, in_flight.token, self._lease)
        if delay_s > 0:
            in_flight.wait(tell_after(self.actor_ref, RetryDue(in_flight.lane, in_flight.token), delay_s))
        elif in_flight.lane is Lane.POLL:
            self._poller.begin(request)
        else:
            self._context.send(request)

    def _now_ms(self) -> int:
        """The store's time: records are read on other hosts as well."""
        return self._context.store.clock.now_ms()

    def _delay_s(self, command: Command) -> float:
        """Seconds before the first try of a command."""
        if lane_of(command) is Lane.POLL:
            return self._poller.delay_s
        # A clock that was set back must not make anybody wait for longer than the policy says.
        due_in_s = (command.not_before_ms - self._now_ms()) / 1000
        due_in_s = min(due_in_s, self._context.policy.longest_delay_s(command))
        return max(due_in_s, 0.0) + random.uniform(0, TERMS[type(command)].jitter_s)

    def _with_context(self, events: tuple[Event, ...]) -> tuple[Event, ...]:
        """Gives an agent who comes what was said before, read from the store at this moment."""
        if not any(isinstance(event, ChatEstablished) for event in events) or self._chat.state is ChatState.ACTIVE:
            return events
        context = self._journal.context()
        return tuple(
            msgspec.structs.replace(event, context=context) if isinstance(event, ChatEstablished) else event
            for event in events
        )

    def _cancel_poll(self) -> None:
        self._lanes.drop(Lane.POLL)
        self._poller.end()

    def _arm_wait(self) -> None:
        record, max_wait_s = self._chat.record, self._context.policy.max_wait_s
        if record is None:
            return
        if self._chat.awaits_last_texts:
            left_s = (record.left_at_ms + LAST_TEXTS_MS - self._now_ms()) / 1000
            tell_after(self.actor_ref, Resume(), min(left_s, LAST_TEXTS_MS / 1000))
        elif max_wait_s and record.state is ChatState.ON_HOLD:
            left_s = max_wait_s - (self._now_ms() - record.held_since_ms) / 1000
            tell_after(self.actor_ref, WaitDue(record.chat_id), min(max(left_s, 0.0), max_wait_s))

    # --- draining ---------------------------------------------------------------------------------------------------

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
            "user": id_of_key(self._user_id),
            "chat": record.chat_id if record else "",
            "state": self._chat.state.value,
            "session": session.id if session else "",
            "health": session.health if session else "",
            "at_desk": dict(self._context.describe(session)) if session else {},
            "owed_to_agent": len(record.to_agent) if record else 0,
            "owed_to_user": len(record.to_user) if record else 0,
            "owed_to_bot": record.to_bot.state if record and record.to_bot else "",
            "agent": record.agent_name if record else "",
            "agent_typing": record.agent_typing if record else False,
            "queue_position": record.queue_position if record else None,
            "opened_at_ms": record.opened_at_ms if record else None,
            "under_way": {
                lane.value: type(in_flight.attempt.command).__name__
                for lane, in_flight in self._lanes.in_flight.items()
            },
            "mailbox": mailbox_length(self),
            "last_poll_s": self._poller.last_s,
        }


def _new_id() -> str:
    return uuid.uuid4().hex
