"""Actions that end a chat: leaving the desk, the reason on record, and the state that is owed to the bot."""

from __future__ import annotations

from bridge.chat.actions.deliveries import dead_letter
from bridge.chat.actions.opening import NOT_CREATED, answer_connect, answer_finished, refuse_connect
from bridge.chat.step import Step
from bridge.events import (
    BotUntold,
    ChatEnded,
    ChatQuarantined,
    DeliveryFailed,
    Ending,
    Event,
)
from bridge.messages import (
    BotState,
    FinishRequested,
)
from bridge.records import ChatState, OwedBotState


def refuse_blocked(step: Step, event: Event) -> None:
    answer_connect(step, "blocked", f"{NOT_CREATED}: this contact is blocked")
    _end(step, bot_state="blocked", reason="this contact is blocked")


# --- ending ----------------------------------------------------------------------------------------------------------


def leave(step: Step, event: Event) -> None:
    """Notes that the chat is still to be ended at the desk. It tells the bot nothing."""
    step.record.leaving = True
    step.record.reason = type(event).__name__


def give_up_chat(step: Step, event: ChatQuarantined) -> None:
    """Ends a chat that cannot be ended in order: what is owed to a side becomes dead letters; only the bot is told."""
    record = step.record
    for direction, owed in (("to_agent", record.to_agent), ("to_user", record.to_user)):
        for delivery in owed:
            dead_letter(step, delivery, direction, DeliveryFailed(delivery.id, event.reason))
        owed.clear()
    record.leaving = False


def stop_polling(step: Step, event: Event) -> None:
    """The desk is not polled for this chat any more, whatever is still owed to it."""
    step.record.listening = False


def end_finished(step: Step, event: FinishRequested) -> None:
    answer_finished(step, event)
    _end(step, bot_state="success", reason="finished by the API")


def end_as_told(step: Step, event: ChatEnded) -> None:
    if event.served:
        _end(step, bot_state="success", reason=f"ChatEnded: {event.reason}")
    else:
        refuse_connect(step, event)
        _end(step, bot_state="timeout", reason=f"ChatEnded: {event.reason}")


def end_unserved(step: Step, event: Ending) -> None:
    _end(step, bot_state="timeout", reason=f"{type(event).__name__}: {event.reason}")


def _end(step: Step, *, bot_state: BotState, reason: str) -> None:
    record = step.record
    record.reason = reason
    record.end = ChatState.CLOSED if bot_state == "success" else ChatState.FAILED
    record.to_bot = OwedBotState(
        state=bot_state, due_at_ms=step.now_ms + int(step.policy.bot_delay_s[bot_state] * 1000)
    )


def note_left(step: Step, event: Event) -> None:
    """The desk ended the chat at our request. What the agent wrote before that is still to be polled."""
    record = step.record
    if record.session is not None and record.requested and record.listening:
        record.left_at_ms = record.left_at_ms or step.now_ms
    else:
        record.leaving = False


def note_over(step: Step, event: Event) -> None:
    """The desk has ended the chat and has nothing more for us."""
    step.record.leaving = False


def note_bot_told(step: Step, event: Event) -> None:
    step.record.to_bot = None


def note_bot_untold(step: Step, event: BotUntold) -> None:
    """The bot cannot be told: that goes on record, and the chat does not wait any longer."""
    record = step.record
    record.to_bot = None
    record.end = ChatState.FAILED
    record.reason = f"{record.reason}; the bot was not told: {event.reason}"
