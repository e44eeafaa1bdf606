"""Live Agent as a desk: carries out a chat's commands towards it, by its codec, over a transport."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from bridge.actors.outbound.transport import Transport
from bridge.codecs.liveagent.requests import LiveAgentCodec, Prechat
from bridge.codecs.salesforce.data import SalesforceData
from bridge.commands import (
    Command,
    LeaveDesk,
    OpenSession,
    Poll,
    RepairSession,
    RequestChat,
    SendToAgent,
)
from bridge.errors import OutOfStep, RemoteRefused, RemoteUnavailable, SessionLost
from bridge.events import ChatRequested, DeliveredToAgent, DeskLeft, Event, SessionOpened, SessionPolled, SessionStepped
from bridge.messages import Message

log = logging.getLogger("bridge.liveagent")


class LiveAgentDesk:
    """The desk that agents work at. `line` carries POSTs, `poll_line` the long polls: those must never be spared."""

    def __init__(
        self, codec: LiveAgentCodec, records: SalesforceData, *, line: Transport, poll_line: Transport
    ) -> None:
        self._codec = codec
        self._records = records
        self._line = line
        self._poll_line = poll_line
        self._served: dict[type[Message], Callable[..., tuple[Event, ...]]] = {
            OpenSession: self._open_session,
            RequestChat: self._request_chat,
            Poll: self._listen,
            SendToAgent: self._send,
            RepairSession: self._repair,
            LeaveDesk: self._leave,
        }

    def serve(self, command: Command) -> tuple[Event, ...]:
        """Carries one command out; gives what that brought. Raises RemoteError."""
        return self._served[type(command)](command)

    def _open_session(self, command: OpenSession) -> tuple[Event, ...]:
        reply = self._line.send(self._codec.open_session())
        return (SessionOpened(self._codec.opened(reply, now_ms=time.time_ns() // 1_000_000)),)

    def _request_chat(self, command: RequestChat) -> tuple[Event, ...]:
        button_id = self._records.route(command.request).button_id
        prechat = Prechat(button_id, command.contact_id, command.case_id)
        reply = self._line.send(self._codec.request_chat(command.session, command.request, prechat))
        return (ChatRequested(self._codec.posted(command.session, reply)),)

    def _listen(self, command: Poll) -> tuple[Event, ...]:
        heard = self._codec.heard(command.session, self._poll_line.send(self._codec.poll(command.session)))
        if heard.unknown:
            log.info("not understood from the desk, and survived: %s", ", ".join(heard.unknown))
        if heard.session == command.session:
            return ()
        return (SessionPolled(heard.session), *heard.events)

    def _send(self, command: SendToAgent) -> tuple[Event, ...]:
        reply = self._line.send(self._codec.text(command.session, command.delivery.text))
        return (DeliveredToAgent(command.delivery.id, self._codec.said(command.session, reply)),)

    def _repair(self, command: RepairSession) -> tuple[Event, ...]:
        reply = self._line.send(self._codec.repair(command.session))
        return (SessionStepped(self._codec.repaired(command.session, reply)),)

    def _leave(self, command: LeaveDesk) -> tuple[Event, ...]:
        try:
            # With the first number, which the request itself may have used, an end could pass for its repeat.
            if command.session.sequence:
                self._codec.posted(command.session, self._line.send(self._codec.end(command.session)))
                return (DeskLeft(),)
        except SessionLost:
            raise
        except (RemoteUnavailable, RemoteRefused, OutOfStep) as error:
            # A POST may be refused here (liveagent.md, "Before an agent"); a session can always be deleted.
            log.info("ending by deleting the session, because: %s", error)
        self._codec.deleted(self._line.send(self._codec.delete(command.session)))
        return (DeskLeft(),)
