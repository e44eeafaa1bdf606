"""Gunicorn's gevent worker, made to leave in time and to refuse in JSON."""

from __future__ import annotations

from types import FrameType, TracebackType
from typing import Any

import gevent
import msgspec
from gunicorn.http.errors import (
    ExpectationFailed,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.util import write_nonblock
from gunicorn.workers.ggevent import GeventWorker

_REFUSALS: tuple[tuple[type[Exception], str, str], ...] = (
    (LimitRequestLine, "414 URI Too Long", "The request line is too long."),
    (LimitRequestHeaders, "431 Request Header Fields Too Large", "The headers are too large."),
    (ExpectationFailed, "417 Expectation Failed", "That expectation cannot be met."),
    (UnsupportedTransferCoding, "501 Not Implemented", "That transfer coding is not supported."),
    (ParseException, "400 Bad Request", "The request is not valid HTTP."),
)
_CRASH = ("500 Internal Server Error", "Internal server error.")


class IdleConnection:
    """The wait for a connection's next request: cut off after `keepalive`, and at once when the worker leaves."""

    def __init__(self, worker: BridgeWorker, keepalive_s: float) -> None:
        self._worker = worker
        self._timeout = gevent.Timeout(keepalive_s, False)

    def __enter__(self) -> None:
        if not self._worker.alive:
            raise StopIteration
        self._worker.idle.add(gevent.getcurrent())
        self._timeout.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._timeout.close()
        self._worker.idle.discard(gevent.getcurrent())
        return error is self._timeout


class BridgeWorker(GeventWorker):  # type: ignore[misc]  # Gunicorn carries no types
    """Hands its chats over from the first moment of a stop, and does not wait for connections that ask nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.idle: set[gevent.Greenlet] = set()
        self._leaving = False

    def timeout_ctx(self) -> IdleConnection:
        """What Gunicorn waits in for the next request."""
        return IdleConnection(self, self.cfg.keepalive)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM, from the master or from outside."""
        super().handle_exit(sig, frame)
        self._leave()

    def notify(self) -> None:
        """The heartbeat; it is also where a stop by `max_requests` is noticed."""
        super().notify()
        if not self.alive:
            self._leave()

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Refuses what Gunicorn itself does not take. The request line is not logged: its query may hold a token."""
        status, sentence = next(((s, t) for kind, s, t in _REFUSALS if isinstance(exc, kind)), _CRASH)
        if status is _CRASH[0]:
            self.log.error("a request failed in the server: %s", type(exc).__name__, exc_info=exc)
        else:
            self.log.info("refused a request: %s", type(exc).__name__)
        body = msgspec.json.encode({"ErrorDescription": sentence})
        head = (
            f"HTTP/1.1 {status}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            write_nonblock(client, head.encode() + body)
        except OSError:
            self.log.debug("could not say so: the client is gone")

    def _leave(self) -> None:
        if not self._leaving:
            self._leaving = True
            # Not in the signal's own frame: what follows waits, and the hub must go on.
            gevent.spawn(self._hand_over)

    def _hand_over(self) -> None:
        from bridge.ops import wsgi

        for connection in list(self.idle):
            connection.kill(StopIteration, block=False)
        wsgi.hand_over()
