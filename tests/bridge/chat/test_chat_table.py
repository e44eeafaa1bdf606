"""Every cell of the chat's table, against a copy of it that is written out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from bridge.chat.machine import Chat
from bridge.chat.table import TABLE
from bridge.events import Event
from bridge.messages import Ask
from bridge.records import ChatRecord, ChatState, ContextEntry, Delivery, OwedBotState, encode_record

from chat_stage import CONNECT, FINISH, REQUEST, SESSION, left, policy, said, wrote  # isort: skip

# One row an event, one column a state; the cell is the next state, a dot an event that is ignored.
GRID = """
event                  new          connecting   on_hold   active    closing   closed  failed
ConnectRequested       connecting   connecting   on_hold   active    closing   .       .
FinishRequested        new          closing      closing   closing   closing   .       .
UserMessageReceived    new          connecting   on_hold   active    closing   .       .
LeaveRequested         new          closing      closing   closing   closing   .       .
ContactReady           .            connecting   .         .         .         .       .
ContactBlocked         .            closing      .         .         .         .       .
CaseOpened             .            connecting   .         .         closing   .       .
SessionOpened          .            connecting   .         .         .         .       .
ChatRequested          .            connecting   .         .         closing   .       .
ConnectRefused         .            closing      .         .         .         .       .
ConnectOverdue         .            closing      .         .         .         .       .
ChatQuarantined        .            closing      closing   closing   closing   .       .
SessionStale           .            connecting   .         .         .         .       .
SessionPolled          .            connecting   on_hold   active    closing   .       .
SessionStepped         .            connecting   on_hold   active    closing   .       .
SessionBroke           .            connecting   on_hold   active    closing   .       .
TextFound              .            connecting   on_hold   active    closing   .       .
SessionExpired         .            closing      closing   closing   closing   .       .
DeskUnreachable        .            closing      closing   closing   closing   .       .
ChatQueued             .            on_hold      on_hold   .         .         .       .
QueueMoved             .            connecting   on_hold   .         .         .       .
ChatRefused            .            closing      closing   closing   closing   .       .
ChatEstablished        .            active       active    active    .         .       .
ChatTransferred        .            .            .         active    .         .       .
AgentWrote             .            connecting   on_hold   active    closing   .       .
AgentUnreadable        .            connecting   on_hold   active    closing   .       .
AgentTyped             .            connecting   on_hold   active    closing   .       .
AgentLeft              .            .            .         active    .         .       .
TransferBegan          .            .            .         active    .         .       .
FileRequested          .            connecting   on_hold   active    closing   .       .
ChatEnded              .            closing      closing   closing   closing   .       .
DeskLeft               .            .            .         .         closing   .       .
DeskSilent             .            .            .         .         closing   .       .
DeliveredToAgent       .            connecting   on_hold   active    closing   .       .
UndeliverableToAgent   .            connecting   on_hold   active    closing   .       .
FileAttached           .            connecting   on_hold   active    closing   .       .
FileRejected           .            connecting   on_hold   active    closing   .       .
DeliveredToUser        .            connecting   on_hold   active    closing   .       .
UndeliverableToUser    .            connecting   on_hold   active    closing   .       .
BotTold                .            .            .         .         closing   .       .
BotUntold              .            .            .         .         closing   .       .
WaitExpired            .            .            closing   .         .         .       .
"""

_HEAD, *_ROWS = (line.split() for line in GRID.strip().splitlines())
EXPECTED = {(row[0], state): cell for row in _ROWS for state, cell in zip(_HEAD[1:], row[1:], strict=True)}


def kinds(base: type[Event]) -> Iterator[type[Event]]:
    """Every event that is not a base of others."""
    below = base.__subclasses__()
    yield from (kind for child in below for kind in kinds(child))
    if not below:
        yield base


KINDS: dict[str, Any] = {kind.__name__: kind for kind in kinds(Event)}

FROM_FRONT_DOOR = {
    "ConnectRequested": CONNECT,
    "FinishRequested": FINISH,
    "UserMessageReceived": wrote("new"),
    "LeaveRequested": left(),
}
VALUES: dict[str, Any] = {
    "session": SESSION,
    "sending": SESSION.sending,
    "receiving": SESSION.receiving,
    "turn": None,
    "context": (ContextEntry(user_id="1", client="c", timestamp=1, text="x", sender="bot", ttl=""),),
    "code": "refused",
    "served": True,
    "typing": True,
    "position": 1,
    "wait_s": 2.0,
}


def example(name: str) -> Any:
    """An event of this kind. Its texts name no delivery, so that only its cell can matter."""
    if name in FROM_FRONT_DOOR:
        return FROM_FRONT_DOOR[name]
    fields = msgspec.structs.fields(KINDS[name])
    return KINDS[name](**{field.name: VALUES.get(field.name, "other") for field in fields})


def chat_in(state: ChatState) -> Chat:
    """A chat in this state that owes something to everybody, so that it does not end by itself."""
    if state is ChatState.NEW:
        return Chat(policy(), new_id=lambda: "chat")
    owed = Delivery(id="chat-a1", text="owed", owed_since_ms=0, message=said("owed"))
    record = ChatRecord(
        chat_id="chat",
        request=REQUEST,
        state=state,
        opened_at_ms=0,
        ask=Ask("replies", "1"),
        contact_id="contact",
        case_id="case",
        session=SESSION,
        requested=True,
        leaving=state is ChatState.CLOSING,
        to_agent=[owed],
        to_user=[msgspec.structs.replace(owed, id="chat-u2", message=None)],
        to_bot=OwedBotState(state="success", due_at_ms=0) if state is ChatState.CLOSING else None,
    )
    return Chat(policy(), record, new_id=lambda: "chat")


def test_the_grid_names_every_event_and_every_state() -> None:
    assert {event for event, _ in EXPECTED} == set(KINDS)
    assert {state for _, state in EXPECTED} == {state.value for state in ChatState} == {state.value for state in TABLE}


@pytest.mark.parametrize(("event", "state"), EXPECTED, ids=lambda value: value)
def test_a_cell_leads_where_the_grid_says(event: str, state: str) -> None:
    expected = EXPECTED[event, state]
    chat = chat_in(ChatState(state))
    before = encode_record(chat.record) if chat.record else b""
    step = chat.apply([example(event)], busy=(), now_ms=1_000)
    if expected == ".":
        assert (step.ignored, step.flight, step.writes, step.answers) == ([event], [], False, [])
        assert (encode_record(chat.record) if chat.record else b"") == before
    else:
        assert (chat.state.value, step.ignored) == (expected, [])
        assert [(line.event, line.before.value, line.after.value) for line in step.flight] == [(event, state, expected)]


@pytest.mark.parametrize(("event", "state"), EXPECTED, ids=lambda value: value)
def test_no_cell_loses_what_the_user_wrote(event: str, state: str) -> None:
    chat = chat_in(ChatState(state))
    owed = [delivery.message for delivery in chat.record.to_agent] if chat.record else []
    step = chat.apply([example(event)], busy=(), now_ms=1_000)
    kept = [delivery.message for delivery in chat.record.to_agent] if chat.record else []
    buried = [letter.delivery.message for letter in step.dead_letters]
    for message in owed:
        assert [*kept, *step.context, *buried].count(message) == 1
