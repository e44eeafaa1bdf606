"""What follows a failure, command by command."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bridge.chat.retries import LAST_WORDS_S, MOST_REPAIRS, SESSION_FRESH_MS, RetryDecision, TimeLimits, after_failure
from bridge.commands import (
    LANES,
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
from bridge.desk import LiveAgentSession
from bridge.errors import (
    BridgeError,
    OutOfStep,
    PollOverlapped,
    RemoteGarbled,
    RemoteRefused,
    RemoteUnavailable,
    SessionBroken,
    SessionLost,
)
from bridge.events import (
    BotUntold,
    ConnectRefused,
    DeskLeft,
    DeskUnreachable,
    Event,
    FileRejected,
    SessionExpired,
    SessionStale,
    SessionStepped,
    UndeliverableToAgent,
    UndeliverableToUser,
)
from bridge.messages import ConnectRequest
from bridge.records import Delivery

REQUEST = ConnectRequest(user_id="1", bot_slug="b", bot_id="1", name="A", provider="whatsapp", email="a@b.c")
SESSION = LiveAgentSession(session_id="s", key="k", affinity="a", opened_at_ms=0, sequence=4)
DELIVERY = Delivery(id="d", text="t", owed_since_ms=0)
PATIENCE = TimeLimits()

REQUEST_CHAT = RequestChat(REQUEST, SESSION, "c", "k")
SEND, LISTEN, LEAVE = SendToAgent(SESSION, DELIVERY), Poll(SESSION), LeaveDesk(SESSION)
REPAIR = RepairSession(SESSION.broke())
COMMANDS: list[Command] = [
    EnsureContact(REQUEST),
    OpenCase(REQUEST, "c", 0),
    OpenSession(),
    REQUEST_CHAT,
    LISTEN,
    SEND,
    AttachFile("k", "s", DELIVERY),
    REPAIR,
    LEAVE,
    SendToUser(REQUEST, DELIVERY),
    TellBot(REQUEST, "success", 0),
]
CONNECTING = COMMANDS[:4]
DOWN, NO = RemoteUnavailable("down", status=500), RemoteRefused("no", status=400)
LOST, BROKEN = SessionLost("gone", status=403), SessionBroken("moved", status=503)


class Attempt:
    def __init__(self, command: Command, tries: int) -> None:
        self.command, self.tries, self.since_ms = command, tries, 0


def follows(
    command: Command, error: BridgeError, *, tries: int = 1, spent_s: float = 0.0, **time_limits: Any
) -> RetryDecision:
    return after_failure(Attempt(command, tries), error, TimeLimits(**time_limits), now_ms=int(spent_s * 1000))


def name(value: object) -> str:
    return type(value).__name__


def test_every_command_is_asked_about_here() -> None:
    assert {type(command) for command in COMMANDS} == set(LANES)


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
def test_a_neighbour_that_names_a_time_is_left_alone_until_then(command: Command) -> None:
    assert follows(command, RemoteUnavailable("busy", status=429, retry_after_s=8.0)).again_in_s == 8.0


@pytest.mark.parametrize("command", CONNECTING, ids=name)
def test_a_time_that_lies_after_the_callers_patience_is_a_refusal_now(command: Command) -> None:
    busy = RemoteUnavailable("busy", status=429, retry_after_s=120.0)
    assert follows(command, busy) == RetryDecision(None, (ConnectRefused("unavailable", "busy"),))


LIMITS = [("connect_s", command) for command in CONNECTING] + [
    ("session_s", LISTEN),
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
    *((command, (ConnectRefused("refused", "no"),)) for command in CONNECTING),
    (LISTEN, (DeskUnreachable("no"),)),
    (REPAIR, (DeskUnreachable("no"),)),
    (SEND, (SessionStepped(SESSION.stepped(5)), UndeliverableToAgent("d", "no"))),
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


def test_a_text_that_is_given_up_takes_its_number_with_it() -> None:
    """Another text under the same number might be dropped as a repeat."""
    ended = follows(SEND, DOWN, spent_s=10_000)
    assert ended.events == (SessionStepped(SESSION.stepped(5)), UndeliverableToAgent("d", "down"))


# --- the session ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [LISTEN, REPAIR], ids=name)
def test_a_lost_session_is_lost_for_good(command: Command) -> None:
    assert follows(command, LOST) == RetryDecision(None, (SessionExpired("gone"),))


def test_a_text_that_meets_a_lost_session_lets_the_poll_say_how_the_chat_ended() -> None:
    assert follows(SEND, LOST).events == ()
    assert follows(SEND, LOST, spent_s=LAST_WORDS_S) == RetryDecision(None, (SessionExpired("gone"),))


@pytest.mark.parametrize("error", [LOST, OutOfStep("409", accepted=2)], ids=name)
def test_a_session_that_is_gone_when_we_leave_has_been_left(error: BridgeError) -> None:
    assert follows(LEAVE, error) == RetryDecision(None, (DeskLeft(),))


def test_a_session_that_breaks_as_we_leave_is_repaired_first_and_given_up_when_it_could_not_be() -> None:
    assert follows(LEAVE, BROKEN) == RetryDecision(None, (SessionStepped(SESSION.broke()),))
    assert follows(LeaveDesk(SESSION.broke()), BROKEN) == RetryDecision(None, (DeskLeft(),))


@pytest.mark.parametrize("command", [LISTEN, SEND], ids=name)
def test_a_session_that_moved_is_repaired_at_once(command: Command) -> None:
    assert follows(command, BROKEN) == RetryDecision(None, (SessionStepped(SESSION.broke()),))


def test_a_resync_that_finds_the_session_moved_again_begins_the_repair_anew() -> None:
    resync = RepairSession(msgspec.structs.replace(SESSION, repair="resync"))
    assert follows(resync, BROKEN) == RetryDecision(None, (SessionStepped(SESSION.broke()),))


@pytest.mark.parametrize("command", [LISTEN, SEND], ids=name)
def test_a_session_that_breaks_after_every_repair_is_repaired_ever_more_slowly_and_not_for_ever(
    command: Command,
) -> None:
    def broken(repairs: int, tries: int) -> RetryDecision:
        again = msgspec.structs.replace(SESSION, repairs=repairs)
        return follows(msgspec.structs.replace(command, session=again), BROKEN, tries=tries)

    assert broken(repairs=2, tries=2).again_in_s is not None
    assert isinstance(broken(repairs=2, tries=3).events[0], SessionStepped)
    assert broken(repairs=MOST_REPAIRS - 1, tries=4).again_in_s is not None
    assert isinstance(broken(repairs=MOST_REPAIRS - 1, tries=5).events[0], SessionStepped)
    assert broken(repairs=MOST_REPAIRS, tries=1).events == (DeskUnreachable("moved"),)


@pytest.mark.parametrize("accepted", [0, 3, 7])
def test_a_post_out_of_step_takes_the_number_that_the_desk_names(accepted: int) -> None:
    error = OutOfStep("409", accepted=accepted)
    assert follows(SEND, error) == RetryDecision(None, (SessionStepped(SESSION.stepped(accepted)),))


def test_a_post_whose_number_was_right_is_sent_again_as_it_is() -> None:
    verdict = follows(SEND, OutOfStep("409", accepted=SESSION.sequence))
    assert verdict.again_in_s is not None
    assert verdict.events == ()


def test_an_overlapping_poll_is_waited_out() -> None:
    overlap = PollOverlapped("409", status=409)
    assert follows(LISTEN, overlap, overlap_pause_s=3.0) == RetryDecision(3.0)
    assert follows(LISTEN, overlap, spent_s=118.0, session_s=120.0) == RetryDecision(None, (DeskUnreachable("409"),))


# --- before there is a chat -----------------------------------------------------------------------------------------


def test_a_session_that_lay_too_long_is_replaced() -> None:
    assert follows(REQUEST_CHAT, LOST, spent_s=SESSION_FRESH_MS / 1000 + 1) == RetryDecision(
        None, (SessionStale("gone"),)
    )


def test_a_fresh_session_that_is_refused_is_a_refusal() -> None:
    assert follows(REQUEST_CHAT, LOST) == RetryDecision(None, (ConnectRefused("refused", "gone"),))


@pytest.mark.parametrize("error", [BROKEN, OutOfStep("409", accepted=9)], ids=name)
def test_before_there_is_a_chat_nothing_is_repaired(error: BridgeError) -> None:
    """A 503 then means a wrong host, or one that is down (liveagent.md, "Wrong or moved host")."""
    assert follows(REQUEST_CHAT, error).events == ()
    assert follows(REQUEST_CHAT, error, spent_s=60) == RetryDecision(None, (ConnectRefused("unavailable", str(error)),))


@pytest.mark.parametrize("command", COMMANDS, ids=name)
@pytest.mark.parametrize(
    "error", [DOWN, NO, LOST, BROKEN, OutOfStep("409", accepted=9), PollOverlapped("409")], ids=name
)
def test_nothing_is_tried_for_ever(command: Command, error: BridgeError) -> None:
    verdict = follows(command, error, tries=1000, spent_s=100_000)
    assert verdict.again_in_s is None
    assert verdict.events
