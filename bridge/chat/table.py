"""The chat's table: states × events → next state and actions, as data. It names no desk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from bridge.chat.actions import deliveries, ending, opening, talking
from bridge.chat.step import Step
from bridge.events import (
    AgentLeft,
    AgentTyped,
    AgentUnreadable,
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
    DeskSilent,
    DeskUnreachable,
    Ending,
    Event,
    FileAttached,
    FileRejected,
    FileRequested,
    QueueMoved,
    SessionBroke,
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
from bridge.messages import ConnectRequested, FinishRequested, LeaveRequested, UserMessageReceived
from bridge.records import ChatState

NEW, CONNECTING, ON_HOLD = ChatState.NEW, ChatState.CONNECTING, ChatState.ON_HOLD
ACTIVE, CLOSING = ChatState.ACTIVE, ChatState.CLOSING

E = TypeVar("E", bound=Event)


class Cell(Generic[E]):
    """What an event does in a state: the next state, and the actions that change the record on the way."""

    __slots__ = ("actions", "event", "state")

    def __init__(self, event: type[E], state: ChatState, *does: Callable[[Step, E], None]) -> None:
        self.event = event
        self.state = state
        self.actions = does

    def act(self, step: Step, event: Event) -> None:
        """Does the actions, in order."""
        assert isinstance(event, self.event)
        for act in self.actions:
            act(step, event)


class AnyCell(Protocol):
    """A cell, whatever its event."""

    @property
    def event(self) -> type[Event]: ...

    @property
    def state(self) -> ChatState: ...

    @property
    def actions(self) -> tuple[Callable[..., None], ...]: ...

    def act(self, step: Step, event: Event) -> None: ...


Row = dict[type[Event], AnyCell]


def on(event: type[E], state: ChatState, *does: Callable[[Step, E], None]) -> AnyCell:
    """A cell of the table."""
    return Cell(event, state, *does)


def _row(*cells: AnyCell) -> Row:
    return {cell.event: cell for cell in cells}


def _results(state: ChatState) -> Row:
    """Results of commands, and what the desk says of a chat that it holds: they mean the same in every state."""
    return _row(
        on(SessionPolled, state, opening.note_polled),
        on(SessionStepped, state, opening.note_stepped),
        on(SessionBroke, state, opening.note_broken),
        on(TextFound, state, deliveries.remove_found),
        on(DeliveredToUser, state, deliveries.remove_delivered_to_user),
        on(UndeliverableToUser, state, deliveries.dead_letter_to_user),
        on(DeliveredToAgent, state, deliveries.remove_delivered_to_agent),
        on(UndeliverableToAgent, state, deliveries.dead_letter_to_agent),
        on(FileAttached, state, deliveries.announce_file),
        on(FileRejected, state, deliveries.reject_file),
        on(AgentTyped, state, talking.note_typing),
        on(AgentWrote, state, talking.say_agent_text),
        on(FileRequested, state, talking.say_file),
        on(AgentUnreadable, state, talking.say_unreadable),
    )


def _unserved(event: type[Ending]) -> AnyCell:
    """An ending from our side: the desk is left, the bot is told."""
    return on(event, CLOSING, opening.refuse_connect, deliveries.return_unsent, ending.leave, ending.end_unserved)


_ENDINGS = _row(
    on(ChatEnded, CLOSING, deliveries.return_unsent, ending.end_as_told),
    on(ChatRefused, CLOSING, opening.refuse_connect, deliveries.return_unsent, ending.end_unserved),
    on(SessionExpired, CLOSING, opening.refuse_connect, deliveries.return_unsent, ending.end_unserved),
    on(
        DeskUnreachable,
        CLOSING,
        opening.refuse_connect,
        deliveries.return_unsent,
        ending.stop_polling,
        ending.leave,
        ending.end_unserved,
    ),
    _unserved(ChatQuarantined),
)

TABLE: dict[ChatState, Row] = {
    NEW: _row(
        on(ConnectRequested, CONNECTING, opening.begin),
        on(UserMessageReceived, NEW, deliveries.keep_as_context),
        on(LeaveRequested, NEW, deliveries.keep_as_context),
        on(FinishRequested, NEW, opening.answer_absent),
    ),
    CONNECTING: _results(CONNECTING)
    | _ENDINGS
    | _row(
        on(ConnectRequested, CONNECTING, opening.join),
        on(UserMessageReceived, CONNECTING, deliveries.owe_agent_message),
        on(
            LeaveRequested,
            CLOSING,
            opening.refuse_withdrawn,
            deliveries.return_unsent,
            deliveries.keep_as_context,
            ending.leave,
        ),
        on(
            FinishRequested,
            CLOSING,
            opening.refuse_withdrawn,
            deliveries.return_unsent,
            ending.leave,
            ending.end_finished,
        ),
        on(ContactReady, CONNECTING, opening.note_contact),
        on(ContactBlocked, CLOSING, opening.note_contact, deliveries.return_unsent, ending.refuse_blocked),
        on(CaseOpened, CONNECTING, opening.note_case),
        on(SessionOpened, CONNECTING, opening.note_session),
        on(SessionStale, CONNECTING, opening.drop_session),
        on(ChatRequested, CONNECTING, opening.note_requested, opening.answer_connected),
        _unserved(ConnectOverdue),
        _unserved(ConnectRefused),
        on(ChatQueued, ON_HOLD, talking.note_queue, talking.hold),
        on(QueueMoved, CONNECTING, talking.note_queue),
        on(ChatEstablished, ACTIVE, talking.brief_agent),
    ),
    ON_HOLD: _results(ON_HOLD)
    | _ENDINGS
    | _row(
        on(ConnectRequested, ON_HOLD, opening.answer_exists),
        on(UserMessageReceived, ON_HOLD, deliveries.owe_agent_message),
        on(LeaveRequested, CLOSING, deliveries.return_unsent, deliveries.keep_as_context, ending.leave),
        on(FinishRequested, CLOSING, deliveries.return_unsent, ending.leave, ending.end_finished),
        on(WaitExpired, CLOSING, deliveries.return_unsent, ending.leave, ending.end_unserved),
        on(ChatQueued, ON_HOLD, talking.note_queue, talking.say_queue),
        on(QueueMoved, ON_HOLD, talking.note_queue, talking.say_queue),
        on(ChatEstablished, ACTIVE, talking.brief_agent),
    ),
    ACTIVE: _results(ACTIVE)
    | _ENDINGS
    | _row(
        on(ConnectRequested, ACTIVE, opening.answer_exists),
        on(UserMessageReceived, ACTIVE, deliveries.owe_agent_message),
        on(LeaveRequested, CLOSING, deliveries.keep_as_context, ending.leave),
        on(FinishRequested, CLOSING, ending.leave, ending.end_finished),
        on(AgentLeft, ACTIVE, talking.say_agent_left),
        on(TransferBegan, ACTIVE, talking.say_transfer_began),
        on(ChatTransferred, ACTIVE, talking.note_agent, talking.say_transferred),
        on(ChatEstablished, ACTIVE, talking.note_agent),
    ),
    CLOSING: _results(CLOSING)
    | _row(
        on(ConnectRequested, CLOSING, opening.answer_exists),
        on(UserMessageReceived, CLOSING, deliveries.keep_as_context),
        on(LeaveRequested, CLOSING, deliveries.keep_as_context),
        on(FinishRequested, CLOSING, opening.answer_finished),
        on(CaseOpened, CLOSING, opening.note_case),
        on(ChatRequested, CLOSING, opening.note_requested),
        on(ChatEnded, CLOSING, deliveries.return_unsent, ending.note_over),
        on(ChatRefused, CLOSING, deliveries.return_unsent, ending.note_over),
        on(SessionExpired, CLOSING, deliveries.return_unsent, ending.note_over),
        on(DeskUnreachable, CLOSING, ending.stop_polling),
        on(ChatQuarantined, CLOSING, ending.give_up_chat),
        on(DeskLeft, CLOSING, deliveries.return_unsent, ending.note_left),
        on(DeskSilent, CLOSING, ending.note_over),
        on(BotTold, CLOSING, ending.note_bot_told),
        on(BotUntold, CLOSING, ending.note_bot_untold),
    ),
    ChatState.CLOSED: {},
    ChatState.FAILED: {},
}
