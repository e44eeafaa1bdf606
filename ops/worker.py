"""Gunicorn's gevent worker: no connection can block it, it stops in time, and it refuses requests in JSON."""

from __future__ import annotations

import logging
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
from gunicorn.workers.ggevent import GeventWorker

from bridge.http.middleware import SAFE_HEADERS
from bridge.ops.client_connection import ClientConnection, Connections, HeadTimeout

# A rest of the body that is shorter than this is read after the answer, so that the connection can be used again.
UNREAD_BYTES = 16_384
UNREAD_TIMEOUT_S = 1.0

_log = logging.getLogger(__name__)
_REFUSALS: tuple[tuple[type[Exception], str, str], ...] = (
    (LimitRequestLine, "414 URI Too Long", "The request line is too long."),
    (LimitRequestHeaders, "431 Request Header Fields Too Large", "The headers are too large."),
    (ExpectationFailed, "417 Expectation Failed", "That expectation cannot be met."),
    (UnsupportedTransferCoding, "501 Not Implemented", "That transfer coding is not supported."),
    (ParseException, "400 Bad Request", "The request is not valid HTTP."),
)
_CRASH = ("500 Internal Server Error", "Internal server error.")


class HeadWait:
    """The wait for a connection's next request, within the time limits of the connection."""

    def __init__(self, worker: BridgeWorker, connection: ClientConnection) -> None:
        self._worker = worker
        self._connection = connection

    def __enter__(self) -> None:
        if not self._worker.alive:
            raise StopIteration
        self._connection.begin_head(self._worker.cfg.keepalive)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._connection.end_head()
        return isinstance(error, HeadTimeout)


class BridgeWorker(GeventWorker):  # type: ignore[misc]  # Gunicorn carries no types
    """Hands its chats over as soon as a stop begins, and closes idle connections then."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connections = Connections()
        self._served_by: dict[gevent.Greenlet, ClientConnection] = {}
        # gevent stops accepting at `worker_connections`, and then a probe waits as well. This limit is lower.
        self._most_connections = self.worker_connections * 9 // 10
        self._leaving = False

    def init_process(self) -> None:
        """Starts the worker in its own process."""
        gevent.get_hub().print_exception = _log_greenlet_error
        super().init_process()

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serves one connection. Above the limit it first cuts off another connection that waits for its client."""
        if len(self._connections) >= self._most_connections:
            self._connections.cut_off_one()
        connection = ClientConnection(client, self._connections)
        self._served_by[gevent.getcurrent()] = connection
        try:
            super().handle(listener, connection, addr)
        finally:
            del self._served_by[gevent.getcurrent()]
            self._connections.discard(connection)

    def timeout_ctx(self) -> HeadWait:
        """The context in which Gunicorn waits for the next request."""
        return HeadWait(self, self._served_by[gevent.getcurrent()])

    def handle_request(self, listener_name: Any, req: Any, sock: ClientConnection, addr: Any) -> None:
        """Serves one request. Gunicorn would read the whole rest of the body; here a long rest closes the connection.

        Raises StopIteration to close.
        """
        try:
            super().handle_request(listener_name, req, sock, addr)
        except StopIteration:
            if not _is_read(req.body):
                sock.close_behind_answer()
            raise
        if not _is_read(req.body):
            sock.close_behind_answer()
            raise StopIteration

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM, from the master or from outside."""
        super().handle_exit(sig, frame)
        self._leave()

    def notify(self) -> None:
        """The heartbeat; it is also where a stop by `max_requests` is noticed."""
        super().notify()
        if not self.alive:
            self._leave()

    def handle_error(self, req: Any, client: ClientConnection, addr: Any, exc: BaseException) -> None:
        """Refuses what Gunicorn itself does not take. The request line is not logged: its query may hold a token."""
        status, sentence = next(((s, t) for kind, s, t in _REFUSALS if isinstance(exc, kind)), _CRASH)
        if status is _CRASH[0]:
            self.log.error("a request failed in the server: %s", type(exc).__name__, exc_info=exc)
        else:
            self.log.info("refused a request: %s", type(exc).__name__)
        try:
            client.sendall(_refusal(status, sentence))
            client.close_behind_answer()
        except OSError:
            self.log.debug("the client left before it was refused")

    def _leave(self) -> None:
        if not self._leaving:
            self._leaving = True
            # A signal handler can run in the hub, which must not wait: so this gets a greenlet of its own.
            gevent.spawn(self._hand_over)

    def _hand_over(self) -> None:
        from bridge.ops import wsgi

        self._connections.cut_off_waiting()
        wsgi.hand_over()


def _is_read(body: Any) -> bool:
    """Whether the whole body is read, after reading a short rest of it."""
    if body.failed:
        return False
    if getattr(body.reader, "length", None) == 0 and not body.buf.tell():
        # The usual case: a body of known length that is read. It needs no timer.
        return True
    try:
        with gevent.Timeout(UNREAD_TIMEOUT_S, TimeoutError()):
            return len(body.read(UNREAD_BYTES)) < UNREAD_BYTES
    except Exception:
        # Gunicorn has many errors for malformed chunks. After each it is unknown where the next request begins.
        return False


def _refusal(status: str, sentence: str) -> bytes:
    body = msgspec.json.encode({"ErrorDescription": sentence})
    headers = {"Connection": "close", "Content-Type": "application/json", "Content-Length": len(body), **SAFE_HEADERS}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _log_greenlet_error(context: object, kind: type[BaseException], error: BaseException | None, trace: Any) -> None:
    # gevent would write the traceback to stderr, neither as JSON nor redacted.
    what = type(context).__name__ if context is not None else "the event loop"
    _log.error("an uncaught error in %s", what, exc_info=(kind, error or kind(), trace))
