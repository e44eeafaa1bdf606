"""Outbound clients: actors that carry out one command at a time, in pools that admit requests by destination."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import gevent
import msgspec
import pykka

from bridge.actors.base import BridgeActor, Ref, tell
from bridge.actors.outbound.admission import Admission, Ticket
from bridge.actors.outbound.recovery import PROBE_EVERY_S, Recovery
from bridge.actors.protocol import Failure, Ping, Request, RetryDue, Serve, carry_out
from bridge.commands import TERMS, Command, lane_of
from bridge.errors import BridgeError, RemoteGarbled, RemoteUnavailable

log = logging.getLogger("bridge.clients")


class Call(msgspec.Struct, frozen=True):
    """Work outside any chat; `answer` is set to None or to the error. door → outbound client."""

    work: Callable[[], None]
    answer: pykka.Future[BridgeError | None]


class OutboundClient(BridgeActor):
    """One client of one remote service.

    My pool tells me a ticket when I am idle; I tell the interconnection of its request the outcome or the failure, and
    give the ticket back. I own no state.
    """

    def __init__(self, serve: Serve, done: Callable[[Ref, Ticket[Any], BridgeError | None], None]) -> None:
        super().__init__()
        self._serve = serve
        self._done = done
        self.handlers = {Ticket: self._take, Ping: lambda _: True}

    def _take(self, ticket: Ticket[Request | Call]) -> None:
        error: BridgeError | None = None
        try:
            if isinstance(ticket.item, Call):
                ticket.item.answer.set(_work(ticket.item))
            elif ticket.item.lease_held:
                error = carry_out(self._serve, ticket.item)
        finally:
            self._done(self.actor_ref, ticket, error)


def _work(call: Call) -> BridgeError | None:
    try:
        call.work()
    except BridgeError as error:
        return error
    except Exception as error:
        log.exception("a call outside any chat failed")
        return RemoteGarbled(f"unexpected {type(error).__name__}")
    return None


class ClientPool:
    """Equal clients of one remote service. A request waits for its admission here; a client is started when needed.

    `destination` names what a command needs of the remote service (a provider, a bot, a host): each has a share of the
    clients and a circuit breaker of its own.
    """

    def __init__(
        self,
        name: str,
        serve: Serve,
        *,
        size: int,
        rate: float = 0.0,
        destination: Callable[[Command], str] = lambda _: "",
    ) -> None:
        self.name = name
        self._serve = serve
        self._size = size
        self._destination = destination
        self._admission: Admission[Request | Call] = Admission(size=size, rate=rate)
        self._recovery: Recovery[Request] = Recovery()
        self._refs: set[Ref] = set()
        self._idle: list[Ref] = []
        self._wake: gevent.Greenlet | None = None
        self._wake_at_s = 0.0
        self._prober: gevent.Greenlet | None = None
        self._stopped = False

    def tell(self, request: Request) -> None:
        """Gives the request to a client as soon as it may have one."""
        self._recovery.tried(_key(request))
        name = self._destination(request.command)
        left_s = self._admission.destination(name).breaker.left_s(time.monotonic())
        if left_s > 0:
            # Refused before it takes a place of the rate limit.
            self._refuse(request, name, left_s)
            return
        self._admission.add(request, name, paced=TERMS[type(request.command)].paced)
        self._dispatch()

    def call(self, work: Callable[[], None], *, timeout_s: float) -> None:
        """Runs `work` in a client and waits for its end. Raises what `work` raised."""
        call = Call(work, pykka.ThreadingFuture())
        self._admission.add(call, "")
        self._dispatch()
        if (error := call.answer.get(timeout=timeout_s)) is not None:
            raise error

    def stop(self) -> None:
        """Stops every client after its current request. Requests that wait are dropped."""
        self._stopped = True
        for timer in (self._wake, self._prober):
            if timer is not None:
                timer.kill(block=False)
        for ref in list(self._refs):
            ref.stop(block=False)

    def snapshot(self) -> dict[str, Any]:
        """For an operator: size, clients in a call, requests that wait, and failed ones that wait for a retry."""
        return {
            "name": self.name,
            "size": self._size,
            "busy": self._admission.running,
            "queued": self._admission.waiting,
            "retrying": len(self._recovery),
        }

    def _dispatch(self) -> None:
        now_s = time.monotonic()
        while not self._stopped and (ticket := self._admission.next(now_s)) is not None:
            self._start(ticket, now_s)
        self._wake_in(self._admission.wait_s(now_s), now_s)

    def _start(self, ticket: Ticket[Request | Call], now_s: float) -> None:
        if isinstance(ticket.item, Request):
            pause_s = self._admission.destination(ticket.destination).breaker.pause_s(now_s)
            if pause_s > 0 or not ticket.item.lease_held:
                self._admission.ended(ticket, failed=None)
                if pause_s > 0:
                    self._refuse(ticket.item, ticket.destination, pause_s)
                return
        tell(self._client(), ticket)

    def _client(self) -> Ref:
        if self._idle:
            return self._idle.pop()
        started: Ref = OutboundClient.start(self._serve, self._done)
        self._refs.add(started)
        return started

    def _done(self, client: Ref, ticket: Ticket[Request | Call], error: BridgeError | None) -> None:
        now_s = time.monotonic()
        if len(self._idle) < self._size:
            self._idle.append(client)
        else:
            self._refs.discard(client)
            client.stop(block=False)
        failed = None if isinstance(ticket.item, Call) else _destination_failed(error)
        destination = self._admission.ended(ticket, failed=failed)
        if failed is not None:
            destination.breaker.note(now_s, failed=failed)
            self._try_now(self._recovery.note(destination.name, failed=failed, now_s=now_s))
        if isinstance(ticket.item, Request) and isinstance(error, RemoteUnavailable):
            self._wait_for_recovery(ticket.item, destination.name, now_s + (error.retry_after_s or 0.0))
        self._dispatch()

    def _refuse(self, request: Request, destination: str, pause_s: float) -> None:
        sentence = f"circuit breaker open for {self.name} {destination}".rstrip()
        error = RemoteUnavailable(f"{sentence}, next probe in {pause_s:.0f} s", retry_after_s=pause_s)
        tell(request.reply_to, Failure(lane_of(request.command), request.token, error))
        self._wait_for_recovery(request, destination, 0.0)

    def _wait_for_recovery(self, request: Request, destination: str, not_before_s: float) -> None:
        self._recovery.failed(_key(request), request, destination, not_before_s=not_before_s)
        if self._prober is None and not self._stopped:
            self._prober = gevent.spawn_later(PROBE_EVERY_S, self._probe)

    def _probe(self) -> None:
        self._prober = None
        if self._stopped:
            return
        now_s = time.monotonic()
        probe_is_due = lambda name: self._admission.destination(name).breaker.left_s(now_s) <= 0  # noqa: E731
        self._try_now(self._recovery.probes(now_s, may_try=probe_is_due))
        if len(self._recovery):
            self._prober = gevent.spawn_later(PROBE_EVERY_S, self._probe)

    def _try_now(self, requests: Iterable[Request]) -> None:
        for request in requests:
            tell(request.reply_to, RetryDue(lane_of(request.command), request.token))

    def _wake_in(self, wait_s: float | None, now_s: float) -> None:
        if wait_s is None or self._stopped or (self._wake is not None and self._wake_at_s <= now_s + wait_s):
            return
        if self._wake is not None:
            self._wake.kill(block=False)
        self._wake_at_s = now_s + wait_s
        self._wake = gevent.spawn_later(wait_s, self._dispatch_later)

    def _dispatch_later(self) -> None:
        self._wake = None
        self._dispatch()


def _key(request: Request) -> tuple[str, str]:
    return request.reply_to.actor_urn, lane_of(request.command).value


def _destination_failed(error: BridgeError | None) -> bool | None:
    """True if a call shows that its destination does not work, False if it works, None if the call tells neither."""
    if not isinstance(error, RemoteUnavailable):
        return False
    if isinstance(error, RemoteGarbled) or 400 <= error.status < 500:
        return None
    return error.status == 0 or error.status >= 500
