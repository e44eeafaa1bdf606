"""Outbound clients: actors that carry out one command at a time, in pools, one pool for each remote service."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent
import msgspec

from bridge.actors.base import BridgeActor, Ref, tell
from bridge.actors.protocol import Ping, Request, Serve, carry_out
from bridge.commands import TERMS
from bridge.errors import BridgeError, RemoteGarbled
from bridge.limits import RateLimit

log = logging.getLogger("bridge.clients")


class Call(msgspec.Struct, frozen=True):
    """Work outside any chat; the answer is None or the error. door → outbound client (asked)."""

    work: Callable[[], None]


class OutboundClient(BridgeActor):
    """One client of one remote service.

    Interconnections tell me requests, through my pool; I tell them outcomes or failures. I own no state.
    """

    def __init__(self, serve: Serve, limit: RateLimit, done: Callable[[], None]) -> None:
        super().__init__()
        self._serve = serve
        self._limit = limit
        self._done = done
        self.handlers = {Request: self._carry_out, Call: self._call, Ping: lambda _: True}

    def _carry_out(self, request: Request) -> None:
        try:
            if TERMS[type(request.command)].paced:
                self._wait_for_a_place()
            if request.lease_held:
                carry_out(self._serve, request)
        finally:
            self._done()

    def _call(self, call: Call) -> BridgeError | None:
        try:
            call.work()
        except BridgeError as error:
            return error
        except Exception as error:
            log.exception("a call outside any chat failed")
            return RemoteGarbled(f"unexpected {type(error).__name__}")
        finally:
            self._done()
        return None

    def _wait_for_a_place(self) -> None:
        delay_s = self._limit.reserve(time.monotonic())
        if delay_s > 0:
            gevent.sleep(delay_s)


class ClientPool:
    """Equal clients of one remote service. A request goes to the client with the shortest queue."""

    def __init__(self, name: str, serve: Serve, *, size: int, rate: float = 0.0) -> None:
        self.name = name
        limit = RateLimit(rate)
        # Requests under way and queued, by client: a client with an empty mailbox may still be in a slow call.
        self._loads = [0] * size
        self._refs = [OutboundClient.start(serve, limit, partial(self._relieve, index)) for index in range(size)]

    def tell(self, request: Request) -> None:
        """Gives the request to a client."""
        tell(self._pick(), request)

    def call(self, work: Callable[[], None], *, timeout_s: float) -> None:
        """Runs `work` in a client and waits for its end. Raises what `work` raised."""
        error: BridgeError | None = self._pick().ask(Call(work), timeout=timeout_s)  # type: ignore[assignment]
        if error is not None:
            raise error

    def stop(self) -> None:
        """Stops every client after its current request."""
        for ref in self._refs:
            ref.stop(block=False)

    def snapshot(self) -> dict[str, Any]:
        """For an operator: size, busy, queued."""
        busy = sum(load > 0 for load in self._loads)
        return {"name": self.name, "size": len(self._refs), "busy": busy, "queued": sum(self._loads) - busy}

    def _pick(self) -> Ref:
        index = min(range(len(self._loads)), key=self._loads.__getitem__)
        self._loads[index] += 1
        return self._refs[index]

    def _relieve(self, index: int) -> None:
        self._loads[index] -= 1
