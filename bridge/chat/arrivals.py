"""Which entries of the inbox may be carried out in the chat that is open now; the others are set aside."""

from __future__ import annotations

from bridge.chat.actions.deliveries import keep_as_context
from bridge.chat.policy import ChatPolicy
from bridge.chat.step import Step
from bridge.messages import (
    Answer,
    ConnectRequested,
    FinishRequested,
    InboxEvent,
    LeaveRequested,
    UserMessageReceived,
)
from bridge.records import ChatRecord


def set_aside(
    event: InboxEvent, chat_id: str, record: ChatRecord | None, *, policy: ChatPolicy, now_ms: int
) -> Step | None:
    """The step that an entry leads to instead of an event of the chat; None where the chat may have the event.

    `chat_id` is the chat that was open when the entry was posted. What was posted in a chat that is over is never
    carried out in the next one: a message becomes context, a question is answered that there is no such chat. A
    question that is older than the timeout of its caller is answered and not carried out.
    """
    step = Step(now_ms=now_ms, policy=policy, stored=record, busy=(), new_id=str)
    if _is_late(event, now_ms, policy.connect_s):
        return _answered(step, event, Answer("unavailable", "no answer in time"))
    if record is None or not chat_id or chat_id == record.chat_id:
        return None
    match event:
        case UserMessageReceived() | LeaveRequested():
            keep_as_context(step, event)
            return step
        case FinishRequested(user_id):
            return _answered(step, event, Answer("absent", f"session does not exist with userID : {user_id}"))
        case _:
            return None


def _is_late(event: InboxEvent, now_ms: int, timeout_s: float) -> bool:
    if not isinstance(event, ConnectRequested | FinishRequested) or event.ask is None or not event.ask.asked_at_ms:
        return False
    return now_ms - event.ask.asked_at_ms > timeout_s * 1000


def _answered(step: Step, event: InboxEvent, answer: Answer) -> Step:
    if isinstance(event, ConnectRequested | FinishRequested) and event.ask is not None:
        step.answers.append((event.ask, answer))
    return step
