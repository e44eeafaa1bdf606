"""Faults on any path: which answers are replaced, delayed, dropped or garbled, how often; and the gate that does so."""

from __future__ import annotations

import errno
import fnmatch
import io
import socket
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, Literal, Protocol

import gevent
import msgspec

from bridge.ops.simulator.ledger import Ledger

Environ = dict[str, Any]
GARBAGE = b'{"messages": [{"type": "Chat\xff\xfe<html>'


class StartResponse(Protocol):
    """WSGI's own."""

    def __call__(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any: ...


WsgiApp = Callable[[Environ, Any], Iterable[bytes]]


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What happens to the next `times` requests (0: to all) that match, after `skip` that pass unharmed.

    `path` is a glob over the whole path, `contains` a text in the body, `session` a Live Agent session id.
    A `status` alone answers without acting; with `act` the service acts first. `drop` closes the socket without an
    answer, before or after acting. `garbage` acts and answers random bytes. `delay_s` is waited before
    acting; with `act` or `drop: after`, after it.
    """

    path: str
    method: str = ""
    session: str = ""
    contains: str = ""
    status: int = 0
    body: str = ""
    headers: dict[str, str] = {}
    delay_s: float = 0.0
    times: int = 1
    skip: int = 0
    drop: Literal["", "before", "after"] = ""
    garbage: bool = False
    act: bool = False
    id: int = 0
    hits: int = 0

    @property
    def acts(self) -> bool:
        """Whether the request takes effect."""
        return self.drop != "before" and (self.act or self.drop == "after" or self.garbage or self.status == 0)

    @property
    def acts_first(self) -> bool:
        """Whether the delay comes after acting."""
        return self.act or self.drop == "after"


class Faults:
    """The faults that are armed, oldest first; the first that matches a request takes it."""

    def __init__(self) -> None:
        self._armed: dict[int, Fault] = {}
        self._last_id = 0

    def add(self, fault: Fault) -> Fault:
        """Arms a fault and gives it an id."""
        self._last_id += 1
        fault.id = self._last_id
        self._armed[fault.id] = fault
        return fault

    def remove(self, fault_id: int) -> bool:
        """Disarms one; whether it was still armed."""
        return self._armed.pop(fault_id, None) is not None

    def clear(self) -> None:
        """Disarms all."""
        self._armed.clear()

    def armed(self) -> list[Fault]:
        """The faults that have not been used up."""
        return list(self._armed.values())

    def take(self, environ: Environ) -> Fault | None:
        """The fault for this request, which counts it; None if none matches."""
        if not self._armed or environ["PATH_INFO"].startswith("/control"):
            return None
        for fault in self._armed.values():
            if _matches(fault, environ):
                return self._hit(fault)
        return None

    def _hit(self, fault: Fault) -> Fault | None:
        if fault.skip > 0:
            fault.skip -= 1
            return None
        fault.hits += 1
        if fault.times and fault.hits >= fault.times:
            del self._armed[fault.id]
        return fault


def _matches(fault: Fault, environ: Environ) -> bool:
    key = environ.get("HTTP_X_LIVEAGENT_SESSION_KEY", "")
    return (
        fnmatch.fnmatchcase(environ["PATH_INFO"], fault.path)
        and fault.method.upper() in ("", environ["REQUEST_METHOD"])
        and (not fault.session or key.split("!")[0] == fault.session)
        and (not fault.contains or fault.contains.encode() in _body(environ))
    )


def _body(environ: Environ) -> bytes:
    """The whole body, put back for the application to read again."""
    body: bytes = environ["wsgi.input"].read()
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    return body


class Answer(msgspec.Struct):
    """A whole answer, as it goes out."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes


class Gate:
    """The outermost WSGI application: lets faults happen and counts every request."""

    def __init__(self, app: WsgiApp, faults: Faults, ledger: Ledger, *, on_503: Callable[[str], None]) -> None:
        self._app = app
        self._faults = faults
        self._ledger = ledger
        self._on_503 = on_503

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        fault = self._faults.take(environ)
        counted = self._counted(environ, start_response)
        if fault is None:
            return self._app(environ, counted)
        self._ledger.record("fault", text=environ["PATH_INFO"], details={"fault": fault.id})
        answer = self._meet(fault, environ)
        counted(answer.status, answer.headers)
        return [answer.body]

    def _counted(self, environ: Environ, start_response: StartResponse) -> StartResponse:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
            self._count(environ, int(status[:3]))
            return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

        return start

    def _count(self, environ: Environ, status: int) -> None:
        self._ledger.count_request(environ["REQUEST_METHOD"], environ["PATH_INFO"], status)

    def _meet(self, fault: Fault, environ: Environ) -> Answer:
        if not fault.acts_first:
            gevent.sleep(fault.delay_s)
        answer = self._act(environ) if fault.acts else None
        if fault.acts_first:
            gevent.sleep(fault.delay_s)
        if fault.drop:
            self._drop(environ)
        if fault.status == 503:
            self._on_503(environ.get("HTTP_X_LIVEAGENT_SESSION_KEY", ""))
        return _spoilt(fault, answer)

    def _act(self, environ: Environ) -> Answer:
        """Runs the application and keeps its answer."""
        answer = Answer("", [], b"")

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> None:
            answer.status, answer.headers = status, headers

        answer.body = b"".join(self._app(environ, start))
        return answer

    def _drop(self, environ: Environ) -> None:
        self._count(environ, 0)
        open_socket: socket.socket | None = environ.get("simulator.socket")
        if open_socket is not None:
            open_socket.shutdown(socket.SHUT_RDWR)
        # The server handles this error as a client that closed the connection: it sends nothing.
        raise BrokenPipeError(errno.EPIPE, "dropped on purpose")


def _spoilt(fault: Fault, answer: Answer | None) -> Answer:
    if answer is not None and not fault.status and not fault.garbage:
        return answer
    status = _status_line(fault.status or 200)
    body = GARBAGE if fault.garbage else fault.body.encode()
    headers = {"Content-Type": "text/plain", **fault.headers, "Content-Length": str(len(body))}
    return Answer(status, list(headers.items()), body)


def _status_line(status: int) -> str:
    known = status in HTTPStatus._value2member_map_
    return f"{status} {HTTPStatus(status).phrase if known else 'Odd'}"
