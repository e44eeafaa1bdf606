"""What is on record, and how a chat goes on from it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bridge.chat.machine import Chat
from bridge.commands import (
    Lane,
    OpenCase,
    Poll,
)
from bridge.events import (
    AgentLeft,
    AgentWrote,
    BotTold,
    ChatEnded,
    ChatEstablished,
    ContactReady,
    WaitExpired,
)
from bridge.records import ChatState

from chat_stage import (  # isort: skip
    CONNECT,
    REQUEST,
    Stage,
    left,
    policy,
    said,
    wrote,
)


# --- going on after a crash -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "play", [Stage.asked_for_session, Stage.connecting, Stage.on_hold, Stage.active, Stage.closing]
)
def test_a_restored_chat_owes_the_same(play: Any) -> None:
    stage = play(Stage())
    stage.happens(wrote("a"))
    owed = dict(stage.under_way)
    step = stage.crash()
    if Lane.POLL in owed:
        # Texts went out beside it: the poll itself is asked again with the same ack.
        owed[Lane.POLL] = Poll(stage.session)
    assert stage.under_way == owed
    assert not step.writes


def test_a_restored_chat_looks_for_its_case_before_it_opens_one() -> None:
    stage = Stage()
    stage.happens(CONNECT)
    stage.done(Lane.DESK, ContactReady("c"))
    stage.crash()
    record = stage.record
    assert stage.under_way == {Lane.DESK: OpenCase(REQUEST, "c", record.opened_at_ms, True, record.chat_id)}


def test_only_what_may_have_been_done_before_the_crash_is_looked_for() -> None:
    stage = Stage()
    stage.happens(CONNECT)
    stage.crash()
    stage.done(Lane.DESK, ContactReady("c"))
    record = stage.record
    assert stage.under_way == {Lane.DESK: OpenCase(REQUEST, "c", record.opened_at_ms, False, record.chat_id)}


def test_a_chat_that_only_waited_for_what_the_crash_took_ends_on_record() -> None:
    stage = Stage()
    stage.happens(CONNECT)
    stage.happens(left())
    assert stage.is_in(ChatState.CLOSING)
    step = stage.crash()
    assert stage.is_in(ChatState.CLOSED)
    assert step.writes
    assert [entry.after for entry in step.flight] == [ChatState.CLOSED]


def test_a_text_that_was_under_way_when_chat_and_process_ended_becomes_context() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"))
    stage.hears(ChatEnded("agent", True))
    assert stage.step.context == []
    step = stage.crash()
    assert step.context == [said("a")]
    assert step.writes


def test_a_new_chat_has_nothing_to_resume() -> None:
    step = Chat(policy(), new_id=str).apply((), busy=(), now_ms=0)
    assert (step.commands, step.writes, step.cancel_poll) == ([], False, False)


# --- on record ------------------------------------------------------------------------------------------------------


def test_every_event_is_in_the_flight_record_with_what_it_led_to() -> None:
    stage = Stage().on_hold()
    count = stage.record.step
    stage.hears(ChatEstablished("Eva"), AgentWrote("hi"))
    assert [(entry.event, entry.before, entry.after) for entry in stage.step.flight] == [
        ("SessionPolled", ChatState.ON_HOLD, ChatState.ON_HOLD),
        ("ChatEstablished", ChatState.ON_HOLD, ChatState.ACTIVE),
        ("AgentWrote", ChatState.ACTIVE, ChatState.ACTIVE),
    ]
    assert set(stage.step.flight[-1].commands) == {"SendToAgent", "Poll", "SendToUser"}
    assert stage.record.step == count + 1


def test_the_flight_record_holds_no_text_that_anybody_wrote() -> None:
    stage = Stage().active()
    stage.happens(wrote("my secret"))
    stage.hears(AgentWrote("my secret"), ChatEnded("agent", True))
    for step in stage.steps:
        assert b"secret" not in msgspec.json.encode(step.flight)


def test_an_event_that_is_not_allowed_is_named_and_changes_nothing() -> None:
    stage = Stage().on_hold()
    step = stage.happens(AgentLeft(), BotTold())
    assert (step.ignored, step.writes, step.commands) == (["AgentLeft", "BotTold"], False, [])
    step = Stage().active().happens(WaitExpired())
    assert (step.ignored, step.writes, step.commands) == (["WaitExpired"], False, [])
