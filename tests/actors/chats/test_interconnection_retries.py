"""What an interconnection does about commands that fail."""

from __future__ import annotations

import time

import gevent
import pytest
from actor_parts import (
    Place,
    active_chat,
    desk_session,
    now_ms,
    wait_for,
)
from chat_bench import USER, Line

from bridge.actors.protocol import (
    Failed,
    RetryDue,
)
from bridge.commands import (
    Lane,
    Poll,
    RepairSession,
    SendToAgent,
    SendToUser,
)
from bridge.errors import DeskError, RemoteRefused, RemoteUnavailable
from bridge.events import (
    AgentWrote,
    DeliveredToAgent,
    SessionStepped,
)
from bridge.messages import Turn
from bridge.records import Delivery


def test_what_may_go_better_is_tried_again_as_it_was(line: Line) -> None:
    line.begin(active_chat(USER, "hola"))
    out = line.outside
    for number in range(1, 4):
        out.failed(out.wait_for(SendToAgent, number), RemoteUnavailable("500"))
    out.wait_for(SendToAgent, 4)
    first, *others = out.of(SendToAgent)
    assert all((other.command, other.token) == (first.command, first.token) for other in others)
    assert line.letters == []


def test_the_neighbour_says_when_to_try_again(line: Line) -> None:
    line.begin(active_chat(USER, "hola"))
    out, began_s = line.outside, time.monotonic()
    out.failed(out.wait_for(SendToAgent), RemoteUnavailable("429", retry_after_s=0.15))
    out.wait_for(SendToAgent, 2)
    assert 0.15 <= time.monotonic() - began_s < 5


def test_a_remote_that_works_again_cuts_the_back_off_short_and_the_text_is_sent_once(line: Line) -> None:
    line.begin(active_chat(USER, "hola"))
    out = line.outside
    text = out.wait_for(SendToAgent)
    line.ref.tell(RetryDue(Lane.DESK, text.token))
    line.handled()
    assert len(out.of(SendToAgent)) == 1, "it is under way and does not wait"
    out.failed(text, RemoteUnavailable("down", retry_after_s=60.0))
    line.handled()
    for _ in range(3):
        line.ref.tell(RetryDue(Lane.DESK, text.token))
    line.handled()
    assert len(out.of(SendToAgent)) == 2


def test_a_users_own_data_is_struck_from_what_a_remote_says(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    line.begin(active_chat(USER, "hola"))
    out = line.outside
    out.failed(out.wait_for(SendToAgent), RemoteRefused(f"[400] no such user {USER}, {USER}@example.com"))
    wait_for(lambda: line.letters)
    assert [letter.reason for letter in line.letters] == ["[400] no such user ***, ***"]
    assert "SendToAgent failed: [400] no such user ***, ***" in caplog.text


def test_what_was_tried_long_enough_is_a_dead_letter_and_the_next_goes_on(embedded: Place) -> None:
    line = Line(embedded, delivery_s=0.1)
    line.begin(active_chat(USER, "uno", "dos"))
    out = line.outside
    first, tried = out.wait_for(SendToAgent), 0
    while out.command(SendToAgent, tried + 1).delivery.text == "uno":
        tried += 1
        out.failed(out.wait_for(SendToAgent, tried), RemoteUnavailable("500"))
        gevent.sleep(0.02)
        out.wait_for(SendToAgent, tried + 1)
    assert tried > 1
    assert out.command(SendToAgent, tried + 1).delivery.text == "dos"
    [letter] = line.letters
    assert (letter.delivery.text, letter.direction, letter.reason) == ("uno", "to_agent", "500")
    assert first.token != out.of(SendToAgent)[-1].token


def test_what_is_refused_is_a_dead_letter_at_once(line: Line) -> None:
    line.begin(active_chat(USER, "uno", "dos"))
    out = line.outside
    out.failed(out.wait_for(SendToAgent), RemoteRefused("400"))
    assert out.command(SendToAgent, 2).delivery.text == "dos"
    assert [letter.delivery.text for letter in line.letters] == ["uno"]


def test_a_text_that_the_channel_refuses_is_tried_as_often_as_set_and_then_dead(embedded: Place) -> None:
    line = Line(embedded, retries=2)
    owed = [Delivery(id=f"c-u{n}", text=str(n), owed_since_ms=now_ms()) for n in (1, 2)]
    line.begin(active_chat(USER, to_user=owed))
    out = line.outside
    for number in (1, 2, 3):
        assert out.command(SendToUser, number).delivery == owed[0]
        out.failed(out.wait_for(SendToUser, number), RemoteRefused("400"))
    assert out.command(SendToUser, 4).delivery == owed[1]
    assert [letter.delivery for letter in line.letters] == [owed[0]]


def test_one_direction_that_fails_does_not_hold_up_the_other(line: Line) -> None:
    line.begin(active_chat(USER, "hola"))
    out = line.outside
    out.failed(out.wait_for(SendToAgent), RemoteUnavailable("down", retry_after_s=60.0))
    out.hears(out.wait_for(Poll), AgentWrote("¿sí?"))
    assert out.command(SendToUser).delivery.text == "¿sí?"


def test_a_late_outcome_is_dropped(line: Line) -> None:
    line.begin(active_chat(USER, "hola"))
    out = line.outside
    poll, text = out.wait_for(Poll), out.wait_for(SendToAgent)
    out.failed(text, DeskError("503", verdict="broken"))
    wait_for(lambda: not out.is_held(poll))
    before = line.record
    assert before.session is not None
    assert before.session.health == "broken"
    out.hears(poll, AgentWrote("nobody hears this twice"))
    out.done(text, DeliveredToAgent("c-a1", before.session.sending))
    out.failed(poll, RemoteRefused("late"))
    line.ref.tell(RetryDue(Lane.POLL, poll.token))
    line.handled()
    assert line.record == before
    assert line.heard.of(Failed) == []


def test_an_outcome_that_comes_twice_counts_once(line: Line) -> None:
    line.begin(active_chat(USER))
    out = line.outside
    poll = out.wait_for(Poll)
    out.hears(poll, AgentWrote("una vez"))
    out.hears(poll, AgentWrote("una vez"))
    line.handled()
    assert [owed.text for owed in line.record.to_user] == ["una vez"]
    assert len(out.of(Poll)) == 2


def test_a_session_that_breaks_is_repaired_although_a_text_waits_to_be_tried_again(line: Line) -> None:
    line.begin(active_chat(USER, "hola"))
    out = line.outside
    poll = out.wait_for(Poll)
    out.failed(out.wait_for(SendToAgent), RemoteUnavailable("500", retry_after_s=60.0))
    line.handled()
    out.failed(poll, DeskError("503", verdict="broken"))
    repair = out.wait_for(RepairSession)
    out.done(repair, SessionStepped(desk_session().sending, Turn("broken", "ok")))
    assert out.command(SendToAgent, 2).delivery.text == "hola"
