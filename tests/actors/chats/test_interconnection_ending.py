"""How a chat ends, and how the wait on hold ends."""

from __future__ import annotations

import time

from actor_parts import (
    Place,
    active_chat,
    chat_record,
    now_ms,
    wants_chat,
)
from chat_bench import USER, Line, on_hold

from bridge.actors.protocol import Idle, Request, WaitDue
from bridge.chat.machine import LAST_TEXTS_MS
from bridge.commands import (
    EnsureContact,
    LeaveDesk,
    Poll,
    SendToUser,
    TellBot,
)
from bridge.events import (
    AgentWrote,
    BotTold,
    ChatEnded,
    ChatQueued,
    DeliveredToUser,
    DeskLeft,
)
from bridge.messages import (
    ConnectRequested,
    FinishRequested,
)
from bridge.records import ChatState, OwedBotState

# --- ending ---------------------------------------------------------------------------------------------------------


def test_a_chat_that_ends_is_over_only_when_nothing_is_owed(line: Line) -> None:
    line.begin(active_chat(USER))
    out = line.outside
    out.hears(out.wait_for(Poll), AgentWrote("adiós"), ChatEnded("agent", served=True))
    bye = out.wait_for(SendToUser)
    assert (line.record.state, line.ended) == (ChatState.CLOSING, None)
    out.done(bye, DeliveredToUser(out.command(SendToUser).delivery.id))
    out.done(out.wait_for(TellBot), BotTold())
    assert line.heard.wait_for(Idle) == [Idle(USER, 0)]
    assert line.store.chat(USER) is None
    assert line.ended is not None
    assert line.ended.state is ChatState.CLOSED


def test_one_who_is_told_more_after_the_end_begins_anew(line: Line) -> None:
    line.begin(active_chat(USER))
    out = line.outside
    out.hears(out.wait_for(Poll), ChatEnded("agent", served=True))
    out.done(out.wait_for(TellBot), BotTold())
    line.heard.wait_for(Idle)
    old = line.ended
    line.entry(ConnectRequested(wants_chat(USER)))
    out.wait_for(EnsureContact)
    assert old is not None
    assert line.record.chat_id != old.chat_id


def left(line: Line) -> Request:
    """A chat that was finished and that the desk has ended at our request; the poll that is still open."""
    line.begin(active_chat(USER))
    out = line.outside
    poll = out.wait_for(Poll)
    line.entry(FinishRequested(USER))
    out.done(out.wait_for(LeaveDesk), DeskLeft())
    line.handled()
    assert out.is_held(poll), "the agent's last texts may still come"
    return poll


def test_the_agents_last_texts_are_read_after_the_desk_ended_the_chat(line: Line) -> None:
    out = line.outside
    out.hears(left(line), AgentWrote("your number is 4711"), ChatEnded("client", served=True))
    text = out.wait_for(SendToUser)
    assert out.command(SendToUser).delivery.text == "your number is 4711"
    out.done(text, DeliveredToUser(out.command(SendToUser).delivery.id))
    out.done(out.wait_for(TellBot), BotTold())
    line.heard.wait_for(Idle)
    assert len(out.of(Poll)) == 1


def test_a_desk_that_answers_the_last_poll_with_nothing_has_nothing_more(line: Line) -> None:
    out = line.outside
    out.done(left(line))
    out.done(out.wait_for(TellBot), BotTold())
    line.heard.wait_for(Idle)


def test_a_desk_that_holds_the_last_poll_is_not_waited_for(line: Line) -> None:
    poll = left(line)
    line.outside.wait_for(TellBot)
    assert not line.outside.is_held(poll)


def test_the_wait_for_the_last_poll_goes_on_where_it_was_when_the_chat_is_restored(line: Line) -> None:
    left_at_ms = now_ms() - LAST_TEXTS_MS + 500
    line.begin(active_chat(USER, state=ChatState.CLOSING, leaving=True, left_at_ms=left_at_ms))
    line.outside.wait_for(Poll)
    line.heard.wait_for(Idle)


def test_a_restored_chat_that_owes_nothing_more_is_written_down_as_over(line: Line) -> None:
    line.begin(chat_record(USER, state=ChatState.CLOSING, leaving=True, end=ChatState.CLOSED))
    line.heard.wait_for(Idle)
    assert line.store.chat(USER) is None
    assert line.ended is not None
    assert line.ended.state is ChatState.CLOSED


def test_the_bot_is_told_after_its_delay_and_not_before(embedded: Place) -> None:
    line = Line(embedded, bot_delay_s={"success": 0.15})
    line.begin(active_chat(USER))
    out, began_s = line.outside, time.monotonic()
    out.hears(out.wait_for(Poll), ChatEnded("agent", served=True))
    out.wait_for(TellBot)
    assert 0.14 <= time.monotonic() - began_s < 5


def test_a_delay_goes_on_where_it_was_when_the_chat_is_restored(line: Line) -> None:
    due = OwedBotState(state="success", due_at_ms=now_ms() + 150)
    began_s = time.monotonic()
    line.begin(active_chat(USER, state=ChatState.CLOSING, session=None, to_bot=due))
    line.outside.wait_for(TellBot)
    assert 0.13 <= time.monotonic() - began_s < 5


# --- waiting --------------------------------------------------------------------------------------------------------


def test_the_wait_on_hold_ends_as_the_operator_wants(embedded: Place) -> None:
    line = Line(embedded, max_wait_s=0.15)
    line.begin(active_chat(USER, state=ChatState.CONNECTING, agent_name=""))
    out, began_s = line.outside, time.monotonic()
    out.hears(out.wait_for(Poll), ChatQueued(1))
    out.wait_for(LeaveDesk)
    assert 0.14 <= time.monotonic() - began_s < 5
    assert line.record.to_bot is not None
    assert line.record.to_bot.state == "timeout"


def test_a_restored_wait_counts_from_when_it_began(embedded: Place) -> None:
    line = Line(embedded, max_wait_s=60.0)
    line.begin(on_hold(held_since_ms=now_ms() - 59_900))
    line.outside.wait_for(LeaveDesk)


def test_the_end_of_another_chats_wait_is_nobodys(embedded: Place) -> None:
    line = Line(embedded, max_wait_s=60.0)
    line.begin(on_hold())
    line.ref.tell(WaitDue("an earlier chat"))
    assert line.handled()["state"] == "on_hold"
