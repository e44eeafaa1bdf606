"""What an interconnection has under way: one command a lane, and no outcome taken for another's."""

from __future__ import annotations

import gevent
from actor_parts import settle, wants_chat

from bridge.actors.chats.lanes import Lanes
from bridge.chat.retries import Attempt
from bridge.commands import EnsureContact, Lane, OpenCase, TellBot

CONTACT = EnsureContact(wants_chat())
CASE = OpenCase(wants_chat(), "003", 5, chat_id="chat")
BOT = TellBot(wants_chat(), "success", 0)


def test_each_command_has_the_lane_of_its_kind_and_a_token_of_its_own() -> None:
    lanes = Lanes()
    first, second = lanes.begin(Attempt(CONTACT, 1)), lanes.begin(Attempt(BOT, 2))
    assert (first.lane, second.lane) == (Lane.DESK, Lane.BOT)
    assert first.token != second.token
    assert (lanes.get(Lane.DESK, first.token), lanes.get(Lane.BOT, second.token)) == (first, second)


def test_an_outcome_frees_its_lane_once() -> None:
    lanes = Lanes()
    state = lanes.begin(Attempt(CONTACT, 0))
    assert lanes.busy == {Lane.DESK}
    assert lanes.finish(Lane.DESK, state.token) is state
    assert lanes.finish(Lane.DESK, state.token) is None
    assert not lanes.busy


def test_a_late_outcome_is_not_that_of_the_next_command() -> None:
    lanes = Lanes()
    late = lanes.begin(Attempt(CONTACT, 0))
    lanes.drop(Lane.DESK)
    now = lanes.begin(Attempt(CASE, 0))
    assert lanes.finish(Lane.DESK, late.token) is None
    assert lanes.get(Lane.DESK, late.token) is None
    assert lanes.get(Lane.DESK, now.token) is now


def test_a_token_counts_in_its_own_lane_only() -> None:
    lanes = Lanes()
    state = lanes.begin(Attempt(CONTACT, 0))
    assert lanes.finish(Lane.BOT, state.token) is None
    assert lanes.busy


def test_what_waits_is_dropped_and_what_is_at_the_remote_stays() -> None:
    lanes = Lanes()
    fired: list[object] = []
    waiting, under_way, tried = (lanes.begin(Attempt(command, 0)) for command in (CONTACT, BOT, CONTACT))
    assert lanes.get(Lane.DESK, waiting.token) is None, "one command a lane"
    tried.wait(gevent.spawn_later(60, fired.append, "tried"))
    under_way.wait(gevent.spawn(fired.append, "sent again"))
    settle()
    under_way.stop_waiting()
    lanes.drop_waiting()
    settle()
    assert list(lanes.in_flight) == [Lane.BOT]
    assert tried.timer is not None
    assert tried.timer.dead
    assert fired == ["sent again"]


def test_nothing_becomes_due_after_the_timers_were_cancelled() -> None:
    lanes = Lanes()
    fired: list[object] = []
    for command in (CONTACT, BOT):
        lanes.begin(Attempt(command, 0)).timer = gevent.spawn_later(0, fired.append, command)
    lanes.cancel_timers()
    settle()
    assert fired == []
    lanes.drop(Lane.DESK)
    lanes.drop(Lane.DESK)
    assert list(lanes.in_flight) == [Lane.BOT]
