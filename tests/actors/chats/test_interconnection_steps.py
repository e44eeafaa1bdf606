"""An interconnection makes one step after the other: each is written before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest
from actor_parts import (
    active_chat,
    desk_session,
    half_with,
    said,
    wants_chat,
)
from chat_bench import USER, Line

from bridge.actors.inbox.replies import Replies
from bridge.actors.protocol import (
    Failed,
    Idle,
)
from bridge.codecs.liveagent.session import read
from bridge.commands import (
    EnsureContact,
    LeaveDesk,
    OpenCase,
    OpenSession,
    Poll,
    RequestChat,
    SendToAgent,
    SendToUser,
)
from bridge.errors import RemoteRefused, StoreUnavailable
from bridge.events import (
    AgentWrote,
    CaseOpened,
    ChatEstablished,
    ChatQueued,
    ChatRequested,
    ContactReady,
    DeliveredToAgent,
    SessionOpened,
)
from bridge.messages import (
    Answer,
    ConnectRequested,
    FinishRequested,
)
from bridge.records import ChatState

# --- one step after the other ---------------------------------------------------------------------------------------


def test_a_chat_opens_step_by_step_and_each_is_written_before_the_next_is_asked(line: Line) -> None:
    out, session = line.outside, desk_session()
    line.begin()
    line.entry(ConnectRequested(wants_chat(USER)))
    out.done(out.wait_for(EnsureContact), ContactReady("003"))
    out.done(out.wait_for(OpenCase), CaseOpened("500"))
    out.done(out.wait_for(OpenSession), SessionOpened(session))
    out.done(out.wait_for(RequestChat), ChatRequested(desk_session(sequence=1)))
    out.hears(out.wait_for(Poll), ChatQueued(2))
    out.wait_for(SendToUser)
    out.wait_for(Poll, 2)
    kinds = [type(request.command) for request in out.asked]
    written: dict[type, Any] = dict(zip(kinds, out.written, strict=True))
    assert set(kinds) == {EnsureContact, OpenCase, OpenSession, RequestChat, Poll, SendToUser}
    assert all(out.written), "something was asked before the chat was on record"
    assert written[OpenCase].contact_id == "003"
    assert written[OpenSession].case_id == "500"
    assert written[RequestChat].session == session
    polled = read(written[Poll].session)
    assert (written[Poll].requested, polled.sequence, polled.ack) == (True, 1, 0)
    assert line.record.state is ChatState.ON_HOLD
    assert line.place.inbox(USER) == []


def test_the_ack_is_written_with_what_came_before_the_next_poll_confirms_it(line: Line) -> None:
    line.begin(active_chat(USER))
    out = line.outside
    out.hears(out.wait_for(Poll), AgentWrote("uno"), AgentWrote("dos"))
    command = out.command(Poll, 2)
    written = out.written[out.asked.index(out.of(Poll)[1])]
    assert written is not None
    assert written.session is not None
    assert [owed.text for owed in written.to_user] == ["uno", "dos"]
    assert read(written.session).ack == read(command.session).ack == 0


def test_texts_to_the_agent_go_one_at_a_time_in_order_under_the_next_number(line: Line) -> None:
    line.begin(active_chat(USER))
    out = line.outside
    for text in ("1", "2", "3"):
        line.says(text)
    for number in (1, 2, 3):
        request = out.wait_for(SendToAgent, number)
        command = out.command(SendToAgent, number)
        line.handled()
        assert len(out.of(SendToAgent)) == number, "a text left before the one in front of it was taken"
        assert (command.delivery.text, read(command.session).sequence) == (str(number), number - 1)
        out.done(request, DeliveredToAgent(command.delivery.id, half_with(command.session, sequence=number)))
    line.handled()
    assert line.record.to_agent == []


def test_an_entry_leaves_the_inbox_with_the_step_that_it_led_to(line: Line) -> None:
    line.begin(active_chat(USER))
    line.says("hola")
    line.handled()
    assert line.place.inbox(USER) == []
    assert [owed.text for owed in line.record.to_agent] == ["hola"]


def test_a_word_without_a_chat_becomes_context_and_the_actor_is_let_go(line: Line) -> None:
    line.begin()
    line.says("hola")
    assert line.heard.wait_for(Idle) == [Idle(USER, 1)]
    assert [entry.text for entry in line.store.context(USER)] == ["hola"]
    assert line.place.inbox(USER) == []
    assert line.store.chat(USER) is None


def test_an_answer_is_given_after_the_step_is_written(line: Line) -> None:
    replies = Replies(line.place.connections.client(), line.store.keys.replies("w1"))
    replies.start()
    ask = replies.expect()
    line.begin()
    line.entry(FinishRequested(USER, ask))
    assert replies.wait(ask, timeout_s=5).code == "absent"
    assert line.place.inbox(USER) == []
    replies.stop()


def test_an_answer_that_cannot_be_given_stops_nothing(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise StoreUnavailable("down")

    replies = Replies(line.place.connections.client(), line.store.keys.replies("w1"))
    monkeypatch.setattr(line.store, "reply", refuse)
    line.begin(active_chat(USER))
    line.entry(FinishRequested(USER, replies.expect()))
    line.outside.wait_for(LeaveDesk)
    assert line.heard.of(Failed) == []


def test_what_was_said_before_is_read_when_the_agent_comes(line: Line) -> None:
    line.begin(active_chat(USER, state=ChatState.ON_HOLD, agent_name=""))
    line.store.post(said("antes"), None)
    line.outside.hears(line.outside.wait_for(Poll), ChatEstablished("Luz"))
    assert "antes" in line.outside.command(SendToAgent).delivery.text


def test_an_event_that_the_state_does_not_know_changes_nothing(line: Line) -> None:
    line.begin(active_chat(USER))
    poll = line.outside.wait_for(Poll)
    before = line.record
    line.outside.done(poll, ContactReady("another"))
    line.outside.wait_for(Poll, 2)
    assert line.record == before


# --- being asked ----------------------------------------------------------------------------------------------------


def test_it_says_how_it_is(line: Line) -> None:
    line.begin(active_chat(USER, "uno", "dos", session=desk_session(ack=3, sequence=5)))
    line.outside.wait_for(Poll)
    snapshot = line.handled()
    shown = {name: snapshot[name] for name in ("user", "state", "at_desk", "owed_to_agent", "agent", "mailbox")}
    assert shown == {
        "user": USER,
        "state": "active",
        "at_desk": {"ack": 3, "sequence": 5},
        "owed_to_agent": 2,
        "agent": "Luz",
        "mailbox": 0,
    }
    assert snapshot["under_way"] == {"desk": "SendToAgent", "poll": "Poll"}
    assert "key" not in str(snapshot), "the session's key is a secret"


def test_one_without_a_chat_says_so(line: Line) -> None:
    line.begin()
    snapshot = line.handled()
    assert (snapshot["state"], snapshot["chat"], snapshot["under_way"]) == ("new", "", {})


def test_a_refused_connect_is_answered_with_the_reason(line: Line) -> None:
    replies = Replies(line.place.connections.client(), line.store.keys.replies("w1"))
    replies.start()
    ask = replies.expect()
    line.begin()
    line.entry(ConnectRequested(wants_chat(USER), ask))
    line.outside.failed(line.outside.wait_for(EnsureContact), RemoteRefused("no such field"))
    answer: Answer = replies.wait(ask, timeout_s=5)
    assert (answer.code, "no such field" in answer.sentence) == ("refused", True)
    replies.stop()
