"""The chat: states × events → next state and actions, as data. No I/O, no clock, no word of any one desk.

`Chat.apply` takes what happened and gives back a `Step`: what to write down and, after that, what to do. What to do is
never stored as such: it is read off the record (`bridge.owed`), so a chat that was restored goes on by the same rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from bridge.chat import actions
from bridge.chat import pending as owed
from bridge.chat.policy import Policy
from bridge.chat.step import Step
from bridge.commands import LANES, Lane
from bridge.events import (
    AgentLeft,
    AgentTyped,
    AgentWrote,
    BotTold,
    BotUntold,
    CaseOpened,
    ChatEnded,
    ChatEstablished,
    ChatQuarantined,
    ChatQueued,
    ChatRefused,
    ChatRequested,
    ChatTransferred,
    ConnectOverdue,
    ConnectRefused,
    ContactBlocked,
    ContactReady,
    DeliveredToAgent,
    DeliveredToUser,
    DeskLeft,
    DeskUnreachable,
    Event,
    FileAttached,
    FileRejected,
    FileRequested,
    QueueMoved,
    SessionExpired,
    SessionOpened,
    SessionPolled,
    SessionStale,
    SessionStepped,
    TextFound,
    TransferBegan,
    UndeliverableToAgent,
    UndeliverableToUser,
    WaitExpired,
)
from bridge.messages import ConnectRequested, FinishRequested, LeaveRequested, Message, UserMessageReceived
from bridge.records import ChatRecord, ChatState, FlightEntry

NEW, CONNECTING, ON_HOLD = ChatState.NEW, ChatState.CONNECTING, ChatState.ON_HOLD
ACTIVE, CLOSING = ChatState.ACTIVE, ChatState.CLOSING
# The caller's clock began a little before the chat's own.
JUST_BEFORE_MS = 250
SILENCE_MS = 60_000
ENDS = (ChatState.CLOSED, ChatState.FAILED)


class Cell(NamedTuple):
    """What an event does in a state: the next state, and the actions that change the record on the way."""

    state: ChatState
    actions: tuple[actions.Action, ...]


Row = dict[type[Message], Cell]


def _stay(state: ChatState, does: dict[type[Message], tuple[actions.Action, ...]]) -> Row:
    return {event: Cell(state, what) for event, what in does.items()}


# Results of what was under way; they mean the same wherever they arrive.
_RESULTS: dict[type[Message], tuple[actions.Action, ...]] = {
    SessionPolled: (actions.note_polled,),
    SessionStepped: (actions.note_stepped,),
    TextFound: (actions.remove_found,),
    DeliveredToUser: (actions.remove_delivered_to_user,),
    UndeliverableToUser: (actions.dead_letter_to_user,),
    DeliveredToAgent: (actions.remove_delivered_to_agent,),
    UndeliverableToAgent: (actions.dead_letter_to_agent,),
    FileAttached: (actions.announce_file,),
    FileRejected: (actions.reject_file,),
    AgentTyped: (actions.note_typing,),
}

# What the desk says of a chat that it holds.
_FROM_DESK: dict[type[Message], tuple[actions.Action, ...]] = {
    AgentWrote: (actions.say_agent_text,),
    FileRequested: (actions.say_file,),
}

_ENDINGS: Row = {
    ChatEnded: Cell(CLOSING, (actions.return_unsent, actions.end_as_told)),
    ChatRefused: Cell(CLOSING, (actions.refuse_connect, actions.return_unsent, actions.end_unserved)),
    SessionExpired: Cell(CLOSING, (actions.refuse_connect, actions.return_unsent, actions.end_unserved)),
    DeskUnreachable: Cell(
        CLOSING,
        (actions.refuse_connect, actions.return_unsent, actions.stop_polling, actions.leave, actions.end_unserved),
    ),
}

_UNSERVED = Cell(CLOSING, (actions.refuse_connect, actions.return_unsent, actions.leave, actions.end_unserved))

TABLE: dict[ChatState, Row] = {
    NEW: {
        ConnectRequested: Cell(CONNECTING, (actions.begin,)),
        UserMessageReceived: Cell(NEW, (actions.keep_as_context,)),
        LeaveRequested: Cell(NEW, (actions.keep_as_context,)),
        FinishRequested: Cell(NEW, (actions.answer_absent,)),
    },
    CONNECTING: {
        **_stay(CONNECTING, _RESULTS | _FROM_DESK),
        **_ENDINGS,
        ConnectRequested: Cell(CONNECTING, (actions.answer_exists,)),
        UserMessageReceived: Cell(CONNECTING, (actions.owe_agent_message,)),
        LeaveRequested: Cell(
            CLOSING, (actions.refuse_connect, actions.return_unsent, actions.keep_as_context, actions.leave)
        ),
        FinishRequested: Cell(
            CLOSING, (actions.refuse_connect, actions.return_unsent, actions.leave, actions.end_finished)
        ),
        ContactReady: Cell(CONNECTING, (actions.note_contact,)),
        ContactBlocked: Cell(CLOSING, (actions.note_contact, actions.return_unsent, actions.refuse_blocked)),
        CaseOpened: Cell(CONNECTING, (actions.note_case,)),
        SessionOpened: Cell(CONNECTING, (actions.note_session,)),
        SessionStale: Cell(CONNECTING, (actions.drop_session,)),
        ChatRequested: Cell(CONNECTING, (actions.note_requested, actions.answer_connected)),
        ConnectOverdue: _UNSERVED,
        ChatQuarantined: _UNSERVED,
        ConnectRefused: _UNSERVED,
        ChatQueued: Cell(ON_HOLD, (actions.note_queue, actions.hold)),
        QueueMoved: Cell(CONNECTING, (actions.note_queue,)),
        ChatEstablished: Cell(ACTIVE, (actions.brief_agent,)),
    },
    ON_HOLD: {
        **_stay(ON_HOLD, _RESULTS | _FROM_DESK),
        **_ENDINGS,
        ConnectRequested: Cell(ON_HOLD, (actions.answer_exists,)),
        UserMessageReceived: Cell(ON_HOLD, (actions.owe_agent_message,)),
        LeaveRequested: Cell(CLOSING, (actions.return_unsent, actions.keep_as_context, actions.leave)),
        FinishRequested: Cell(CLOSING, (actions.return_unsent, actions.leave, actions.end_finished)),
        ChatQuarantined: _UNSERVED,
        WaitExpired: Cell(CLOSING, (actions.return_unsent, actions.leave, actions.end_unserved)),
        ChatQueued: Cell(ON_HOLD, (actions.note_queue, actions.say_queue)),
        QueueMoved: Cell(ON_HOLD, (actions.note_queue, actions.say_queue)),
        ChatEstablished: Cell(ACTIVE, (actions.brief_agent,)),
    },
    ACTIVE: {
        **_stay(ACTIVE, _RESULTS | _FROM_DESK),
        **_ENDINGS,
        ConnectRequested: Cell(ACTIVE, (actions.answer_exists,)),
        UserMessageReceived: Cell(ACTIVE, (actions.owe_agent_message,)),
        LeaveRequested: Cell(CLOSING, (actions.keep_as_context, actions.leave)),
        FinishRequested: Cell(CLOSING, (actions.leave, actions.end_finished)),
        ChatQuarantined: _UNSERVED,
        AgentLeft: Cell(ACTIVE, (actions.say_agent_left,)),
        TransferBegan: Cell(ACTIVE, (actions.say_transfer_began,)),
        ChatTransferred: Cell(ACTIVE, (actions.note_agent, actions.say_transferred)),
        ChatEstablished: Cell(ACTIVE, (actions.note_agent,)),
    },
    CLOSING: {
        **_stay(CLOSING, _RESULTS | _FROM_DESK),
        ConnectRequested: Cell(CLOSING, (actions.answer_exists,)),
        UserMessageReceived: Cell(CLOSING, (actions.keep_as_context,)),
        LeaveRequested: Cell(CLOSING, (actions.keep_as_context,)),
        FinishRequested: Cell(CLOSING, (actions.answer_finished,)),
        CaseOpened: Cell(CLOSING, (actions.note_case,)),
        ChatRequested: Cell(CLOSING, (actions.note_session,)),
        ChatEnded: Cell(CLOSING, (actions.return_unsent, actions.note_left)),
        ChatRefused: Cell(CLOSING, (actions.return_unsent, actions.note_left)),
        SessionExpired: Cell(CLOSING, (actions.return_unsent, actions.note_left)),
        DeskUnreachable: Cell(CLOSING, (actions.stop_polling,)),
        ChatQuarantined: Cell(CLOSING, (actions.give_up_chat,)),
        DeskLeft: Cell(CLOSING, (actions.return_unsent, actions.note_left)),
        BotTold: Cell(CLOSING, (actions.note_bot_told,)),
        BotUntold: Cell(CLOSING, (actions.note_bot_untold,)),
    },
    ChatState.CLOSED: {},
    ChatState.FAILED: {},
}


class Chat:
    """One user's chat. Owned by one interconnection; `record` is None while there is nothing to remember (NEW)."""

    def __init__(self, policy: Policy, record: ChatRecord | None = None, *, new_id: Callable[[], str]) -> None:
        self.policy = policy
        self.record = record
        self.new_id = new_id
        self.busy: set[Lane] = set()
        self.resumed = record is not None

    @property
    def state(self) -> ChatState:
        return self.record.state if self.record else NEW

    def apply(self, events: Iterable[Event], *, now_ms: int) -> Step:
        """What follows from these events, in order, as one step. An event that has no cell changes nothing.

        Of no events, what follows is what a restored chat still owes.
        """
        step = Step(now_ms=now_ms)
        if self._overdue(now_ms):
            self._apply_one(ConnectOverdue(), step)
        for event in events:
            self._apply_one(event, step)
        if self._overdue(now_ms):
            self._apply_one(ConnectOverdue(), step)
        self._settle(step)
        self._owe(step)
        if self.record and step.flight:
            self.record.step += 1
            names = tuple(type(command).__name__ for command in step.commands)
            step.flight[-1] = msgspec.structs.replace(step.flight[-1], after=self.record.state, commands=names)
        return step

    @property
    def over_at_desk(self) -> bool:
        """Whether the desk has ended the chat: what it did not take by now it never will."""
        return self.record is not None and self.record.state is CLOSING and not self.record.leaving

    def free(self, lane: Lane) -> None:
        """Says that the lane's command is over; `apply` may use the lane again."""
        self.busy.discard(lane)

    def forget(self) -> None:
        """Drops the record of a chat that has ended: the next event meets a NEW chat."""
        self.record = None
        self.busy.clear()

    def _apply_one(self, event: Event, step: Step) -> None:
        before = self.state
        cell = TABLE[before].get(type(event))
        if cell is None:
            step.ignored.append(type(event).__name__)
            return
        for act in cell.actions:
            act(self, event, step)
        if self.record:
            self.record.state = cell.state
        step.flight.append(FlightEntry(at_ms=step.now_ms, event=type(event).__name__, before=before, after=self.state))

    def _overdue(self, now_ms: int) -> bool:
        """Whether the chat is still opening although nobody believes in it any more.

        Its caller was told that there is no chat, so no agent may ring; or the desk took the request and never said
        another word, so the user waits for nothing (liveagent.md, "Wrong or moved host").
        """
        record = self.record
        if record is None or record.state is not CONNECTING:
            return False
        patience_ms = self.policy.connect_s * 1000 - JUST_BEFORE_MS if record.ask else SILENCE_MS
        return now_ms - record.opened_at_ms >= patience_ms

    def _settle(self, step: Step) -> None:
        """CLOSING ends by itself as soon as nothing is owed to anybody."""
        record = self.record
        if record is None or record.state is not CLOSING:
            return
        unread = bool(record.to_agent) and not record.leaving and Lane.DESK not in self.busy
        if unread:
            actions.return_unsent(self, None, step)
        # Without a session there is nothing to leave, once nothing is under way that could still bring one.
        leaving = record.leaving and (record.session is not None or Lane.DESK in self.busy)
        over = not (leaving or record.to_user or record.to_bot or record.to_agent)
        if over:
            record.state, record.leaving, record.ended_at_ms = record.end, False, step.now_ms
        if (unread or over) and not step.flight:
            # Nothing happened but a crash, or a lane that became free: it has to be written down all the same.
            step.flight.append(FlightEntry(at_ms=step.now_ms, event="Settled", before=CLOSING, after=record.state))

    def _owe(self, step: Step) -> None:
        if self.record is None:
            return
        commands = {LANES[type(command)]: command for command in owed.commands(self.record, again=self.resumed)}
        step.cancel_poll = Lane.POLL in self.busy and Lane.POLL not in commands
        step.commands += [command for lane, command in commands.items() if lane not in self.busy]
        if step.cancel_poll:
            self.busy.discard(Lane.POLL)
        self.busy.update(commands)
        self.resumed = False
