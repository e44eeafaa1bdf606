"""How a chat ends."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.chat.machine import LAST_TEXTS_MS
from bridge.commands import (
    Lane,
    LeaveDesk,
    Poll,
    RequestChat,
    SendToUser,
    TellBot,
)
from bridge.events import (
    AgentWrote,
    BotTold,
    BotUntold,
    CaseOpened,
    ChatEnded,
    ChatEstablished,
    ChatQuarantined,
    ChatRefused,
    ChatRequested,
    ContactReady,
    DeskLeft,
    DeskSilent,
    DeskUnreachable,
    Event,
    SessionExpired,
    SessionOpened,
)
from bridge.messages import Answer
from bridge.records import ChatState

from chat_stage import (  # isort: skip
    BEFORE,
    CALLER,
    CONNECT,
    FINISH,
    FINISHER,
    PICTURE,
    REQUEST,
    REQUESTED,
    SESSION,
    Stage,
    kinds,
    left,
    said,
    wrote,
)


PLAYS = {"connecting": Stage.connecting, "on hold": Stage.on_hold, "active": Stage.active}
ENDINGS: list[tuple[Event, str, ChatState]] = [
    (ChatEnded("agent", True), "success", ChatState.CLOSED),
    (ChatEnded("agentsUnavailable", False), "timeout", ChatState.FAILED),
    (ChatRefused("Unavailable"), "timeout", ChatState.FAILED),
    (SessionExpired("403"), "timeout", ChatState.FAILED),
]


@pytest.mark.parametrize("play", PLAYS.values(), ids=PLAYS)
@pytest.mark.parametrize(("event", "bot_state", "end"), ENDINGS, ids=lambda value: str(value)[:24])
def test_every_ending_at_the_desk_puts_the_bot_into_its_state(
    play: Any, event: Event, bot_state: str, end: ChatState
) -> None:
    stage = play(Stage())
    stage.done(Lane.POLL, event)
    assert kinds(stage.under_way) == {Lane.BOT: TellBot}
    told: Any = stage.under_way[Lane.BOT]
    delay_ms = 0 if bot_state == "success" else 5000
    assert (told.state, told.due_at_ms) == (bot_state, stage.now_ms + delay_ms)
    assert not stage.over
    stage.done(Lane.BOT, BotTold())
    assert (stage.state, stage.record.ended_at_ms) == (end, stage.now_ms)


@pytest.mark.parametrize("play", PLAYS.values(), ids=PLAYS)
def test_finish_leaves_the_desk_and_puts_the_bot_into_success(play: Any) -> None:
    stage = play(Stage())
    step = stage.happens(FINISH)
    assert (FINISHER, Answer("ok")) in step.answers
    assert kinds(stage.under_way)[Lane.DESK] is LeaveDesk
    stage.done(Lane.DESK, DeskLeft())
    stage.hears(ChatEnded("client", True))
    assert stage.under_way == {Lane.BOT: TellBot(REQUEST, "success", stage.now_ms)}
    stage.done(Lane.BOT, BotTold())
    assert (stage.state, stage.record.reason) == (ChatState.CLOSED, "finished by the API")


def test_the_bot_is_told_at_once_where_no_agent_came() -> None:
    stage = Stage().on_hold()
    stage.happens(FINISH)
    assert kinds(stage.under_way) == {Lane.DESK: LeaveDesk, Lane.POLL: Poll, Lane.BOT: TellBot}


@pytest.mark.parametrize("play", PLAYS.values(), ids=PLAYS)
def test_the_leave_word_leaves_the_desk_and_tells_the_bot_nothing(play: Any) -> None:
    stage = play(Stage())
    step = stage.happens(left("restart"))
    assert step.context == [said("restart")]
    assert kinds(stage.under_way) == {Lane.DESK: LeaveDesk, Lane.POLL: Poll}
    stage.done(Lane.DESK, DeskLeft())
    stage.done(Lane.POLL, SessionExpired("403"))
    assert (stage.state, stage.record.reason) == (ChatState.CLOSED, "LeaveRequested")


# --- the end is what the poll says ------------------------------------------------------------------------------------

OURS: dict[str, Event] = {"finish": FINISH, "leave": left()}


@pytest.mark.parametrize("event", OURS.values(), ids=OURS)
def test_what_the_agent_wrote_until_the_desk_ended_the_chat_reaches_the_user(event: Event) -> None:
    stage = Stage().active()
    stage.happens(event)
    stage.done(Lane.DESK, DeskLeft())
    assert kinds(stage.under_way) == {Lane.POLL: Poll}
    stage.hears(AgentWrote("your number is 4711"), ChatEnded("client", True))
    assert stage.drain_user() == ["your number is 4711"]
    if Lane.BOT in stage.under_way:
        stage.done(Lane.BOT, BotTold())
    assert stage.is_in(ChatState.CLOSED)


def test_the_bot_is_told_after_the_agents_last_texts() -> None:
    stage = Stage().active()
    stage.happens(FINISH)
    assert Lane.BOT not in stage.under_way
    stage.done(Lane.DESK, DeskLeft())
    stage.hears(AgentWrote("bye"), ChatEnded("client", True))
    assert kinds(stage.under_way) == {Lane.USER: SendToUser}
    stage.drain_user()
    assert kinds(stage.under_way) == {Lane.BOT: TellBot}


ENDED_AT_DESK = [ChatEnded("client", True), ChatRefused("x"), SessionExpired("403"), DeskSilent()]


@pytest.mark.parametrize("event", ENDED_AT_DESK, ids=lambda event: type(event).__name__)
def test_whatever_the_poll_says_of_the_end_ends_the_chat_that_was_left(event: Event) -> None:
    stage = Stage().active()
    stage.happens(left())
    stage.done(Lane.DESK, DeskLeft())
    assert stage.is_in(ChatState.CLOSING)
    stage.done(Lane.POLL, event)
    assert stage.is_in(ChatState.CLOSED)


def test_a_chat_that_is_left_waits_for_a_last_poll_for_some_seconds_only() -> None:
    stage = Stage().active()
    stage.happens(left())
    stage.done(Lane.DESK, DeskLeft())
    stage.happens(after_s=LAST_TEXTS_MS / 1000 - 1)
    assert stage.is_in(ChatState.CLOSING)
    assert stage.happens(after_s=1).cancel_poll
    assert stage.is_in(ChatState.CLOSED)


def test_a_chat_that_was_left_is_polled_for_its_last_texts_after_a_crash() -> None:
    stage = Stage().active()
    stage.happens(left())
    stage.done(Lane.DESK, DeskLeft())
    stage.crash()
    assert kinds(stage.under_way) == {Lane.POLL: Poll}


def test_a_chat_whose_desk_cannot_be_polled_is_over_when_it_is_left() -> None:
    stage = Stage().active()
    stage.happens(left())
    stage.done(Lane.POLL, DeskUnreachable("502"))
    stage.done(Lane.DESK, DeskLeft())
    assert stage.is_in(ChatState.CLOSED)
    stage = Stage().active()
    stage.happens(left())
    stage.done(Lane.DESK, DeskLeft())
    stage.done(Lane.POLL, DeskUnreachable("502"))
    assert stage.is_in(ChatState.CLOSED)


@pytest.mark.parametrize("event", [FINISH, left()], ids=["finish", "leave"])
def test_ending_before_there_is_a_session_answers_the_caller_and_waits_for_what_is_under_way(event: Event) -> None:
    stage = Stage()
    stage.happens(CONNECT)
    stage.happens(wrote("a"))
    step = stage.happens(event)
    sentence = "could not create chat in salesforce : the chat was ended before it began"
    assert (CALLER, Answer("refused", sentence)) in step.answers
    assert said("a") in step.context
    if Lane.BOT in stage.under_way:
        stage.done(Lane.BOT, BotTold())
    assert stage.is_in(ChatState.CLOSING)
    stage.done(Lane.DESK, ContactReady("c"))
    assert stage.is_in(ChatState.CLOSED)


def test_ending_while_the_desk_is_asked_for_an_agent_leaves_the_desk_after_that() -> None:
    stage = Stage().asked_for_session()
    stage.done(Lane.DESK, SessionOpened(SESSION))
    stage.happens(left())
    assert isinstance(stage.under_way[Lane.DESK], RequestChat)
    stage.done(Lane.DESK, ChatRequested(REQUESTED))
    assert stage.under_way == {Lane.DESK: LeaveDesk(REQUESTED), Lane.POLL: Poll(REQUESTED)}


def test_a_case_that_was_opened_while_the_chat_ended_is_on_record() -> None:
    stage = Stage()
    stage.happens(CONNECT)
    stage.done(Lane.DESK, ContactReady("c"))
    stage.happens(FINISH)
    stage.done(Lane.DESK, CaseOpened("k"))
    assert stage.record.case_id == "k"


def test_finish_of_an_ending_chat_is_fine() -> None:
    stage = Stage().closing()
    assert stage.happens(FINISH).answers == [(FINISHER, Answer("ok"))]


def test_what_the_user_wrote_before_the_end_is_still_sent_before_we_leave() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"), wrote("b"))
    stage.happens(FINISH)
    assert stage.drain_agent() == ["a", "b"]
    assert isinstance(stage.under_way[Lane.DESK], LeaveDesk)


@pytest.mark.parametrize(("event", "_state", "_end"), ENDINGS, ids=lambda value: str(value)[:24])
def test_texts_that_no_agent_will_read_become_context(event: Event, _state: str, _end: ChatState) -> None:
    stage = Stage().on_hold()
    stage.happens(wrote("a"), wrote("", media=PICTURE))
    step = stage.done(Lane.POLL, event)
    assert (step.context, stage.record.to_agent) == ([said("a"), said("", media=PICTURE)], [])


def test_our_own_words_to_the_agent_never_become_context() -> None:
    stage = Stage().on_hold()
    stage.hears(ChatEstablished("Eva", (BEFORE,)), ChatEnded("agent", True))
    assert stage.step.context == []


def test_what_the_user_says_after_the_end_is_context() -> None:
    stage = Stage().closing()
    assert stage.happens(wrote("a")).context == [said("a")]
    assert stage.happens(left("b")).context == [said("b")]


def test_the_agents_last_words_still_reach_the_user_before_the_bot_is_told() -> None:
    stage = Stage().active()
    stage.hears(AgentWrote("bye"), ChatEnded("agent", True))
    assert kinds(stage.under_way) == {Lane.USER: SendToUser}
    assert stage.drain_user() == ["bye"]
    assert kinds(stage.under_way) == {Lane.BOT: TellBot}


def test_a_bot_that_cannot_be_told_is_on_record_and_nobody_waits_for_ever() -> None:
    stage = Stage().active()
    stage.hears(ChatEnded("agent", True))
    stage.done(Lane.BOT, BotUntold("503"))
    assert (stage.state, stage.record.reason) == (
        ChatState.FAILED,
        "ChatEnded: agent; the bot was not told: 503",
    )


@pytest.mark.parametrize("event", [ChatEnded("client", True), ChatRefused("x"), SessionExpired("403")])
def test_whatever_ends_the_session_before_we_left_is_our_leaving(event: Event) -> None:
    stage = Stage().active()
    stage.happens(left())
    stage.happens(event)
    assert (stage.record.leaving, Lane.POLL in stage.under_way) == (False, False)
    stage.done(Lane.DESK)
    assert stage.over


def test_the_poll_is_cancelled_when_nothing_more_is_wanted_from_the_desk() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"))
    assert stage.done(Lane.DESK, SessionExpired("403")).cancel_poll
    assert Lane.POLL not in stage.under_way


def test_the_end_waits_for_everything_that_is_owed() -> None:
    stage = Stage().active()
    stage.hears(AgentWrote("bye"), ChatEnded("agent", True))
    assert stage.is_in(ChatState.CLOSING)
    stage.drain_user()
    assert stage.is_in(ChatState.CLOSING)
    stage.done(Lane.BOT, BotTold())
    assert stage.is_in(ChatState.CLOSED)


def test_a_chat_that_is_given_up_while_it_closes_does_not_go_on_leaving() -> None:
    stage = Stage().closing()
    stage.happens(wrote("unread"), ChatQuarantined("KeyError on Outcome"))
    assert not stage.record.leaving
    stage.done(Lane.BOT, BotTold())
    stage.done(Lane.DESK)
    assert stage.over


def test_a_desk_that_cannot_be_reached_is_not_polled_while_it_is_left() -> None:
    stage = Stage().active()
    stage.done(Lane.POLL, DeskUnreachable("502"))
    assert kinds(stage.under_way) == {Lane.DESK: LeaveDesk, Lane.BOT: TellBot}
    stage.crash()
    assert Lane.POLL not in stage.under_way


def test_what_is_owed_is_not_returned_while_a_text_is_under_way_and_is_when_the_lane_is_free() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"), wrote("b"))
    stage.hears(ChatEnded("agent", True))
    assert stage.step.context == [said("b")]
    step = stage.done(Lane.DESK)
    assert (step.context, stage.record.to_agent) == ([said("a")], [])
    assert [entry.event for entry in step.flight] == ["Settled"]
