"""A second desk, in memory: it streams its events, its session is a ticket, and its POSTs carry no number."""

from __future__ import annotations

from collections.abc import Mapping

import gevent.event
import msgspec

from bridge.commands import Command, LeaveDesk, OpenSession, Poll, RepairSession, RequestChat, SendToAgent
from bridge.errors import DeskError
from bridge.events import (
    AgentWrote,
    ChatEnded,
    ChatEstablished,
    ChatQueued,
    ChatRequested,
    DeliveredToAgent,
    DeskLeft,
    Event,
    SessionOpened,
    SessionPolled,
    SessionStepped,
)
from bridge.messages import DeskSession, Turn


class Sending(msgspec.Struct):
    """The half that texts and repairs change: a ticket, and the ids of the texts that were taken."""

    ticket: str
    taken: list[str] = []


class Receiving(msgspec.Struct):
    """The half that the stream changes: the id of the last event."""

    last_event: int = 0


def _half(half: Sending | Receiving) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(half))


class MemoryDesk:
    """Implements `bridge.desk.Desk`. The test is its agent: `accepts`, `writes`, `moves`, `ends`."""

    def __init__(self) -> None:
        self.ticket = "t-1"
        self.received: dict[str, str] = {}
        self.left = False
        self._stream: list[Event] = []
        self._news = gevent.event.Event()

    # --- what its agent does ----------------------------------------------------------------------------------------

    def accepts(self, name: str) -> None:
        self._push(ChatEstablished(name))

    def writes(self, text: str) -> None:
        self._push(AgentWrote(text))

    def ends(self) -> None:
        self._push(ChatEnded("agent", served=True))

    def moves(self) -> None:
        """Every call with the old ticket is refused from now on."""
        self.ticket = "t-2"
        self._news.set()

    def _push(self, event: Event) -> None:
        self._stream.append(event)
        self._news.set()

    # --- what it is asked -------------------------------------------------------------------------------------------

    def serve(self, command: Command) -> tuple[Event, ...]:
        """Carries one command out. Raises DeskError."""
        match command:
            case OpenSession():
                session = DeskSession(
                    desk="memory",
                    id="m-1",
                    opened_at_ms=0,
                    sending=_half(Sending(self.ticket)),
                    receiving=_half(Receiving()),
                )
                return (SessionOpened(session),)
            case RequestChat():
                self._push(ChatQueued(1))
                return (ChatRequested(command.session),)
            case Poll():
                return self._streamed(command.session)
            case SendToAgent():
                return self._take(command)
            case RepairSession():
                return (SessionStepped(_half(Sending(self.ticket)), Turn("broken", "ok")),)
            case LeaveDesk():
                self.left = True
                return (DeskLeft(),)
            case _:
                raise NotImplementedError(type(command).__name__)

    def describe(self, session: DeskSession) -> Mapping[str, str | int | float]:
        """What an operator may see."""
        return {"last_event": msgspec.json.decode(session.receiving, type=Receiving).last_event}

    def _check(self, session: DeskSession) -> Sending:
        sending = msgspec.json.decode(session.sending, type=Sending)
        if sending.ticket != self.ticket:
            raise DeskError("the ticket is not valid any more", verdict="broken")
        return sending

    def _streamed(self, session: DeskSession) -> tuple[Event, ...]:
        """Returns as soon as the stream has an event after the last one that the session knows."""
        last = msgspec.json.decode(session.receiving, type=Receiving).last_event
        while True:
            self._check(session)
            if events := self._stream[last:]:
                return (SessionPolled(_half(Receiving(last + len(events)))), *events)
            self._news.clear()
            self._news.wait()

    def _take(self, command: SendToAgent) -> tuple[Event, ...]:
        sending = self._check(command.session)
        self.received.setdefault(command.delivery.id, command.delivery.text)
        sending.taken.append(command.delivery.id)
        return (DeliveredToAgent(command.delivery.id, _half(sending)),)
