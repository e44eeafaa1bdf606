"""Live Agent as a desk: carries out a chat's commands by its codec, over a transport."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

import msgspec

from bridge.actors.outbound.transport import Transport
from bridge.codecs.liveagent.batches import Unreadable
from bridge.codecs.liveagent.requests import LiveAgentCodec, Prechat
from bridge.codecs.liveagent.session import (
    LiveAgentSession,
    OutOfStep,
    read,
    receiving_half,
    sending_half,
    turn,
    written,
)
from bridge.commands import Command, LeaveDesk, OpenSession, Poll, RepairSession, RequestChat, SendToAgent
from bridge.errors import DeskError, RemoteError, RemoteRefused, RemoteUnavailable
from bridge.events import ChatRequested, DeliveredToAgent, DeskLeft, Event, SessionOpened, SessionPolled, SessionStepped
from bridge.messages import ConnectRequest, DeskSession

log = logging.getLogger("bridge.liveagent")

LAST_POLL_S = 2.0


class LiveAgentDesk:
    """Implements `bridge.desk.Desk`.

    `button_of` gives the button (queue) of a request; `posts` carries POSTs, `polls` the long polls.
    """

    def __init__(
        self,
        codec: LiveAgentCodec,
        button_of: Callable[[ConnectRequest], str],
        *,
        posts: Transport,
        polls: Transport,
    ) -> None:
        self._codec = codec
        self._button_of = button_of
        self._posts = posts
        self._polls = polls
        self._served: dict[type[Command], Callable[..., tuple[Event, ...]]] = {
            OpenSession: self._open_session,
            RequestChat: self._request_chat,
            Poll: self._poll,
            SendToAgent: self._send,
            RepairSession: self._repair,
            LeaveDesk: self._leave,
        }

    def serve(self, command: Command) -> tuple[Event, ...]:
        """Carries out one command; gives the events that follow. Raises RemoteError."""
        return self._served[type(command)](command)

    def describe(self, session: DeskSession) -> Mapping[str, str | int | float]:
        """The counters of a session, without its key."""
        known = read(session)
        return {"ack": known.ack, "sequence": known.sequence, "repairs": known.repairs}

    def server(self, session: DeskSession) -> str:
        """The server that holds a session: Live Agent names it by the affinity token."""
        return read(session).affinity

    def _open_session(self, command: OpenSession) -> tuple[Event, ...]:
        reply = self._posts.send(self._codec.open_session())
        return (SessionOpened(written(self._codec.opened(reply, now_ms=time.time_ns() // 1_000_000))),)

    def _request_chat(self, command: RequestChat) -> tuple[Event, ...]:
        prechat = Prechat(self._button_of(command.request), command.contact_id, command.case_id)
        session = read(command.session)
        reply = self._posts.send(self._codec.request_chat(session, command.request, prechat))
        return (ChatRequested(written(self._codec.posted(session, reply))),)

    def _poll(self, command: Poll) -> tuple[Event, ...]:
        session = read(command.session)
        try:
            batch = self._codec.polled(session, self._polls.send(self._codec.poll(session)))
        except Unreadable as error:
            error.receiving = receiving_half(msgspec.structs.replace(session, ack=max(error.sequence, session.ack)))
            raise
        if batch.unknown:
            log.info("ignored unknown Live Agent messages: %s", ", ".join(batch.unknown))
        if batch.session == session:
            return ()
        return (SessionPolled(receiving_half(batch.session), turn(session, batch.session)), *batch.events)

    def _send(self, command: SendToAgent) -> tuple[Event, ...]:
        session = read(command.session)
        try:
            reply = self._posts.send(self._codec.text(session, command.delivery.text))
            taken = self._codec.said(session, reply)
        except OutOfStep as error:
            raise _mended(session, error) from error
        except RemoteError as error:
            error.sending = _skipped(session)
            raise
        return (DeliveredToAgent(command.delivery.id, sending_half(taken)),)

    def _repair(self, command: RepairSession) -> tuple[Event, ...]:
        session = read(command.session)
        repaired = self._codec.repaired(session, self._posts.send(self._codec.repair(session)))
        return (SessionStepped(sending_half(repaired), turn(session, repaired)),)

    def _leave(self, command: LeaveDesk) -> tuple[Event, ...]:
        session = read(command.session)
        if not (session.sequence or session.repairs):
            # The request for the chat may have used the first number: an end with that number could be dropped as a
            # repeat. The chat was not polled yet, so nobody else polls it now.
            return (*self._last_events(session), *self._delete(session))
        if command.delete:
            return self._delete(session)
        try:
            self._codec.posted(session, self._posts.send(self._codec.end(session)))
        except (OutOfStep, RemoteRefused) as error:
            # A POST may be refused here (liveagent.md, "Before an agent"); a session can always be deleted.
            raise RemoteUnavailable(f"the chat is ended by deleting its session, because: {error}") from error
        return (DeskLeft(),)

    def _delete(self, session: LiveAgentSession) -> tuple[Event, ...]:
        self._codec.deleted(self._posts.send(self._codec.delete(session)))
        return (DeskLeft(),)

    def _last_events(self, session: LiveAgentSession) -> tuple[Event, ...]:
        """What the desk has for us now: a deleted session cannot be polled."""
        call = msgspec.structs.replace(
            self._codec.poll(session), read_timeout_s=LAST_POLL_S, total_timeout_s=LAST_POLL_S
        )
        try:
            return self._codec.polled(session, self._polls.send(call)).events
        except RemoteError as error:
            log.info("no last events before the session is deleted: %s", error)
            return ()


def _mended(session: LiveAgentSession, error: OutOfStep) -> RemoteError:
    """The error with the number that the desk named. If that is the number that we used, the POST is tried again."""
    if error.accepted == session.sequence:
        again = RemoteUnavailable(str(error), status=error.status)
        again.sending = _skipped(session)
        return again
    mended = DeskError(str(error), verdict="moved", status=error.status)
    mended.sending = sending_half(msgspec.structs.replace(session, sequence=error.accepted))
    return mended


def _skipped(session: LiveAgentSession) -> msgspec.Raw:
    """The half to go on from when the text is given up: its number may have been taken.

    Another text under that number would be dropped as a repeat. A number too high only costs a 409 that names the right
    one (liveagent.md, "Sequence numbers").
    """
    return sending_half(msgspec.structs.replace(session, sequence=session.sequence + 1))
