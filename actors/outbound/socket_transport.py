"""The transport for what is called most, polls and texts: HTTP/1.1 over sockets that are kept, without layers."""

from __future__ import annotations

import http.client
import re
import select
import socket
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit

import gevent
import gevent.socket
from gevent import monkey

from bridge.actors.outbound.transport import (
    PORTS,
    LookUp,
    TotalTimeout,
    check_headers,
    connect,
    illegal_request,
    look_up,
    no_answer,
    read_body,
    trust,
)
from bridge.wire import HttpCall, HttpReply

Origin = tuple[str, str, int]
Idle = tuple[socket.socket, float]
IDLE_S = 30.0
SWEEP_EVERY_S = 5.0
_ILLEGAL_IN_TARGET = re.compile(r"[^\x21-\x7e]")
# gevent's patched poll() would switch greenlets. This check must not yield, so take the original.
_poll = monkey.get_original("select", "poll")


class SocketTransport:
    """Keeps up to `connections` idle sockets an origin.

    Costs a third of what a `requests.Session` does: 0.1 ms of CPU a call, and 16 KiB while a poll is held.
    """

    def __init__(self, name: str, *, connections: int, look_up: LookUp = look_up) -> None:
        self.name = name
        self._connections = connections
        self._look_up = look_up
        self._trust = trust()
        # The oldest on the left; the one that was used last is used next.
        self._idle: defaultdict[Origin, deque[Idle]] = defaultdict(deque)
        self._sweeper: gevent.Greenlet | None = None

    def send(self, call: HttpCall) -> HttpReply:
        """Carries the call. `total_timeout_s` holds however slowly the answer comes."""
        check_headers(call, self.name)
        try:
            with gevent.Timeout(call.total_timeout_s, TotalTimeout()):
                return self._exchange(call)
        except (http.client.HTTPException, OSError, ValueError) as error:
            raise no_answer(self.name, error) from error

    def _exchange(self, call: HttpCall) -> HttpReply:
        url = urlsplit(call.url)
        origin = (url.scheme, url.hostname or "", url.port or PORTS[_known(url.scheme)])
        request = self._request(call, url)
        connected = self._take(origin)
        try:
            connected.settimeout(call.read_timeout_s)
            connected.sendall(request)
            response = _response(connected, call)
            reply = HttpReply(response.status, _headers(response), self._body(response, call.largest_answer))
        except BaseException:
            connected.close()
            raise
        self._keep(origin, connected, response)
        return reply

    def _request(self, call: HttpCall, url: SplitResult) -> bytes:
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        if _ILLEGAL_IN_TARGET.search(f"{call.method}{target}"):
            raise illegal_request(self.name)
        headers = {"Host": url.netloc.rpartition("@")[2], "Accept-Encoding": "identity", **call.headers}
        if call.body or call.method in ("POST", "PUT", "PATCH"):
            headers["Content-Length"] = str(len(call.body))
        head = [f"{call.method} {target} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items()), "\r\n"]
        return "\r\n".join(head).encode("latin-1") + call.body

    def _body(self, response: http.client.HTTPResponse, most_bytes: int) -> bytes:
        if response.length is not None and response.length <= most_bytes:
            return response.read()
        return read_body(response.read1, response.length, most_bytes=most_bytes, name=self.name)

    def _take(self, origin: Origin) -> socket.socket:
        idle = self._idle[origin]
        while idle:
            kept, _ = idle.pop()
            if _is_quiet(kept):
                return kept
            kept.close()
        return self._connected(*origin)

    def _connected(self, scheme: str, host: str, port: int) -> socket.socket:
        connected = connect(self._look_up(host, port))
        try:
            return self._trust.wrap_socket(connected, server_hostname=host) if scheme == "https" else connected
        except BaseException:
            connected.close()
            raise

    def _keep(self, origin: Origin, connected: socket.socket, response: http.client.HTTPResponse) -> None:
        response.close()
        if response.will_close or len(self._idle[origin]) >= self._connections:
            connected.close()
            return
        self._idle[origin].append((connected, time.monotonic()))
        if self._sweeper is None:
            self._sweeper = gevent.spawn_later(SWEEP_EVERY_S, self._sweep)

    def _sweep(self) -> None:
        """Closes idle sockets that are old, or that the remote closed: unused ones would stay in CLOSE_WAIT."""
        self._sweeper = None
        for origin, idle in list(self._idle.items()):
            self._idle[origin] = deque(_still_good(idle))
            if not self._idle[origin]:
                del self._idle[origin]
        if self._idle:
            self._sweeper = gevent.spawn_later(SWEEP_EVERY_S, self._sweep)


def _still_good(idle: deque[Idle]) -> Iterator[Idle]:
    watch, oldest_s = _poll(), time.monotonic() - IDLE_S
    for kept, _ in idle:
        watch.register(kept.fileno(), select.POLLIN)
    closed = {descriptor for descriptor, _ in watch.poll(0)}
    for kept, since_s in idle:
        if since_s < oldest_s or kept.fileno() in closed:
            kept.close()
        else:
            yield kept, since_s


def _is_quiet(idle: socket.socket) -> bool:
    """True if nothing came over an idle connection: bytes that nobody asked for are its end, or an error."""
    watch = _poll()
    watch.register(idle.fileno(), select.POLLIN)
    return not watch.poll(0)


def _response(connected: socket.socket, call: HttpCall) -> http.client.HTTPResponse:
    # HTTPResponse allocates a read buffer. Create it when the first byte arrives, because thousands of long polls
    # wait here.
    gevent.socket.wait_read(connected.fileno(), call.read_timeout_s, TimeoutError("timed out"))
    response = http.client.HTTPResponse(connected, method=call.method)
    try:
        response.begin()
    except BaseException:
        response.close()
        raise
    return response


def _headers(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): text for name, text in response.headers.items()}


def _known(scheme: str) -> str:
    if scheme not in PORTS:
        raise ValueError("neither http nor https")
    return scheme
