"""Outbound clients: actors that carry out one command at a time, in pools, one pool a neighbour."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import gevent
import msgspec

from bridge.actors.base import BridgeActor, mailbox_length, tell
from bridge.actors.mail import Failure, Outcome, Ping, Request
from bridge.commands import LANES, Command
from bridge.errors import BridgeError, RemoteGarbled
from bridge.events import Event
from bridge.pacing import RateLimit

log = logging.getLogger("bridge.clients")

Serve = Callable[[Command], tuple[Event, ...]]


class Call(msgspec.Struct, frozen=True):
    """Something to do for whoever asks, outside any chat; the answer is None or the error. door → outbound client."""

    work: Callable[[], None]


def carry_out(serve: Serve, request: Request) -> None:
    """Does what a request wants and tells how that ended. Nothing that a neighbour does leaves here as an error."""
    lane = LANES[type(request.command)]
    try:
        events = serve(request.command)
    except BridgeError as error:
        tell(request.reply_to, Failure(lane, request.token, error))
    except Exception as error:
        log.exception("%s failed", type(request.command).__name__)
        tell(request.reply_to, Failure(lane, request.token, RemoteGarbled(f"not understood: {type(error).__name__}")))
    else:
        tell(request.reply_to, Outcome(lane, request.token, events))


class OutboundClient(BridgeActor):
    """One line to one neighbour.

    Interconnections tell me requests, through my pool; I tell them outcomes or failures. I own nothing but my turn.
    """

    def __init__(self, serve: Serve, limit: RateLimit) -> None:
        super().__init__()
        self._serve = serve
        self._limit = limit
        self.handlers = {Request: self._carry_out, Call: self._call, Ping: lambda _: True}

    def _carry_out(self, request: Request) -> None:
        self._wait_for_a_place()
        carry_out(self._serve, request)

    def _call(self, call: Call) -> BridgeError | None:
        self._wait_for_a_place()
        try:
            call.work()
        except BridgeError as error:
            return error
        return None

    def _wait_for_a_place(self) -> None:
        delay_s = self._limit.reserve(time.monotonic())
        if delay_s > 0:
            gevent.sleep(delay_s)


class ClientPool:
    """Equal clients of one neighbour. A request goes to the one that has least to do."""

    def __init__(self, name: str, serve: Serve, *, size: int, rate: float = 0.0) -> None:
        self.name = name
        limit = RateLimit(rate)
        self._busy = 0
        self._refs = [OutboundClient.start(self._counted(serve), limit) for _ in range(size)]
        self._next = 0

    def tell(self, request: Request) -> None:
        """Gives the request to a client."""
        tell(self._pick(), request)

    def call(self, work: Callable[[], None], *, timeout_s: float) -> None:
        """Has a client do `work` and waits for it. Raises what it raised."""
        error = self._pick().ask(Call(work), timeout=timeout_s)
        if error is not None:
            raise error

    def stop(self) -> None:
        """Stops every client after what it is doing."""
        for ref in self._refs:
            ref.stop(block=False)

    def snapshot(self) -> dict[str, Any]:
        """For an operator: size, busy, queued."""
        queued = sum(mailbox_length(ref) for ref in self._refs)
        return {"name": self.name, "size": len(self._refs), "busy": self._busy, "queued": queued}

    def _pick(self) -> Any:
        # Round robin finds an idle client at once in calm times; under load the shortest mailbox counts.
        self._next = (self._next + 1) % len(self._refs)
        first = self._refs[self._next]
        if mailbox_length(first) == 0 and self._busy < len(self._refs) // 2:
            return first
        return min(self._refs, key=lambda ref: mailbox_length(ref))

    def _counted(self, serve: Serve) -> Serve:
        def counted(command: Command) -> tuple[Event, ...]:
            self._busy += 1
            try:
                return serve(command)
            finally:
                self._busy -= 1

        return counted
