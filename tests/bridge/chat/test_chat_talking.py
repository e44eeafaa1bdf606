"""Texts and files in both directions."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bridge.codecs.liveagent.session import read
from bridge.commands import (
    AttachFile,
    Lane,
    Poll,
    SendToAgent,
    SendToUser,
)
from bridge.events import (
    AgentLeft,
    AgentTyped,
    AgentUnreadable,
    AgentWrote,
    ChatEnded,
    ChatQueued,
    ChatTransferred,
    DeliveredToAgent,
    FileAttached,
    FileRejected,
    FileRequested,
    SessionExpired,
    UndeliverableToAgent,
    UndeliverableToUser,
)
from bridge.records import ChatState

from chat_stage import (  # isort: skip
    PICTURE,
    Stage,
    kinds,
    said,
    wrote,
)


# --- talking --------------------------------------------------------------------------------------------------------


def test_texts_to_the_agent_go_one_at_a_time_in_order() -> None:
    stage = Stage().active()
    for text in ("a", "b", "c"):
        stage.happens(wrote(text))
    assert isinstance(stage.under_way[Lane.DESK], SendToAgent)
    assert stage.drain_agent() == ["a", "b", "c"]


def test_every_text_to_the_agent_is_sent_in_the_session_as_the_last_one_left_it() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"), wrote("b"))
    first: Any = stage.under_way[Lane.DESK]
    stage.takes()
    second: Any = stage.under_way[Lane.DESK]
    assert read(second.session).sequence == read(first.session).sequence + 1


def test_agent_texts_reach_the_user_in_order_in_pieces_that_the_channel_takes() -> None:
    stage = Stage().active()
    stage.hears(AgentWrote("one|two"), AgentWrote("three"))
    assert stage.drain_user() == ["one", "two", "three"]


def test_every_piece_has_an_id_of_its_own_that_a_restart_does_not_change() -> None:
    stage = Stage().active()
    stage.hears(AgentWrote("one|two"))
    ids = [delivery.id for delivery in stage.record.to_user]
    assert len(set(ids)) == 2
    stage.crash()
    assert [delivery.id for delivery in stage.record.to_user] == ids
    stage.happens(wrote("x"))
    assert len({*ids, stage.record.to_agent[0].id}) == 3


def test_polls_and_deliveries_in_both_directions_do_not_wait_for_each_other() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"))
    stage.hears(AgentWrote("b"))
    assert kinds(stage.under_way) == {Lane.DESK: SendToAgent, Lane.POLL: Poll, Lane.USER: SendToUser}


def test_the_next_poll_confirms_what_is_on_record() -> None:
    stage = Stage().active()
    stage.hears(AgentWrote("b"))
    assert stage.step.writes
    assert stage.under_way[Lane.POLL] == Poll(stage.session)


def test_an_empty_poll_is_followed_by_the_next_without_anything_to_write_down() -> None:
    stage = Stage().active()
    step = stage.done(Lane.POLL)
    assert (step.commands, step.writes) == ([Poll(stage.session)], False)


def test_typing_is_noted_until_the_agent_writes() -> None:
    stage = Stage().active()
    stage.hears(AgentTyped(True))
    assert stage.record.agent_typing
    stage.hears(AgentWrote("x"))
    assert not stage.record.agent_typing


def test_a_dropped_agent_or_a_new_one_is_told_to_the_user_and_the_chat_goes_on() -> None:
    stage = Stage().active()
    stage.hears(AgentLeft())
    stage.hears(ChatTransferred("Leo"))
    assert stage.drain_user() == ["the agent left", "you talk to Leo"]
    assert (stage.state, stage.record.agent_name) == (ChatState.ACTIVE, "Leo")


def test_a_file_of_the_agents_is_told_to_the_user() -> None:
    stage = Stage().active()
    stage.hears(FileRequested())
    assert stage.drain_user() == ["a file came"]


def test_an_undeliverable_text_becomes_a_dead_letter_and_the_next_one_goes_on() -> None:
    stage = Stage().active()
    stage.hears(AgentWrote("one"), AgentWrote("two"))
    first: Any = stage.under_way[Lane.USER]
    step = stage.done(Lane.USER, UndeliverableToUser(first.delivery.id, "400"))
    (letter,) = step.dead_letters
    assert (letter.delivery, letter.reason, letter.direction) == (first.delivery, "400", "to_user")
    assert stage.drain_user() == ["two"]


def test_a_dead_letter_to_the_agent_keeps_what_the_user_wrote() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"), wrote("b"))
    command: Any = stage.under_way[Lane.DESK]
    step = stage.done(Lane.DESK, UndeliverableToAgent(command.delivery.id, "400"))
    (letter,) = step.dead_letters
    assert (letter.delivery.message, letter.direction) == (said("a"), "to_agent")
    assert stage.drain_agent() == ["b"]


def test_a_result_that_comes_twice_strikes_nothing_else() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"), wrote("b"))
    command: Any = stage.under_way[Lane.DESK]
    session = stage.session
    stage.takes()
    moved = stage.session
    stage.happens(DeliveredToAgent(command.delivery.id, session.sending))
    assert stage.owed_to_agent == ["b"]
    assert stage.session == moved


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_file_gives_way_to_its_words_at_its_own_place() -> None:
    stage = Stage().active()
    stage.happens(wrote("before"), wrote("", media=PICTURE), wrote("after"))
    stage.takes()
    command: Any = stage.under_way[Lane.FILE]
    assert command == AttachFile("case", "s", stage.record.to_agent[0])
    stage.done(Lane.FILE, FileAttached(command.delivery.id, "1.jpg"))
    assert stage.drain_agent() == ["file 1.jpg", "my receipt", "after"]


def test_a_file_without_a_caption_is_announced_alone() -> None:
    stage = Stage().active()
    stage.happens(wrote("", media=msgspec.structs.replace(PICTURE, caption="")))
    command: Any = stage.under_way[Lane.FILE]
    stage.done(Lane.FILE, FileAttached(command.delivery.id, "1.jpg"))
    assert stage.drain_agent() == ["file 1.jpg"]


def test_a_file_that_fails_is_told_to_the_user_and_kept_as_a_dead_letter() -> None:
    stage = Stage().active()
    stage.happens(wrote("", media=PICTURE), wrote("after"))
    command: Any = stage.under_way[Lane.FILE]
    step = stage.done(Lane.FILE, FileRejected(command.delivery.id, "too large"))
    assert [letter.delivery.media for letter in step.dead_letters] == [PICTURE]
    assert stage.drain_user() == ["the file failed"]
    assert stage.drain_agent() == ["after"]


def test_a_caption_that_no_agent_read_returns_to_context_with_its_file_once() -> None:
    stage = Stage().active()
    stage.happens(wrote("", media=PICTURE))
    command: Any = stage.under_way[Lane.FILE]
    stage.done(Lane.FILE, FileAttached(command.delivery.id, "1.jpg"))
    assert stage.takes() == "file 1.jpg"
    stage.hears(ChatEnded("agent", True))
    assert stage.step.context == []
    stage.done(Lane.DESK, SessionExpired("403"))
    assert stage.step.context == [said("", media=PICTURE)]


def test_a_text_that_the_agent_read_as_the_chat_ended_is_no_context_of_the_next() -> None:
    stage = Stage().active()
    stage.happens(wrote("read"))
    stage.happens(wrote("unread"))
    stage.hears(ChatEnded("agent", True))
    assert stage.step.context == [said("unread")]
    assert stage.takes() == "read"
    assert stage.step.context == []
    assert stage.record.to_agent == []


def test_files_wait_for_the_agent_as_texts_do() -> None:
    stage = Stage().on_hold()
    stage.happens(wrote("", media=PICTURE))
    assert Lane.DESK not in stage.under_way


@pytest.mark.parametrize("kind", [UndeliverableToAgent, FileRejected])
def test_a_dead_letter_to_the_agent_says_how_often_it_was_tried(kind: Any) -> None:
    stage = Stage().active()
    stage.happens(wrote("", media=PICTURE))
    command: Any = stage.under_way[Lane.FILE]
    (letter,) = stage.done(Lane.FILE, kind(command.delivery.id, "400", 7)).dead_letters
    assert letter.attempts == 7


def test_a_dead_letter_to_the_user_says_how_often_it_was_tried() -> None:
    stage = Stage().active()
    stage.hears(AgentWrote("one"))
    command: Any = stage.under_way[Lane.USER]
    (letter,) = stage.done(Lane.USER, UndeliverableToUser(command.delivery.id, "400", 3)).dead_letters
    assert letter.attempts == 3


def test_the_agent_is_told_of_a_text_that_the_user_did_not_get() -> None:
    stage = Stage().active()
    stage.hears(AgentWrote("your number is 4711"))
    command: Any = stage.under_way[Lane.USER]
    stage.done(Lane.USER, UndeliverableToUser(command.delivery.id, "400"))
    assert stage.drain_agent() == ["the user did not get this: your number is 4711"]


def test_no_agent_is_told_where_there_is_none() -> None:
    stage = Stage().connecting()
    stage.hears(ChatQueued(3))
    command: Any = stage.under_way[Lane.USER]
    stage.done(Lane.USER, UndeliverableToUser(command.delivery.id, "400"))
    assert stage.owed_to_agent == []


def test_the_user_is_told_of_a_text_of_the_agents_that_cannot_be_read() -> None:
    stage = Stage().active()
    stage.hears(AgentUnreadable())
    assert stage.drain_user() == ["a text could not be read"]


def test_a_long_text_of_the_user_reaches_the_agent_in_pieces_and_returns_whole() -> None:
    stage = Stage(desk_longest_text=10).active()
    text = "one two three four"
    stage.happens(wrote(text))
    assert "".join(stage.owed_to_agent) == text
    stage.takes()
    stage.done(Lane.DESK, SessionExpired("403"))
    assert stage.step.context == [said(text)]
