"""What follows a failure, command by command."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bridge.chat.policy import ANSWER_MARGIN_S
from bridge.chat.retries import (
    LAST_WORDS_S,
    SESSION_FRESH_MS,
    UNREADABLE_TRIES,
    Attempt,
    RetryDecision,
    after_failure,
    first_attempt,
)
from bridge.codecs.liveagent.session import LiveAgentSession, written
from bridge.commands import (
    TERMS,
    AttachFile,
    Command,
    EnsureContact,
    LeaveDesk,
    OpenCase,
    OpenSession,
    Poll,
    RepairSession,
    RequestChat,
    SendToAgent,
    SendToUser,
    TellBot,
)
from bridge.errors import BridgeError, DeskError, RemoteError, RemoteGarbled, RemoteRefused, RemoteUnavailable
from bridge.events import (
    AgentUnreadable,
    BotUntold,
    ConnectRefused,
    DeskLeft,
    DeskUnreachable,
    Event,
    FileRejected,
    SessionBroke,
    SessionExpired,
    SessionPolled,
    SessionStale,
    SessionStepped,
    UndeliverableToAgent,
    UndeliverableToUser,
)
from bridge.messages import ConnectRequest
from bridge.records import ChatRecord, ChatState, Delivery

from chat_stage import policy  # isort: skip

REQUEST = ConnectRequest(user_id="1", bot_slug="b", bot_id="1", name="A", provider="whatsapp", email="a@b.c")
SESSION = written(LiveAgentSession(session_id="s", key="k", affinity="a", opened_at_ms=0, sequence=4))
DELIVERY = Delivery(id="d", text="t", owed_since_ms=0)

REQUEST_CHAT = RequestChat(REQUEST, SESSION, "c", "k")
SEND, POLL, LEAVE = SendToAgent(SESSION, DELIVERY), Poll(SESSION), LeaveDesk(SESSION)
REPAIR = RepairSession(SESSION.broke())
COMMANDS: list[Command] = [
    EnsureContact(REQUEST),
    OpenCase(REQUEST, "c", 0),
    OpenSession(),
    REQUEST_CHAT,
    POLL,
    SEND,
    AttachFile("k", "s", DELIVERY),
    REPAIR,
    LEAVE,
    SendToUser(REQUEST, DELIVERY),
    TellBot(REQUEST, "success", 0),
]
CONNECTING = COMMANDS[:4]
DOWN, NO = RemoteUnavailable("down", status=500), RemoteRefused("no", status=400)
LOST = DeskError("gone", verdict="gone", status=403)
BROKEN = DeskError("503", verdict="broken", status=503)
BUSY = DeskError("409", verdict="busy", status=409)
MENDED = msgspec.Raw(b'{"mended":1}')


def with_half(error: RemoteError, half: msgspec.Raw = MENDED) -> RemoteError:
    """The error with a sending half from which the session can go on."""
    error.sending = half
    return error


MOVED = with_half(DeskError("409", verdict="moved", status=409))


def follows(
    command: Command, error: BridgeError, *, tries: int = 1, spent_s: float = 0.0, **choices: Any
) -> RetryDecision:
    return after_failure(Attempt(command, 0, tries), error, policy(**choices), now_ms=int(spent_s * 1000))


def name(value: object) -> str:
    return type(value).__name__


def test_every_command_is_asked_about_here() -> None:
    assert {type(command) for command in COMMANDS} == set(TERMS)


@pytest.mark.parametrize("command", COMMANDS, ids=name)
@pytest.mark.parametrize("error", [DOWN, RemoteGarbled("?")], ids=name)
def test_whatever_met_a_neighbour_that_is_down_is_tried_again(command: Command, error: BridgeError) -> None:
    verdict = follows(command, error)
    assert verdict.events == ()
    assert verdict.again_in_s is not None
    assert 0 <= verdict.again_in_s <= 1


def test_tries_come_ever_more_slowly_up_to_half_a_minute() -> None:
    pauses = [max(follows(SEND, DOWN, tries=tries).again_in_s or 0 for _ in range(200)) for tries in (1, 3, 9)]
    assert pauses == sorted(pauses)
    assert 20 < pauses[-1] <= 30


@pytest.mark.parametrize("command", COMMANDS, ids=name)
def test_a_remote_that_names_a_time_is_left_alone_until_then(command: Command) -> None:
    assert follows(command, RemoteUnavailable("busy", status=429, retry_after_s=4.0)).again_in_s == 4.0


@pytest.mark.parametrize("command", [POLL, REPAIR], ids=name)
@pytest.mark.parametrize("asked_s", [46.0, 120.0, 300.0])
def test_no_retry_after_lets_a_session_expire(command: Command, asked_s: float) -> None:
    busy = RemoteUnavailable("busy", status=502, retry_after_s=asked_s)
    assert follows(command, busy) == RetryDecision(5.0)
    assert follows(command, busy, tries=9, spent_s=100.0) == RetryDecision(5.0)


@pytest.mark.parametrize("command", CONNECTING, ids=name)
def test_a_time_that_lies_after_the_callers_patience_is_a_refusal_now(command: Command) -> None:
    busy = RemoteUnavailable("busy", status=429, retry_after_s=120.0)
    assert follows(command, busy) == RetryDecision(None, (ConnectRefused("busy", "unavailable"),))


LIMITS = [("connect_s", command) for command in CONNECTING] + [
    ("session_s", POLL),
    ("session_s", REPAIR),
    ("delivery_s", SEND),
    ("file_s", COMMANDS[6]),
    ("leave_s", LEAVE),
    ("delivery_s", COMMANDS[9]),
    ("delivery_s", COMMANDS[10]),
]


@pytest.mark.parametrize(("limit", "command"), LIMITS, ids=name)
def test_trying_ends_with_the_patience_that_is_meant_for_it(limit: str, command: Command) -> None:
    assert follows(command, DOWN, tries=9, spent_s=968.0, **{limit: 1000.0}).again_in_s is not None
    ended = follows(command, DOWN, tries=9, spent_s=1000.0, **{limit: 1000.0})
    assert ended.again_in_s is None
    assert ended.events


ENDS: list[tuple[Command, tuple[Event, ...]]] = [
    *((command, (ConnectRefused("no"),)) for command in CONNECTING),
    (POLL, (DeskUnreachable("no"),)),
    (REPAIR, (DeskUnreachable("no"),)),
    (SEND, (UndeliverableToAgent("d", "no"),)),
    (COMMANDS[6], (FileRejected("d", "no"),)),
    (LEAVE, (DeskLeft(),)),
]


@pytest.mark.parametrize(("command", "events"), ENDS, ids=name)
def test_what_was_refused_is_not_tried_again(command: Command, events: tuple[Event, ...]) -> None:
    assert follows(command, NO) == RetryDecision(None, events)


@pytest.mark.parametrize(
    ("command", "end"),
    [(COMMANDS[9], UndeliverableToUser("d", "no")), (COMMANDS[10], BotUntold("no"))],
    ids=name,
)
def test_what_the_channel_or_the_bot_refused_is_tried_as_often_as_the_operator_says(
    command: Command, end: Event
) -> None:
    assert follows(command, NO, tries=2, retries=2).again_in_s is not None
    assert follows(command, NO, tries=1, retries=0) == RetryDecision(None, (end,))
    (event,) = follows(command, NO, tries=3, retries=2).events
    assert isinstance(event, type(end))


def test_what_is_given_up_says_how_often_it_was_tried() -> None:
    (event,) = follows(COMMANDS[9], DOWN, tries=7, spent_s=10_000).events
    assert event == UndeliverableToUser("d", "down", attempts=7)


def test_after_a_text_that_is_given_up_the_session_goes_on_from_the_half_that_the_desk_names() -> None:
    """Another text under the same number might be dropped as a repeat."""
    down = with_half(RemoteUnavailable("down"))
    assert follows(SEND, down, spent_s=10_000).events == (SessionStepped(MENDED), UndeliverableToAgent("d", "down"))


# --- the session ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [POLL, REPAIR], ids=name)
def test_a_lost_session_is_lost_for_good(command: Command) -> None:
    assert follows(command, LOST) == RetryDecision(None, (SessionExpired("gone"),))


def test_a_text_that_meets_a_lost_session_lets_the_poll_say_how_the_chat_ended() -> None:
    assert follows(SEND, LOST).events == ()
    assert follows(SEND, LOST, spent_s=LAST_WORDS_S) == RetryDecision(None, (SessionExpired("gone"),))


@pytest.mark.parametrize("error", [LOST, MOVED], ids=str)
def test_a_session_that_is_gone_when_we_leave_has_been_left(error: BridgeError) -> None:
    assert follows(LEAVE, error) == RetryDecision(None, (DeskLeft(),))


def test_a_session_that_breaks_as_we_leave_is_repaired_first_and_given_up_when_it_could_not_be() -> None:
    assert follows(LEAVE, BROKEN) == RetryDecision(None, (SessionBroke("503"),))
    assert follows(LeaveDesk(SESSION.broke()), BROKEN) == RetryDecision(None, (DeskLeft(),))


@pytest.mark.parametrize("command", [POLL, SEND, REPAIR], ids=name)
def test_a_session_that_moved_is_said_to_be_broken_at_once(command: Command) -> None:
    assert follows(command, BROKEN) == RetryDecision(None, (SessionBroke("503"),))


def test_a_post_out_of_step_takes_the_half_that_the_desk_names() -> None:
    assert follows(SEND, MOVED) == RetryDecision(None, (SessionStepped(MENDED),))


def test_a_batch_that_cannot_be_read_is_passed_over_after_some_tries_and_told() -> None:
    error = RemoteGarbled("?")
    assert follows(POLL, error, tries=UNREADABLE_TRIES).again_in_s is not None
    error.receiving = MENDED
    assert follows(POLL, error, tries=UNREADABLE_TRIES - 1).again_in_s is not None
    passed = RetryDecision(None, (SessionPolled(MENDED), AgentUnreadable()))
    assert follows(POLL, error, tries=UNREADABLE_TRIES) == passed


def test_an_overlapping_poll_is_waited_out() -> None:
    assert follows(POLL, BUSY, overlap_pause_s=3.0) == RetryDecision(3.0)
    assert follows(POLL, BUSY, spent_s=118.0, session_s=120.0) == RetryDecision(None, (DeskUnreachable("409"),))


# --- before there is a chat -----------------------------------------------------------------------------------------


def test_a_session_that_lay_too_long_is_replaced() -> None:
    assert follows(REQUEST_CHAT, LOST, spent_s=SESSION_FRESH_MS / 1000 + 1) == RetryDecision(
        None, (SessionStale("gone"),)
    )


def test_a_fresh_session_that_is_refused_is_a_refusal() -> None:
    assert follows(REQUEST_CHAT, LOST) == RetryDecision(None, (ConnectRefused("gone"),))


@pytest.mark.parametrize("error", [BROKEN, MOVED], ids=str)
def test_before_there_is_a_chat_nothing_is_repaired(error: BridgeError) -> None:
    """A 503 then means a wrong host, or one that is down (liveagent.md, "Wrong or moved host")."""
    assert follows(REQUEST_CHAT, error).events == ()
    assert follows(REQUEST_CHAT, error, spent_s=60) == RetryDecision(None, (ConnectRefused(str(error), "unavailable"),))


@pytest.mark.parametrize("command", COMMANDS, ids=name)
@pytest.mark.parametrize("error", [DOWN, NO, LOST, BROKEN, MOVED, BUSY], ids=str)
def test_nothing_is_tried_for_ever(command: Command, error: BridgeError) -> None:
    verdict = follows(command, error, tries=1000, spent_s=100_000)
    assert verdict.again_in_s is None
    assert verdict.events


# --- how long -------------------------------------------------------------------------------------------------------


def test_a_case_whose_try_may_have_gone_through_is_looked_for() -> None:
    command = OpenCase(REQUEST, "c", 5, chat_id="chat")
    attempt = Attempt(command, 0).failed()
    assert (attempt.tries, attempt.command) == (1, OpenCase(REQUEST, "c", 5, again=True, chat_id="chat"))
    assert Attempt(SEND, 7).failed() == Attempt(SEND, 7, 1)


SINCE: list[tuple[Command, int]] = [
    *((command, 20) for command in CONNECTING),
    (COMMANDS[9], 30),
    *((command, 40) for command in COMMANDS[4:9]),
    (COMMANDS[10], 40),
]


@pytest.mark.parametrize(("command", "since_ms"), SINCE, ids=name)
def test_a_time_limit_counts_from_the_opening_of_the_chat_or_the_debt_or_now(command: Command, since_ms: int) -> None:
    record = ChatRecord(chat_id="c", request=REQUEST, state=ChatState.ACTIVE, opened_at_ms=20)
    if isinstance(command, SendToUser):
        command = SendToUser(REQUEST, msgspec.structs.replace(DELIVERY, owed_since_ms=30))
    assert first_attempt(command, record, now_ms=40) == Attempt(command, since_ms)


def test_the_chat_gives_up_before_its_caller_does() -> None:
    limit_s = 10.0 - ANSWER_MARGIN_S
    assert follows(CONNECTING[0], DOWN, tries=0, spent_s=limit_s - 1, connect_s=10.0).again_in_s is not None
    assert follows(CONNECTING[0], DOWN, tries=0, spent_s=limit_s, connect_s=10.0).again_in_s is None
