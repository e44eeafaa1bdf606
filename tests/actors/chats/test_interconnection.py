"""An interconnection: a step is written before it is acted on, and whatever goes wrong, the chat goes on from there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import gevent
import msgspec
import pytest
from actor_parts import (
    Heard,
    Place,
    active_chat,
    chat_record,
    desk_session,
    half_with,
    make_settings,
    now_ms,
    received,
    said,
    settle,
    take,
    wait_for,
    wants_chat,
)
from gevent.event import Event

from bridge.actors.base import Ref, mailbox_length, tell
from bridge.actors.chats import journal as recorder
from bridge.actors.chats import polling as listening
from bridge.actors.chats.interconnection import ChatContext, Interconnection
from bridge.actors.chats.registry import InterconnectionRegistry
from bridge.actors.inbox.redis import RedisInbox
from bridge.actors.inbox.replies import Replies
from bridge.actors.leases import Lease
from bridge.actors.protocol import (
    Drain,
    Drained,
    DrainPartitions,
    Entry,
    Failed,
    Failure,
    Idle,
    Outcome,
    PartitionGained,
    Request,
    Resume,
    RetryDue,
    Snapshot,
    WaitDue,
)
from bridge.actors.store.store import Commit, Store
from bridge.chat.machine import Chat
from bridge.chat.policy import ChatPolicy
from bridge.codecs.liveagent.session import read, receiving_half
from bridge.commands import (
    EnsureContact,
    Lane,
    LeaveDesk,
    OpenCase,
    OpenSession,
    Poll,
    RequestChat,
    SendToAgent,
    SendToUser,
    TellBot,
    lane_of,
)
from bridge.errors import BridgeError, DeskError, RemoteRefused, RemoteUnavailable, StoreUnavailable
from bridge.events import (
    AgentWrote,
    BotTold,
    CaseOpened,
    ChatEnded,
    ChatEstablished,
    ChatQueued,
    ChatRequested,
    ContactReady,
    DeliveredToAgent,
    DeliveredToUser,
    DeskLeft,
    SessionOpened,
    SessionPolled,
)
from bridge.events import Event as BridgeEvent
from bridge.messages import (
    Answer,
    ConnectRequested,
    FinishRequested,
    InboxEvent,
    Message,
    UserMessage,
    UserMessageReceived,
)
from bridge.records import ChatRecord, ChatState, DeadLetter, Delivery, OwedBotState, decode_record
from bridge.texts import Texts

USER = "5215573735001"
C = TypeVar("C", bound=Message)


class Outside:
    """All neighbours: keeps what they are asked, and the record as it was written at that moment."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.asked: list[Request] = []
        self.written: list[ChatRecord | None] = []
        self.polling: dict[int, gevent.Greenlet] = {}
        self._seen = 0

    def send(self, request: Request) -> None:
        self.asked.append(request)
        self.written.append(self._store.chat(USER))

    def poll(self, request: Request) -> gevent.Greenlet:
        self.send(request)
        held = self.polling[id(request)] = gevent.spawn(Event().wait)
        return held

    def of(self, kind: type[C]) -> list[Request]:
        return [request for request in self.asked if isinstance(request.command, kind)]

    def wait_for(self, kind: type[C], count: int = 1) -> Request:
        """The request of this kind that is the `count`th, as soon as it came."""
        wait_for(lambda: len(self.of(kind)) >= count)
        return self.of(kind)[count - 1]

    def command(self, kind: type[C], count: int = 1) -> C:
        command = self.wait_for(kind, count).command
        assert isinstance(command, kind)
        return command

    def done(self, request: Request, *events: BridgeEvent) -> None:
        """The neighbour did what it was asked."""
        tell(request.reply_to, Outcome(lane_of(request.command), request.token, events))

    def failed(self, request: Request, error: BridgeError) -> None:
        tell(request.reply_to, Failure(lane_of(request.command), request.token, error))

    def hears(self, request: Request, *events: BridgeEvent) -> None:
        """A poll brings these events, and its ack goes on."""
        assert isinstance(request.command, Poll)
        session = request.command.session
        known = read(session)
        half = receiving_half(msgspec.structs.replace(known, ack=known.ack + 1))
        self.done(request, SessionPolled(half), *events)

    def is_held(self, request: Request) -> bool:
        return not self.polling[id(request)].dead


class Line:
    """One interconnection with a real store; its registry is an ear."""

    def __init__(self, place: Place, **options: Any) -> None:
        settings = make_settings()
        delays: dict[Any, float] = {"blocked": 0.0, "timeout": 0.0, "success": 0.0}
        texts = Texts.from_settings(settings, {"whatsapp": 4096, "facebook": 2000})
        bot_delay_s = delays | options.pop("bot_delay_s", {})
        self.place = place
        self.store = place.store()
        self.inbox = place.engine()
        self.outside = Outside(self.store)
        self.around = ChatContext(
            self.store,
            ChatPolicy(texts=texts, bot_delay_s=bot_delay_s, **options),
            self.outside.send,
            self.outside.poll,
            lambda session: {"ack": read(session).ack, "sequence": read(session).sequence},
            self.inbox,
        )
        self.heard = Heard()
        self.lease: Lease = take(self.store, USER)
        self._entries = 0

    def begin(self, record: ChatRecord | None = None, *, first_poll_delay_s: float = 0.0) -> Ref:
        """Starts it, with a chat that is on record or with none."""
        if record is not None:
            self.store.commit(self.lease, Commit(user_id=USER, record=record))
        stored = self.store.chat(USER)
        self.ref: Ref = Interconnection.start(
            self.around, USER, self.lease, registry=self.heard.ref, record=stored, first_poll_delay_s=first_poll_delay_s
        )
        if stored is not None:
            self.ref.tell(Resume())
        return self.ref

    def entry(self, event: InboxEvent) -> str:
        """Lays an event into the inbox and tells it, as the feed and the registry do."""
        self.inbox.append(event)
        entry = self.inbox.read(USER)[-1]
        self.ref.tell(entry)
        return entry.entry_id

    def says(self, text: str) -> str:
        return self.entry(received(text))

    def handled(self) -> dict[str, Any]:
        """All that was told has been handled; what it says of itself then."""
        snapshot: Any = self.ref.ask(Snapshot(), timeout=5)
        return dict(snapshot)

    @property
    def record(self) -> ChatRecord:
        record = self.store.chat(USER)
        assert record is not None
        return record

    @property
    def ended(self) -> ChatRecord | None:
        raw: Any = self.place.raw.get(self.place.keys.of(self.lease.partition, "ended", USER))
        return decode_record(raw) if raw else None

    @property
    def letters(self) -> list[DeadLetter]:
        raw: Any = self.place.raw.xrange(self.place.keys.of(self.lease.partition, "dead"))
        return [msgspec.json.decode(fields[b"letter"], type=DeadLetter) for _, fields in raw]


@pytest.fixture
def line(embedded: Place) -> Line:
    return Line(embedded)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    # Full jitter has its own tests; here a try follows at once.
    monkeypatch.setattr("bridge.chat.retries.backoff_s", lambda *_, **__: 0.0)
    monkeypatch.setattr(recorder, "backoff_s", lambda *_, **__: 0.005)


# --- one step after the other -----------------------------------------------------------------------------------------


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


# --- ending -----------------------------------------------------------------------------------------------------------


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


def test_a_poll_is_ended_when_nothing_more_is_expected_of_it(line: Line) -> None:
    line.begin(active_chat(USER))
    out = line.outside
    poll = out.wait_for(Poll)
    line.entry(FinishRequested(USER))
    leaving = out.wait_for(LeaveDesk)
    assert out.is_held(poll), "the agent's last words may come until we left"
    out.done(leaving, DeskLeft())
    wait_for(lambda: not out.is_held(poll))
    line.handled()
    assert len(out.of(Poll)) == 1


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


# --- waiting ----------------------------------------------------------------------------------------------------------


def on_hold(**more: Any) -> ChatRecord:
    return active_chat(USER, **{"state": ChatState.ON_HOLD, "agent_name": "", "held_since_ms": now_ms(), **more})


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


# --- what fails -------------------------------------------------------------------------------------------------------


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


def test_a_desk_that_says_nothing_new_at_once_and_again_is_asked_slowly(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "EMPTY_POLL_S", 0.15)
    line.begin(active_chat(USER))
    out = line.outside
    ends_s = time.monotonic() + 0.6
    while time.monotonic() < ends_s:
        number = len(out.of(Poll))
        out.done(out.wait_for(Poll, number or 1))
        wait_for(lambda number=number: len(out.of(Poll)) > number)  # type: ignore[misc]
    assert 5 <= len(out.of(Poll)) <= 12


# --- the store is away ------------------------------------------------------------------------------------------------


class Away:
    """Makes one method of the store, or of the inbox, fail as often as it is told."""

    def __init__(self, store: Store | RedisInbox, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self._real: Callable[..., Any] = getattr(store, method)
        self.left = 0
        self.tries = 0
        self.then: Callable[[], None] = lambda: None
        monkeypatch.setattr(store, method, self._call)

    def _call(self, *args: Any, **options: Any) -> Any:
        self.tries += 1
        if self.left:
            self.left -= 1
            self.then()
            raise StoreUnavailable("down")
        return self._real(*args, **options)


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


# --- fenced -----------------------------------------------------------------------------------------------------------


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


# --- an error that nobody foresaw -------------------------------------------------------------------------------------


class Stumbling:
    """Lets `Chat.apply` raise when it meets a text, after it has changed the chat; as often as it is told."""

    def __init__(self, text: str, monkeypatch: pytest.MonkeyPatch, *, times: int = 1) -> None:
        real = Chat.apply

        def apply(chat: Chat, events: Any, **given: Any) -> Any:
            events = list(events)
            step = real(chat, events, **given)
            if self.left and any(_text(event) == text for event in events):
                self.left -= 1
                raise ZeroDivisionError("nobody foresaw this")
            return step

        self.left = times
        monkeypatch.setattr(Chat, "apply", apply)


def _text(event: Any) -> str:
    if isinstance(event, UserMessageReceived):
        return event.message.text
    return event.text if isinstance(event, AgentWrote) else ""


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


class House:
    """The real registry, feed and interconnections on one store; only the outside is ours."""

    def __init__(self, place: Place) -> None:
        self.line = Line(place)
        self.outside = self.line.outside
        self.started: list[Ref] = []
        self.registry: Ref = InterconnectionRegistry.start(self._start)
        self.feed = self.line.inbox

    def open(self, record: ChatRecord) -> None:
        store, lease = self.line.store, self.line.lease
        store.commit(lease, Commit(user_id=USER, record=record))
        self.registry.tell(PartitionGained(lease, tuple(store.chats(lease.partition)), 0.0))
        self.feed.assigned(lease.partition)
        self.feed.start(self.registry)

    def posts(self, *texts: str) -> None:
        for text in texts:
            message: UserMessage = said(text)
            assert self.line.store.post(message, UserMessageReceived(message)) == "inbox"

    def agent_reads(self, count: int) -> list[str]:
        """Takes texts as the desk does, a number once; what was read, as soon as it is so many."""
        taken: dict[int, str] = {}
        answered = 0
        while len(taken) < count:
            answered += 1
            request, command = self.outside.wait_for(SendToAgent, answered), self.outside.command(SendToAgent, answered)
            number = read(command.session).sequence + 1
            assert taken.setdefault(number, command.delivery.text) == command.delivery.text, "the desk dropped a text"
            half = half_with(command.session, sequence=number)
            self.outside.done(request, DeliveredToAgent(command.delivery.id, half))
        return [taken[number] for number in sorted(taken)]

    def _start(
        self, user_id: str, lease: Lease, *, registry: Ref, record: ChatRecord | None, first_poll_delay_s: float
    ) -> Ref:
        ref: Ref = Interconnection.start(
            self.line.around, user_id, lease, registry=registry, record=record, first_poll_delay_s=first_poll_delay_s
        )
        self.started.append(ref)
        return ref


@pytest.fixture
def house(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr("bridge.actors.chats.registry.RESTARTED_POLL_DELAY_S", 0.01)
    house = House(place)
    yield house
    house.feed.stop()


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


# --- taking over and handing over -------------------------------------------------------------------------------------


def test_the_first_poll_waits_for_its_delay_and_what_is_owed_does_not(line: Line) -> None:
    owed = [Delivery(id="c-u1", text="¿hola?", owed_since_ms=now_ms())]
    began_s = time.monotonic()
    line.begin(active_chat(USER, "hola", to_user=owed), first_poll_delay_s=1.5)
    out = line.outside
    out.wait_for(SendToAgent)
    out.wait_for(SendToUser)
    assert out.of(Poll) == []
    poll = out.wait_for(Poll)
    assert time.monotonic() - began_s >= 1.5
    out.hears(poll, AgentWrote("sí"))
    out.wait_for(Poll, 2)
    assert time.monotonic() - began_s < 1.5


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


# --- being asked ------------------------------------------------------------------------------------------------------


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
