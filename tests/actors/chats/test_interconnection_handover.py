"""Taking chats over from another owner, and draining them for the next one."""

from __future__ import annotations

import time
from typing import Any

import pytest
from actor_parts import (
    active_chat,
    chat_record,
    desk_session,
    now_ms,
    settle,
    take,
    wait_for,
)
from chat_bench import USER, Away, House, Line
from gevent.event import Event

from bridge.actors.base import mailbox_length
from bridge.actors.protocol import (
    Drain,
    Drained,
    DrainPartitions,
)
from bridge.codecs.liveagent.session import read
from bridge.commands import (
    OpenCase,
    Poll,
    SendToAgent,
    SendToUser,
    TellBot,
)
from bridge.errors import RemoteUnavailable
from bridge.events import (
    AgentWrote,
    BotTold,
    ChatEnded,
    DeliveredToAgent,
)
from bridge.records import Delivery


def test_the_first_poll_waits_for_its_delay_and_what_is_owed_does_not(line: Line) -> None:
    owed = [Delivery(id="c-u1", text="¿hola?", owed_since_ms=now_ms())]
    began_s = time.monotonic()
    line.begin(active_chat(USER, "hola", to_user=owed), first_poll_delay_s=0.5)
    out = line.outside
    poll = out.wait_for(Poll)
    assert time.monotonic() - began_s >= 0.5
    assert {type(request.command) for request in out.asked[: out.asked.index(poll)]} == {SendToAgent, SendToUser}
    out.hears(poll, AgentWrote("sí"))
    out.wait_for(Poll, 2)


def test_a_restored_chat_polls_on_from_its_ack_and_repeats_under_the_same_number(line: Line) -> None:
    session = desk_session(ack=7, sequence=4)
    line.begin(active_chat(USER, "hola", session=session))
    assert read(line.outside.command(Poll).session).ack == 7
    command = line.outside.command(SendToAgent)
    assert (read(command.session).sequence, command.delivery.id) == (4, "c-a1")


def test_a_restored_case_is_looked_for_before_another_is_opened(line: Line) -> None:
    line.begin(chat_record(USER, contact_id="003"))
    assert line.outside.command(OpenCase).again


def test_one_at_rest_says_so_at_once(line: Line) -> None:
    line.begin(active_chat(USER))
    poll = line.outside.wait_for(Poll)
    line.ref.tell(Drain())
    line.heard.wait_for(Drained)
    wait_for(lambda: not line.outside.is_held(poll))


def test_draining_finishes_what_is_under_way_and_begins_nothing(line: Line) -> None:
    line.begin(active_chat(USER, "uno", "dos"))
    out = line.outside
    text = out.wait_for(SendToAgent)
    line.ref.tell(Drain())
    line.says("tres")
    line.handled()
    assert line.heard.of(Drained) == [], "a text is still under way"
    out.done(text, DeliveredToAgent("c-a1", desk_session(sequence=1).sending))
    line.heard.wait_for(Drained)
    assert [owed.text for owed in line.record.to_agent] == ["dos", "tres"]
    assert line.record.session is not None
    assert read(line.record.session).sequence == 1
    assert len(out.of(SendToAgent)) == 1


def test_draining_does_not_wait_for_a_try_that_is_due_later(line: Line) -> None:
    line.begin(active_chat(USER, "hola"))
    out = line.outside
    out.failed(out.wait_for(SendToAgent), RemoteUnavailable("500", retry_after_s=60.0))
    line.handled()
    line.ref.tell(Drain())
    line.heard.wait_for(Drained)
    assert [owed.text for owed in line.record.to_agent] == ["hola"]


def test_draining_does_not_try_again_what_fails_meanwhile(line: Line) -> None:
    line.begin(active_chat(USER, "hola"))
    text = line.outside.wait_for(SendToAgent)
    line.ref.tell(Drain())
    line.outside.failed(text, RemoteUnavailable("500"))
    line.heard.wait_for(Drained)
    settle()
    assert len(line.outside.of(SendToAgent)) == 1


def test_draining_overtakes_a_try_that_has_just_become_due(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    line.begin(active_chat(USER, "hola"))
    text, store_is_back, away = line.outside.wait_for(SendToAgent), Event(), Away(line.store, "commit", monkeypatch)
    line.outside.failed(text, RemoteUnavailable("500", retry_after_s=0.05))
    away.left, away.then = 1, lambda: store_is_back.wait() and None
    line.says("and then")
    wait_for(lambda: away.tries == 1)
    line.ref.tell(Drain())
    wait_for(lambda: mailbox_length(line.ref) == 2)
    store_is_back.set()
    line.heard.wait_for(Drained)
    assert len(line.outside.of(SendToAgent)) == 1


def test_a_chat_that_ends_while_it_drains_is_at_rest_and_over(line: Line) -> None:
    line.begin(active_chat(USER))
    out = line.outside
    out.hears(out.wait_for(Poll), ChatEnded("agent", served=True))
    told = out.wait_for(TellBot)
    line.ref.tell(Drain())
    line.handled()
    assert line.heard.of(Drained) == []
    out.done(told, BotTold())
    line.heard.wait_for(Drained)
    assert line.ended is not None
    assert line.store.chat(USER) is None


def test_what_was_handed_over_goes_on_at_the_next_owner(line: Line) -> None:
    line.begin(active_chat(USER, "uno", "dos"))
    text = line.outside.wait_for(SendToAgent)
    line.ref.tell(Drain())
    line.outside.done(text, DeliveredToAgent("c-a1", desk_session(sequence=1).sending))
    line.heard.wait_for(Drained)
    line.ref.stop()
    line.lease.give_up()
    line.store.release(line.lease)
    line.lease = take(line.store, USER, "w2")
    line.begin()
    command = line.outside.command(SendToAgent, 2)
    assert (command.delivery.text, read(command.session).sequence) == ("dos", 1)


def test_a_house_is_drained_as_soon_as_its_chats_are(house: House) -> None:
    house.open(active_chat(USER, "hola"))
    text = house.outside.wait_for(SendToAgent)
    drain = DrainPartitions((house.line.lease.partition,), time.monotonic() + 30)
    at_rest: Any = house.registry.ask(drain, timeout=5)
    settle()
    assert not at_rest.is_set()
    house.outside.done(text, DeliveredToAgent("c-a1", desk_session(sequence=1).sending))
    assert at_rest.wait(timeout=5)
