"""After an unexpected error a chat goes on from its record, and a chat that fails again and again is ended."""

from __future__ import annotations

import pytest
from actor_parts import (
    active_chat,
    desk_session,
    received,
    said,
    settle,
    wait_for,
)
from chat_bench import USER, Away, House, Line, Stumbling

from bridge.actors.chats.interconnection import Interconnection
from bridge.actors.protocol import (
    Entry,
    Failed,
    Idle,
    Resume,
    Snapshot,
)
from bridge.actors.store.store import Commit
from bridge.chat.machine import Chat
from bridge.commands import (
    LeaveDesk,
    Poll,
    SendToAgent,
    SendToUser,
    TellBot,
)
from bridge.events import (
    AgentWrote,
    BotTold,
    ChatEnded,
    DeliveredToAgent,
    DeskLeft,
)


def test_one_who_fell_says_so_once_ends_its_poll_and_is_deaf_from_then_on(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    Stumbling("bad", monkeypatch)
    line.begin(active_chat(USER))
    out = line.outside
    poll = out.wait_for(Poll)
    before = line.record
    for text in ("bad", "good", "good"):
        line.says(text)
    [fallen] = line.heard.wait_for(Failed)
    assert fallen == Failed(USER, "ZeroDivisionError on Entry")
    wait_for(lambda: not out.is_held(poll))
    out.hears(poll, AgentWrote("late"))
    assert line.ref.ask(Snapshot(), timeout=5) is None
    assert line.record == before, "it built on what was never written"
    assert len(line.place.inbox(USER)) == 3
    assert line.heard.of(Failed) == [fallen]


def test_after_an_unforeseen_error_the_chat_goes_on_with_nothing_lost_and_nothing_twice(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    Stumbling("3", monkeypatch)
    texts = [str(number) for number in range(1, 9)]
    house.open(active_chat(USER))
    house.outside.wait_for(Poll)
    house.posts(*texts)
    assert house.agent_reads(len(texts)) == texts
    wait_for(lambda: house.line.place.inbox(USER) == [] and house.line.record.to_agent == [])
    assert len(house.started) == 2
    assert not house.started[0].is_alive()


@pytest.mark.parametrize("method", ["chat", "read"])
def test_one_who_is_raised_waits_for_a_store_that_is_away(
    line: Line, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    line.store.commit(line.lease, Commit(user_id=USER, record=active_chat(USER)))
    line.inbox.append(received("hola"))
    away = Away(line.store if method == "chat" else line.inbox, method, monkeypatch)
    away.left = 1
    line.ref = Interconnection.start(
        line.around, USER, line.lease, registry=line.heard.ref, record=None, first_poll_delay_s=0.0
    )
    line.ref.tell(Resume(reload=True))
    assert line.outside.command(SendToAgent).delivery.text == "hola"
    assert line.heard.of(Failed) == []


def test_an_entry_that_was_found_at_a_reload_counts_once_when_it_is_told_as_well(line: Line) -> None:
    line.store.commit(line.lease, Commit(user_id=USER, record=active_chat(USER)))
    events = [received("1"), received("2")]
    for event in events:
        line.inbox.append(event)
    entry_ids = line.place.inbox(USER)
    line.ref = Interconnection.start(
        line.around, USER, line.lease, registry=line.heard.ref, record=None, first_poll_delay_s=0.0
    )
    line.ref.tell(Resume(reload=True))
    for entry_id, event in zip(entry_ids, events, strict=True):
        line.ref.tell(Entry(line.lease.partition, entry_id, event))
    line.says("3")
    line.handled()
    assert [owed.text for owed in line.record.to_agent] == ["1", "2", "3"]
    out = line.outside
    out.hears(out.wait_for(Poll), ChatEnded("agent", served=True))
    out.done(out.wait_for(SendToAgent), DeliveredToAgent("c-a1", desk_session(sequence=1).sending))
    out.done(out.wait_for(TellBot), BotTold())
    assert line.heard.wait_for(Idle) == [Idle(USER, 3)]


def test_an_error_in_the_answer_of_a_poll_has_the_poll_made_again_with_the_same_ack(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    Stumbling("¿hola?", monkeypatch)
    house.open(active_chat(USER))
    out = house.outside
    first = out.wait_for(Poll)
    out.hears(first, AgentWrote("¿hola?"))
    again = out.wait_for(Poll, 2)
    assert out.command(Poll, 2).session == out.command(Poll).session
    out.hears(again, AgentWrote("¿hola?"))
    assert out.command(SendToUser).delivery.text == "¿hola?"
    assert [owed.text for owed in house.line.record.to_user] == ["¿hola?"]


def test_a_chat_that_an_entry_fells_again_and_again_ends_where_everybody_sees_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    Stumbling("poison", monkeypatch, times=1000)
    house.open(active_chat(USER))
    out = house.outside
    out.wait_for(Poll)
    house.posts("fine", "poison", "later")
    out.done(out.wait_for(LeaveDesk), DeskLeft())
    assert out.command(TellBot).state == "timeout"
    out.done(out.wait_for(TellBot), BotTold())
    wait_for(lambda: house.line.ended)
    assert [letter.delivery.text for letter in house.line.letters] == ["poison", "later"]
    assert [entry.text for entry in house.line.store.context(USER)] == ["fine"]
    assert house.line.place.inbox(USER) == []
    assert len(house.started) == 5
    assert house.line.store.post(said("even later"), None) == "context"
    wait_for(lambda: not any(ref.is_alive() for ref in house.started))
    assert not any(out.is_held(poll) for poll in out.of(Poll))


def test_a_chat_whose_record_would_grow_too_large_ends_where_everybody_sees_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.actors.store.store.RECORD_BYTES", 20_000)
    house.open(active_chat(USER))
    out = house.outside
    out.wait_for(Poll)
    house.posts("x" * 30_000)
    out.done(out.wait_for(LeaveDesk), DeskLeft())
    out.done(out.wait_for(TellBot), BotTold())
    wait_for(lambda: house.line.ended)
    assert [len(letter.delivery.text) for letter in house.line.letters] == [30_000]
    assert house.line.place.inbox(USER) == []


def test_a_chat_that_cannot_even_be_ended_stays_on_record_and_nobody_begins_another(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house.open(active_chat(USER))
    house.outside.wait_for(Poll)
    before = house.line.record

    def stumble(*args: object, **options: object) -> None:
        raise ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr(Chat, "apply", stumble)
    house.posts("one", "two")
    wait_for(lambda: "could not even be ended" in caplog.text)
    wait_for(lambda: not any(ref.is_alive() for ref in house.started))
    house.posts("three")
    settle()
    assert len(house.started) == 5
    assert house.line.record == before
    assert len(house.line.place.inbox(USER)) == 3
