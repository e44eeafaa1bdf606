"""An interconnection whose store does not answer, or belongs to another owner."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from actor_parts import (
    active_chat,
    desk_session,
    received,
    said,
    settle,
    take,
    wait_for,
)
from chat_bench import USER, Away, Line, on_hold

from bridge.actors.protocol import (
    Drained,
    Entry,
    Failed,
    Request,
)
from bridge.commands import (
    OpenSession,
    Poll,
    SendToAgent,
    SendToUser,
)
from bridge.errors import RemoteUnavailable
from bridge.events import (
    AgentWrote,
    ChatEstablished,
    DeliveredToAgent,
)
from bridge.records import ChatState

# --- the store is away ----------------------------------------------------------------------------------------------


def test_a_step_waits_for_the_store_and_nothing_is_asked_before_it_is_written(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.begin(active_chat(USER))
    out = line.outside
    poll = out.wait_for(Poll)
    away = Away(line.store, "commit", monkeypatch)
    away.left = 5
    away.then = lambda: out.asked.append(Request(OpenSession(), line.ref, 0))
    asked_before = len(out.asked)
    out.hears(poll, AgentWrote("hola"))
    out.wait_for(SendToUser)
    while_away = out.asked[asked_before : asked_before + 5]
    assert [type(request.command) for request in while_away] == [OpenSession] * 5
    assert [owed.text for owed in line.record.to_user] == ["hola"]
    assert away.tries == 6


def test_context_that_cannot_be_read_is_waited_for(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    line.begin(on_hold())
    line.store.post(said("antes"), None)
    Away(line.store, "context", monkeypatch).left = 1
    line.outside.hears(line.outside.wait_for(Poll), ChatEstablished("Luz"))
    assert "antes" in line.outside.command(SendToAgent).delivery.text


@pytest.mark.parametrize("method", ["commit", "context"])
def test_nobody_waits_for_the_store_past_the_end_of_the_lease(
    line: Line, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    line.begin(on_hold())
    poll = line.outside.wait_for(Poll)
    away = Away(line.store, method, monkeypatch)
    away.left, away.then = 3, line.lease.give_up
    line.outside.hears(poll, ChatEstablished("Luz"))
    wait_for(lambda: not line.ref.is_alive())
    assert away.tries == 1
    assert line.record.state is ChatState.ON_HOLD
    assert line.outside.of(SendToAgent) == []


# --- fenced ---------------------------------------------------------------------------------------------------------


def fence_by_another(line: Line) -> None:
    line.store.release(line.lease)
    take(line.store, USER, "w2")


def fence_by_time(line: Line) -> None:
    line.lease.give_up()


@pytest.mark.parametrize("fence", [fence_by_another, fence_by_time])
def test_one_who_is_fenced_stops_with_its_poll_and_does_nothing_more(line: Line, fence: Callable[[Line], None]) -> None:
    line.begin(active_chat(USER, "hola"))
    out = line.outside
    poll, text = out.wait_for(Poll), out.wait_for(SendToAgent)
    fence(line)
    before = line.place.everything()
    asked = len(out.asked)
    out.done(text, DeliveredToAgent("c-a1", desk_session(sequence=1).sending))
    line.ref.tell(Entry(line.lease.partition, "1-0", received("after")))
    out.failed(poll, RemoteUnavailable("500"))
    wait_for(lambda: not line.ref.is_alive())
    wait_for(lambda: not out.is_held(poll))
    settle()
    assert line.place.everything() == before
    assert len(out.asked) == asked
    assert line.heard.of(Failed) == [], "the next owner has the chat: nobody here may raise it again"
    assert line.heard.of(Drained) == [Drained(USER)]


def test_one_who_is_stopped_takes_its_poll_and_its_timers_along(line: Line) -> None:
    line.begin(active_chat(USER, "hola"))
    out = line.outside
    poll = out.wait_for(Poll)
    out.failed(out.wait_for(SendToAgent), RemoteUnavailable("500", retry_after_s=0.05))
    line.handled()
    line.ref.stop()
    wait_for(lambda: not out.is_held(poll))
    assert len(out.of(SendToAgent)) == 1
