"""One interconnection on a real store, its remotes played by the test; and what makes it or its store fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import gevent
import msgspec
import pytest
from actor_parts import (
    Heard,
    Place,
    active_chat,
    half_with,
    make_settings,
    now_ms,
    received,
    said,
    take,
    wait_for,
)
from gevent.event import Event

from bridge.actors.base import Ref, tell
from bridge.actors.chats.interconnection import ChatContext, Interconnection
from bridge.actors.chats.registry import InterconnectionRegistry
from bridge.actors.inbox.redis import RedisInbox
from bridge.actors.leases import Lease
from bridge.actors.protocol import (
    Failure,
    Outcome,
    PartitionGained,
    Request,
    Resume,
    Snapshot,
)
from bridge.actors.store.store import Commit, Store
from bridge.chat.machine import Chat
from bridge.chat.policy import ChatPolicy
from bridge.codecs.liveagent.session import read, receiving_half
from bridge.commands import (
    Poll,
    SendToAgent,
    lane_of,
)
from bridge.errors import BridgeError, StoreUnavailable
from bridge.events import (
    AgentWrote,
    DeliveredToAgent,
    SessionPolled,
)
from bridge.events import Event as BridgeEvent
from bridge.messages import (
    InboxEvent,
    Message,
    UserMessage,
    UserMessageReceived,
)
from bridge.records import ChatRecord, ChatState, DeadLetter, decode_record
from bridge.settings import wiring

USER = "5215573735001"
C = TypeVar("C", bound=Message)


AT_ONCE: dict[str, float] = {"retry_base_s": 0.0, "desk_text_gap_s": 0.0}


class Outside:
    """All remotes: keeps what they are asked, and the record as it was written at that moment."""

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
        """The remote did what it was asked."""
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
        texts = wiring.texts(settings, {"whatsapp": 4096, "facebook": 2000})
        bot_delay_s = delays | options.pop("bot_delay_s", {})
        self.place = place
        self.store = place.store()
        self.inbox = place.engine()
        self.outside = Outside(self.store)
        self.around = ChatContext(
            self.store,
            ChatPolicy(
                texts=texts, bot_delay_s=bot_delay_s, **{"retry_base_s": 0.0, "desk_text_gap_s": 0.0, **options}
            ),
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


def on_hold(**more: Any) -> ChatRecord:
    return active_chat(USER, **{"state": ChatState.ON_HOLD, "agent_name": "", "held_since_ms": now_ms(), **more})


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


class House:
    """The real registry, feed and interconnections on one store; only the outside is ours."""

    def __init__(self, place: Place) -> None:
        self.line = Line(place)
        self.outside = self.line.outside
        self.started: list[Ref] = []
        self.registry: Ref = InterconnectionRegistry.start(self._start, restarted_poll_delay_s=0.01)
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
