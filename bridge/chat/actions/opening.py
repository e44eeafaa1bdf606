"""Actions while a chat is opened: its request, its session, and the answer to whoever asked for it."""

from __future__ import annotations

from bridge.chat.step import Step
from bridge.commands import Lane
from bridge.events import (
    CaseOpened,
    ChatRequested,
    ContactBlocked,
    ContactReady,
    Ending,
    Event,
    SessionOpened,
    SessionPolled,
    SessionStepped,
)
from bridge.messages import (
    Answer,
    AnswerCode,
    Ask,
    ConnectRequested,
    FinishRequested,
)
from bridge.records import ChatRecord, ChatState

MOST_JOINED = 8
BREAKS_WINDOW_MS = 600_000
NOT_CREATED = "could not create chat in salesforce"


def begin(step: Step, event: ConnectRequested) -> None:
    """Writes the request down before any remote is asked for anything.

    A chat that is over at the desk may still owe texts to the user: the new chat takes them over. The state that it
    owes to the bot is dropped: the bot has moved on, because it asks for a chat.
    """
    before = step.stored
    step.stored = ChatRecord(
        chat_id=step.new_id(),
        request=event.request,
        state=ChatState.CONNECTING,
        opened_at_ms=(event.ask.asked_at_ms if event.ask else 0) or step.now_ms,
        ask=event.ask,
        to_user=before.to_user if before else [],
    )
    step.cancel_bot = Lane.BOT in step.busy


def join(step: Step, event: ConnectRequested) -> None:
    """The same request again while the chat is being opened gets the answer of the first one."""
    record = step.record
    if event.request != record.request or len(record.joined) >= MOST_JOINED:
        answer_exists(step, event)
    elif record.requested:
        _answer(step, event.ask, Answer("ok"))
    elif event.ask is not None:
        record.joined = [*record.joined, event.ask]


def note_contact(step: Step, event: ContactReady | ContactBlocked) -> None:
    step.record.contact_id = event.contact_id


def note_case(step: Step, event: CaseOpened) -> None:
    step.record.case_id = event.case_id


def note_session(step: Step, event: SessionOpened | ChatRequested) -> None:
    step.record.session = event.session


def note_requested(step: Step, event: ChatRequested) -> None:
    step.record.session = event.session
    step.record.requested = True


# --- the session -----------------------------------------------------------------------------------------------------


def drop_session(step: Step, event: Event) -> None:
    """A session that expired before an agent was asked for is replaced while the caller still waits."""
    step.record.session = None


def note_polled(step: Step, event: SessionPolled) -> None:
    if step.record.session is not None:
        step.record.session = step.record.session.received(event.receiving, event.turn)


def note_stepped(step: Step, event: SessionStepped) -> None:
    if step.record.session is not None:
        step.record.session = step.record.session.sent(event.sending, event.turn)


def note_broken(step: Step, event: Event) -> None:
    """Counts the breaks of the last minutes: the more there were, the longer the next repair waits."""
    record = step.record
    if record.session is not None:
        record.session = record.session.broke()
        recent = [broke_ms for broke_ms in record.broke_ms if broke_ms > step.now_ms - BREAKS_WINDOW_MS]
        record.broke_ms = [*recent, step.now_ms]


# --- answering the caller --------------------------------------------------------------------------------------------


def answer_connect(step: Step, code: AnswerCode, sentence: str = "") -> None:
    record = step.record
    asks = [*([record.ask] if record.ask else []), *record.joined]
    step.answers += [(ask, Answer(code, sentence)) for ask in asks]
    record.ask, record.joined = None, []


def answer_connected(step: Step, event: Event) -> None:
    answer_connect(step, "ok")


def refuse_connect(step: Step, event: Ending) -> None:
    """Tells a caller who still waits why there will be no chat."""
    answer_connect(step, event.code, f"{NOT_CREATED} : {event.reason}")


def refuse_withdrawn(step: Step, event: Event) -> None:
    """Tells a caller who still waits that the user or the API ended the chat meanwhile."""
    answer_connect(step, "refused", f"{NOT_CREATED} : the chat was ended before it began")


def answer_exists(step: Step, event: ConnectRequested) -> None:
    _answer(step, event.ask, Answer("exists", f"session exists with userID : {event.user_id}"))


def answer_absent(step: Step, event: FinishRequested) -> None:
    _answer(step, event.ask, Answer("absent", f"session does not exist with userID : {event.user_id}"))


def answer_finished(step: Step, event: FinishRequested) -> None:
    _answer(step, event.ask, Answer("ok"))


def _answer(step: Step, ask: Ask | None, answer: Answer) -> None:
    if ask is not None:
        step.answers.append((ask, answer))
