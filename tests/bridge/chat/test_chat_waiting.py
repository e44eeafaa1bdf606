"""Waiting for an agent, and what the agent reads first."""

from __future__ import annotations

from typing import Any

import msgspec

from bridge.commands import (
    Lane,
    LeaveDesk,
    Poll,
    TellBot,
)
from bridge.events import (
    BotTold,
    ChatEnded,
    ChatEstablished,
    ChatQueued,
    DeskLeft,
    QueueMoved,
    UndeliverableToAgent,
    WaitExpired,
)
from bridge.records import ChatState

from chat_stage import (  # isort: skip
    BEFORE,
    Stage,
    kinds,
    said,
    wrote,
)


# --- waiting --------------------------------------------------------------------------------------------------------


def test_the_user_is_told_to_wait_once_the_request_is_queued() -> None:
    stage = Stage().connecting()
    stage.hears(ChatQueued(3))
    assert (stage.state, stage.drain_user()) == (ChatState.ON_HOLD, ["please wait"])
    assert stage.record.held_since_ms == stage.now_ms


def test_the_place_in_the_queue_is_told_not_more_often_than_the_interval() -> None:
    stage = Stage(queue_update_interval_s=60.0).on_hold()
    stage.hears(QueueMoved(2))
    assert stage.owed_to_user == []
    stage.happens(after_s=59)
    stage.hears(QueueMoved(1))
    assert stage.owed_to_user == []
    stage.happens(after_s=1)
    stage.hears(QueueMoved(1))
    assert stage.drain_user() == ["place 1"]
    stage.hears(QueueMoved(0))
    assert stage.owed_to_user == []


def test_the_same_place_is_not_told_again() -> None:
    stage = Stage().on_hold()
    stage.happens(after_s=60)
    stage.hears(QueueMoved(2))
    assert stage.drain_user() == ["place 2"]
    stage.happens(after_s=60)
    stage.hears(QueueMoved(2))
    assert stage.owed_to_user == []


def test_an_unknown_place_is_not_told() -> None:
    stage = Stage().on_hold()
    stage.happens(after_s=60)
    stage.hears(QueueMoved(None))
    assert stage.owed_to_user == []


def test_an_interval_of_zero_keeps_places_to_ourselves() -> None:
    stage = Stage(queue_update_interval_s=0.0).on_hold()
    stage.happens(after_s=600)
    stage.hears(QueueMoved(2))
    assert (stage.owed_to_user, stage.record.queue_position) == ([], 2)


def test_a_wait_that_took_too_long_leaves_the_desk_and_puts_the_bot_into_timeout() -> None:
    stage = Stage().on_hold()
    stage.happens(wrote("still there?"))
    step = stage.happens(WaitExpired())
    assert (stage.state, step.context) == (ChatState.CLOSING, [said("still there?")])
    assert kinds(stage.under_way) == {Lane.DESK: LeaveDesk, Lane.POLL: Poll, Lane.BOT: TellBot}
    stage.done(Lane.DESK, DeskLeft())
    stage.done(Lane.BOT, BotTold())
    stage.hears(ChatEnded("client", True))
    assert (stage.state, stage.record.reason) == (ChatState.FAILED, "WaitExpired: the wait took too long")


# --- briefing -------------------------------------------------------------------------------------------------------


def test_text_written_on_hold_reaches_the_agent_first_after_context_and_welcome() -> None:
    stage = Stage().connecting()
    stage.happens(wrote("first"))
    stage.hears(ChatQueued())
    stage.happens(wrote("second"))
    stage.hears(ChatEstablished("Eva", (BEFORE,)))
    stage.happens(wrote("third"))
    assert stage.drain_agent() == ["before: hola", "I am Ana", "first", "second", "third"]


def test_without_context_the_agent_sees_the_welcome_first() -> None:
    stage = Stage().on_hold()
    stage.hears(ChatEstablished("Eva"))
    assert stage.drain_agent() == ["I am Ana"]


def test_nothing_is_sent_to_the_desk_before_an_agent_is_there() -> None:
    stage = Stage().connecting()
    stage.happens(wrote("hi"))
    stage.hears(ChatQueued())
    stage.happens(wrote("anyone?"))
    assert Lane.DESK not in stage.under_way


def test_an_agent_may_come_without_any_word_of_a_queue() -> None:
    stage = Stage().connecting()
    stage.hears(ChatEstablished("Eva"))
    assert (stage.state, stage.record.agent_name, stage.drain_agent()) == (ChatState.ACTIVE, "Eva", ["I am Ana"])


def test_a_second_word_of_the_agents_coming_briefs_nobody_again() -> None:
    stage = Stage().active()
    stage.hears(ChatEstablished("Eva", (BEFORE,)))
    assert stage.owed_to_agent == []


def test_a_long_context_reaches_the_agent_in_pieces_that_the_desk_takes() -> None:
    stage = Stage(desk_longest_text=20).on_hold()
    before = msgspec.structs.replace(BEFORE, text="word " * 20)
    stage.hears(ChatEstablished("Eva", (before,)))
    pieces = stage.drain_agent()
    assert "".join(pieces) == "before: " + "word " * 20 + "I am Ana"
    assert max(map(len, pieces)) <= 20


def test_the_agent_is_told_once_of_a_context_that_the_desk_does_not_take() -> None:
    stage = Stage().on_hold()
    stage.hears(ChatEstablished("Eva", (BEFORE,)))
    command: Any = stage.under_way[Lane.DESK]
    stage.done(Lane.DESK, UndeliverableToAgent(command.delivery.id, "400"))
    assert stage.owed_to_agent == ["the context was not shown", "I am Ana"]
    command = stage.under_way[Lane.DESK]
    stage.done(Lane.DESK, UndeliverableToAgent(command.delivery.id, "400"))
    assert stage.owed_to_agent == ["I am Ana"]
    assert len([letter for step in stage.steps for letter in step.dead_letters]) == 2


def test_texts_to_one_agent_keep_a_distance_from_each_other_and_from_the_agents_coming() -> None:
    stage = Stage(desk_text_gap_s=0.3).on_hold()
    stage.hears(ChatEstablished("Eva"))
    first: Any = stage.under_way[Lane.DESK]
    assert first.due_at_ms == stage.now_ms + 300
    stage.happens(wrote("hola"))
    stage.now_ms += 1_000
    stage.takes()
    second: Any = stage.under_way[Lane.DESK]
    assert second.due_at_ms == stage.now_ms + 300
    stage.crash()
    assert stage.under_way[Lane.DESK] == second
