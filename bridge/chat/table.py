"""The chat's table: states × events → next state and actions, as data. It names no desk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from bridge.chat import actions
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
        on(SessionPolled, state, actions.note_polled),
        on(SessionStepped, state, actions.note_stepped),
        on(SessionBroke, state, actions.note_broken),
        on(TextFound, state, actions.remove_found),
        on(DeliveredToUser, state, actions.remove_delivered_to_user),
        on(UndeliverableToUser, state, actions.dead_letter_to_user),
        on(DeliveredToAgent, state, actions.remove_delivered_to_agent),
        on(UndeliverableToAgent, state, actions.dead_letter_to_agent),
        on(FileAttached, state, actions.announce_file),
        on(FileRejected, state, actions.reject_file),
        on(AgentTyped, state, actions.note_typing),
        on(AgentWrote, state, actions.say_agent_text),
        on(FileRequested, state, actions.say_file),
        on(AgentUnreadable, state, actions.say_unreadable),
    )


def _unserved(event: type[Ending]) -> AnyCell:
    """An ending from our side: the desk is left, the bot is told."""
    return on(event, CLOSING, actions.refuse_connect, actions.return_unsent, actions.leave, actions.end_unserved)


_ENDINGS = _row(
    on(ChatEnded, CLOSING, actions.return_unsent, actions.end_as_told),
    on(ChatRefused, CLOSING, actions.refuse_connect, actions.return_unsent, actions.end_unserved),
    on(SessionExpired, CLOSING, actions.refuse_connect, actions.return_unsent, actions.end_unserved),
    on(
        DeskUnreachable,
        CLOSING,
        actions.refuse_connect,
        actions.return_unsent,
        actions.stop_polling,
        actions.leave,
        actions.end_unserved,
    ),
    _unserved(ChatQuarantined),
)

TABLE: dict[ChatState, Row] = {
    NEW: _row(
        on(ConnectRequested, CONNECTING, actions.begin),
        on(UserMessageReceived, NEW, actions.keep_as_context),
        on(LeaveRequested, NEW, actions.keep_as_context),
        on(FinishRequested, NEW, actions.answer_absent),
    ),
    CONNECTING: _results(CONNECTING)
    | _ENDINGS
    | _row(
        on(ConnectRequested, CONNECTING, actions.join),
        on(UserMessageReceived, CONNECTING, actions.owe_agent_message),
        on(
            LeaveRequested,
            CLOSING,
            actions.refuse_withdrawn,
            actions.return_unsent,
            actions.keep_as_context,
            actions.leave,
        ),
        on(
            FinishRequested,
            CLOSING,
            actions.refuse_withdrawn,
            actions.return_unsent,
            actions.leave,
            actions.end_finished,
        ),
        on(ContactReady, CONNECTING, actions.note_contact),
        on(ContactBlocked, CLOSING, actions.note_contact, actions.return_unsent, actions.refuse_blocked),
        on(CaseOpened, CONNECTING, actions.note_case),
        on(SessionOpened, CONNECTING, actions.note_session),
        on(SessionStale, CONNECTING, actions.drop_session),
        on(ChatRequested, CONNECTING, actions.note_requested, actions.answer_connected),
        _unserved(ConnectOverdue),
        _unserved(ConnectRefused),
        on(ChatQueued, ON_HOLD, actions.note_queue, actions.hold),
        on(QueueMoved, CONNECTING, actions.note_queue),
        on(ChatEstablished, ACTIVE, actions.brief_agent),
    ),
    ON_HOLD: _results(ON_HOLD)
    | _ENDINGS
    | _row(
        on(ConnectRequested, ON_HOLD, actions.answer_exists),
        on(UserMessageReceived, ON_HOLD, actions.owe_agent_message),
        on(LeaveRequested, CLOSING, actions.return_unsent, actions.keep_as_context, actions.leave),
        on(FinishRequested, CLOSING, actions.return_unsent, actions.leave, actions.end_finished),
        on(WaitExpired, CLOSING, actions.return_unsent, actions.leave, actions.end_unserved),
        on(ChatQueued, ON_HOLD, actions.note_queue, actions.say_queue),
        on(QueueMoved, ON_HOLD, actions.note_queue, actions.say_queue),
        on(ChatEstablished, ACTIVE, actions.brief_agent),
    ),
    ACTIVE: _results(ACTIVE)
    | _ENDINGS
    | _row(
        on(ConnectRequested, ACTIVE, actions.answer_exists),
        on(UserMessageReceived, ACTIVE, actions.owe_agent_message),
        on(LeaveRequested, CLOSING, actions.keep_as_context, actions.leave),
        on(FinishRequested, CLOSING, actions.leave, actions.end_finished),
        on(AgentLeft, ACTIVE, actions.say_agent_left),
        on(TransferBegan, ACTIVE, actions.say_transfer_began),
        on(ChatTransferred, ACTIVE, actions.note_agent, actions.say_transferred),
        on(ChatEstablished, ACTIVE, actions.note_agent),
    ),
    CLOSING: _results(CLOSING)
    | _row(
        on(ConnectRequested, CLOSING, actions.answer_exists),
        on(UserMessageReceived, CLOSING, actions.keep_as_context),
        on(LeaveRequested, CLOSING, actions.keep_as_context),
        on(FinishRequested, CLOSING, actions.answer_finished),
        on(CaseOpened, CLOSING, actions.note_case),
        on(ChatRequested, CLOSING, actions.note_requested),
        on(ChatEnded, CLOSING, actions.return_unsent, actions.note_over),
        on(ChatRefused, CLOSING, actions.return_unsent, actions.note_over),
        on(SessionExpired, CLOSING, actions.return_unsent, actions.note_over),
        on(DeskUnreachable, CLOSING, actions.stop_polling),
        on(ChatQuarantined, CLOSING, actions.give_up_chat),
        on(DeskLeft, CLOSING, actions.return_unsent, actions.note_left),
        on(DeskSilent, CLOSING, actions.note_over),
        on(BotTold, CLOSING, actions.note_bot_told),
        on(BotUntold, CLOSING, actions.note_bot_untold),
    ),
    ChatState.CLOSED: {},
    ChatState.FAILED: {},
}
