"""How a chat is opened, or is not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bridge.chat.policy import ANSWER_MARGIN_S
from bridge.commands import (
    EnsureContact,
    Lane,
    LeaveDesk,
    OpenCase,
    OpenSession,
    Poll,
    RequestChat,
    SendToUser,
    TellBot,
)
from bridge.events import (
    AgentWrote,
    BotTold,
    CaseOpened,
    ChatEnded,
    ChatEstablished,
    ChatQuarantined,
    ChatRequested,
    ConnectRefused,
    ContactBlocked,
    ContactReady,
    Event,
    SessionOpened,
    SessionStale,
)
from bridge.messages import Answer, Ask, ConnectRequested, FinishRequested
from bridge.records import ChatState

from chat_stage import (  # isort: skip
    kinds,
    CALLER,
    CONNECT,
    FINISH,
    FINISHER,
    REQUEST,
    REQUESTED,
    SESSION,
    USER,
    Stage,
    left,
    said,
    wrote,
)


# --- opening --------------------------------------------------------------------------------------------------------


def test_the_intent_is_on_record_before_anybody_is_asked_for_anything() -> None:
    stage = Stage()
    step = stage.happens(CONNECT)
    assert step.writes
    assert (stage.record.state, stage.record.request, stage.record.ask) == (ChatState.CONNECTING, REQUEST, CALLER)
    assert step.commands == [EnsureContact(REQUEST)]


def test_a_chat_is_opened_by_contact_then_case_then_session_then_request() -> None:
    stage = Stage()
    stage.happens(CONNECT)
    case = OpenCase(REQUEST, "c", stage.record.opened_at_ms, chat_id=stage.record.chat_id)
    assert stage.done(Lane.DESK, ContactReady("c")).commands == [case]
    assert stage.done(Lane.DESK, CaseOpened("k")).commands == [OpenSession()]
    assert stage.done(Lane.DESK, SessionOpened(SESSION)).commands == [RequestChat(REQUEST, SESSION, "c", "k")]
    assert stage.done(Lane.DESK, ChatRequested(REQUESTED)).commands == [Poll(REQUESTED)]


def test_connect_is_answered_when_the_desk_took_the_request_and_not_before() -> None:
    stage = Stage().asked_for_session()
    stage.done(Lane.DESK, SessionOpened(SESSION))
    assert all(not step.answers for step in stage.steps)
    assert stage.done(Lane.DESK, ChatRequested(REQUESTED)).answers == [(CALLER, Answer("ok"))]
    assert stage.record.ask is None


def test_the_caller_is_answered_once() -> None:
    stage = Stage().active()
    stage.hears(ChatEnded("agent", True))
    answers = [answer for step in stage.steps for answer in step.answers]
    assert answers == [(CALLER, Answer("ok"))]


def test_a_refused_connect_is_answered_with_its_reason_and_puts_the_bot_into_timeout() -> None:
    stage = Stage().asked_for_session()
    step = stage.done(Lane.DESK, ConnectRefused("no answer", "unavailable"))
    assert step.answers == [(CALLER, Answer("unavailable", "could not create chat in salesforce : no answer"))]
    assert stage.under_way == {Lane.BOT: TellBot(REQUEST, "timeout", stage.now_ms + 5000)}
    stage.done(Lane.BOT, BotTold())
    assert (stage.state, stage.record.reason) == (ChatState.FAILED, "ConnectRefused: no answer")


def test_a_blocked_contact_is_told_so_and_puts_the_bot_into_blocked() -> None:
    stage = Stage()
    stage.happens(CONNECT)
    step = stage.done(Lane.DESK, ContactBlocked("c"))
    assert step.answers == [(CALLER, Answer("blocked", "could not create chat in salesforce: this contact is blocked"))]
    assert stage.under_way == {Lane.BOT: TellBot(REQUEST, "blocked", stage.now_ms + 5000)}
    stage.done(Lane.BOT, BotTold())
    assert stage.is_in(ChatState.FAILED)


def test_what_a_blocked_user_wrote_meanwhile_becomes_context() -> None:
    stage = Stage()
    stage.happens(CONNECT)
    stage.happens(wrote("hello?"))
    assert stage.done(Lane.DESK, ContactBlocked("c")).context == [said("hello?")]
    assert stage.record.to_agent == []


def test_a_stale_session_is_replaced_by_another() -> None:
    stage = Stage().asked_for_session()
    stage.done(Lane.DESK, SessionOpened(SESSION))
    step = stage.done(Lane.DESK, SessionStale("403"))
    assert (step.commands, stage.state) == ([OpenSession()], ChatState.CONNECTING)


@pytest.mark.parametrize("play", [Stage.on_hold, Stage.active, Stage.closing])
def test_a_second_connect_is_told_that_there_is_a_chat(play: Any) -> None:
    stage = play(Stage())
    before = stage.state
    step = stage.happens(ConnectRequested(REQUEST, FINISHER))
    assert step.answers == [(FINISHER, Answer("exists", f"session exists with userID : {USER}"))]
    assert (stage.state, stage.record.chat_id, step.commands) == (before, "chat", [])


def test_the_same_connect_while_the_chat_is_being_opened_gets_the_same_answer() -> None:
    stage = Stage().asked_for_session()
    assert stage.happens(ConnectRequested(REQUEST, FINISHER)).answers == []
    stage.crash()
    stage.done(Lane.DESK, SessionOpened(SESSION))
    step = stage.done(Lane.DESK, ChatRequested(REQUESTED))
    assert step.answers == [(CALLER, Answer("ok")), (FINISHER, Answer("ok"))]
    assert stage.happens(ConnectRequested(REQUEST, FINISHER)).answers == [(FINISHER, Answer("ok"))]


def test_the_same_connect_is_refused_with_the_first_one() -> None:
    stage = Stage().asked_for_session()
    stage.happens(ConnectRequested(REQUEST, FINISHER))
    step = stage.done(Lane.DESK, ConnectRefused("no"))
    assert [(ask, answer.code) for ask, answer in step.answers] == [(CALLER, "refused"), (FINISHER, "refused")]


def test_another_connect_while_a_chat_is_being_opened_is_told_that_there_is_one() -> None:
    stage = Stage().asked_for_session()
    other = msgspec.structs.replace(REQUEST, name="Leo")
    step = stage.happens(ConnectRequested(other, FINISHER))
    assert [answer.code for _, answer in step.answers] == ["exists"]


def test_a_new_chat_may_begin_while_only_the_bot_and_the_user_are_still_owed_something() -> None:
    stage = Stage().active()
    stage.hears(AgentWrote("bye"), AgentWrote("ciao"), ChatEnded("agent", True))
    stage.happens(ConnectRequested(REQUEST, FINISHER))
    assert stage.is_in(ChatState.CONNECTING)
    assert kinds(stage.under_way) == {Lane.DESK: EnsureContact, Lane.USER: SendToUser}
    assert stage.drain_user() == ["bye", "ciao"]


def test_a_new_chat_drops_the_state_that_the_bot_was_not_told() -> None:
    """The bot asks for a chat, so it has moved on: the old state would take it out of the new chat."""
    stage = Stage().active()
    stage.hears(ChatEnded("agent", True))
    assert kinds(stage.under_way) == {Lane.BOT: TellBot}
    step = stage.happens(ConnectRequested(REQUEST, FINISHER))
    assert step.cancel_bot
    assert (stage.record.to_bot, Lane.BOT in stage.under_way) == (None, False)


def test_a_user_may_have_a_second_chat_after_the_first() -> None:
    stage = Stage().active()
    stage.hears(ChatEnded("agent", True))
    stage.done(Lane.BOT, BotTold())
    assert stage.is_in(ChatState.CLOSED)
    stage.chat.forget()
    assert stage.is_in(ChatState.NEW)
    assert stage.happens(CONNECT).commands == [EnsureContact(REQUEST)]


# --- without a chat -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [wrote("hi"), left("hi")])
def test_without_a_chat_what_the_user_says_is_context(event: Event) -> None:
    stage = Stage()
    step = stage.happens(event)
    assert (step.context, step.writes, step.commands, stage.chat.record) == ([said("hi")], True, [], None)


def test_without_a_chat_finish_is_told_that_there_is_none() -> None:
    step = Stage().happens(FINISH)
    assert step.answers == [(FINISHER, Answer("absent", f"session does not exist with userID : {USER}"))]


def test_whoever_does_not_wait_is_not_answered() -> None:
    stage = Stage()
    assert stage.happens(FinishRequested(USER)).answers == []
    stage.happens(ConnectRequested(REQUEST))
    assert stage.done(Lane.DESK, ConnectRefused("no")).answers == []


# --- connects that nobody believes in -------------------------------------------------------------------------------


def test_a_request_whose_answer_was_lost_is_taken_back_when_the_connect_is_refused() -> None:
    stage = Stage().asked_for_session()
    stage.done(Lane.DESK, SessionOpened(SESSION))
    stage.done(Lane.DESK, ConnectRefused("no answer", "unavailable"))
    assert isinstance(stage.under_way[Lane.DESK], LeaveDesk)
    assert stage.state is ChatState.CLOSING


def test_a_connect_that_is_read_after_its_caller_was_told_no_opens_nothing() -> None:
    stage = Stage()
    asked = Ask("replies", "connect", asked_at_ms=stage.now_ms - 11_000)
    step = stage.happens(ConnectRequested(REQUEST, asked))
    assert [answer.code for _, answer in step.answers] == ["unavailable"]
    assert Lane.DESK not in stage.under_way
    assert stage.record.to_bot is not None
    assert stage.record.to_bot.state == "timeout"


def test_a_desk_that_took_the_request_and_never_says_a_word_is_given_up() -> None:
    stage = Stage().connecting()
    stage.happens(after_s=30)
    assert stage.state is ChatState.CONNECTING
    stage.happens(after_s=31)
    assert stage.record.leaving
    assert stage.record.to_bot is not None


def test_a_chat_that_falls_while_it_closes_sets_aside_what_it_owes_and_tells_the_bot() -> None:
    stage = Stage().active()
    stage.hears(AgentWrote("adiós"), ChatEnded("agent", True))
    step = stage.happens(ChatQuarantined("KeyError on Outcome"))
    assert [letter.delivery.text for letter in step.dead_letters] == ["adiós"]
    assert isinstance(stage.under_way[Lane.BOT], TellBot)


def test_a_message_that_is_on_record_is_not_owed_again_when_a_store_that_failed_over_brings_it_once_more() -> None:
    stage = Stage().active()
    stage.happens(wrote("once"))
    stage.crash()
    stage.happens(wrote("once"))
    assert [owed.text for owed in stage.record.to_agent] == ["once"]
    for number in range(200):
        stage.happens(wrote(f"{number}"))
    assert len(stage.record.recent) == 32


def test_the_chat_answers_its_caller_just_before_the_caller_gives_up() -> None:
    stage = Stage(connect_s=10.0)
    stage.happens(CONNECT)
    stage.happens(after_s=10.0 - ANSWER_MARGIN_S - 0.001)
    assert stage.is_in(ChatState.CONNECTING)
    step = stage.happens(after_s=0.001)
    assert [answer.code for _, answer in step.answers] == ["unavailable"]


def test_a_request_that_the_desk_takes_too_late_calls_no_agent() -> None:
    """The caller was told that there is no chat: the answer must not change, and the desk must be left."""
    stage = Stage(connect_s=10.0).asked_for_session()
    stage.done(Lane.DESK, SessionOpened(SESSION))
    step = stage.done(Lane.DESK, ChatRequested(REQUESTED), after_s=10.0)
    assert [answer.code for _, answer in step.answers] == ["unavailable"]
    assert isinstance(stage.under_way[Lane.DESK], LeaveDesk)


def test_an_agent_who_comes_too_late_is_not_told_of_the_user() -> None:
    stage = Stage().connecting()
    stage.now_ms += 61_000
    stage.hears(ChatEstablished("Eva"))
    assert stage.is_in(ChatState.CLOSING)
    assert stage.owed_to_agent == []
