"""A lean transport for what is called most, polls and messages: HTTP/1.1 over sockets that are kept, without layers."""

from __future__ import annotations

import http.client
import re
import select
import socket
import ssl
from collections import defaultdict
from urllib.parse import SplitResult, urlsplit

import gevent
import gevent.socket
from gevent import monkey

from bridge.actors.outbound.transport import CHUNK, CONNECT_TIMEOUT_S, LARGEST_ANSWER, TooLong, is_late, trust
from bridge.errors import RemoteGarbled, RemoteUnavailable
from bridge.wire import HttpCall, HttpReply

Origin = tuple[str, str, int]
PORTS = {"http": 80, "https": 443}
_UNFIT_TARGET = re.compile(r"[^\x21-\x7e]")
_UNFIT_VALUE = re.compile(r"[\r\n\0]")
# The real one: it only looks, and a look must not be a turn for others.
_poll = monkey.get_original("select", "poll")


class SocketTransport:
    """Keeps up to `connections` idle sockets. No cookies, no redirects, no proxy, nothing from the environment.

    Costs a third of what a `requests.Session` does: 0.1 ms of CPU a call, and 16 KiB while a poll is held.
    """

    def __init__(self, name: str, *, connections: int) -> None:
        self.name = name
        self._connections = connections
        self._trust = trust()
        self._idle: defaultdict[Origin, list[socket.socket]] = defaultdict(list)

    def send(self, call: HttpCall) -> HttpReply:
        """Carries the call. Its times are kept however slowly the answer drips in."""
        try:
            # With an error of our own: gevent's is no Exception, and would end every actor of the process.
            with gevent.Timeout(call.total_timeout_s, TooLong()):
                return self._exchange(call)
        except (http.client.HTTPException, OSError, ValueError) as error:
            how = "took too long to answer" if is_late(error) else f"did not answer: {_kind(error)}"
            raise RemoteUnavailable(f"{self.name} {how}") from error

    def _exchange(self, call: HttpCall) -> HttpReply:
        url = urlsplit(call.url)
        origin = (url.scheme, url.hostname or "", url.port or PORTS[_known(url.scheme)])
        request = _request(call, url)
        line = self._take(origin)
        try:
            line.settimeout(call.read_timeout_s)
            line.sendall(request)
            response = _answer(line, call)
            reply = HttpReply(response.status, _headers(response), self._body(response))
        except BaseException:
            line.close()
            raise
        self._keep(origin, line, response)
        return reply

    def _body(self, response: http.client.HTTPResponse) -> bytes:
        expected = response.length
        if expected is not None and expected <= LARGEST_ANSWER:
            return response.read()
        body = bytearray()
        while chunk := response.read1(CHUNK):
            body += chunk
            if len(body) > LARGEST_ANSWER:
                raise RemoteGarbled(f"{self.name} answered more than {LARGEST_ANSWER} bytes")
        return bytes(body)

    def _take(self, origin: Origin) -> socket.socket:
        idle = self._idle[origin]
        while idle:
            line = idle.pop()
            if _is_quiet(line):
                return line
            line.close()
        return self._connected(*origin)

    def _connected(self, scheme: str, host: str, port: int) -> socket.socket:
        line = socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S)
        try:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self._trust.wrap_socket(line, server_hostname=host) if scheme == "https" else line
        except BaseException:
            line.close()
            raise

    def _keep(self, origin: Origin, line: socket.socket, response: http.client.HTTPResponse) -> None:
        response.close()
        if response.will_close or len(self._idle[origin]) >= self._connections:
            line.close()
        else:
            self._idle[origin].append(line)


def _is_quiet(line: socket.socket) -> bool:
    """Whether nothing came over an idle connection: what comes unasked is its end, or makes no sense."""
    watch = _poll()
    watch.register(line.fileno(), select.POLLIN)
    return not watch.poll(0)


def _answer(line: socket.socket, call: HttpCall) -> http.client.HTTPResponse:
    # Only then is there need for a buffer: thousands of polls wait here.
    gevent.socket.wait_read(line.fileno(), call.read_timeout_s, TimeoutError("timed out"))
    response = http.client.HTTPResponse(line, method=call.method)
    try:
        response.begin()
    except BaseException:
        response.close()
        raise
    return response


def _headers(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): text for name, text in response.headers.items()}


def _request(call: HttpCall, url: SplitResult) -> bytes:
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    host = url.netloc.rpartition("@")[2]
    headers = {"Host": host, "Accept-Encoding": "identity", **call.headers}
    if call.body or call.method in ("POST", "PUT", "PATCH"):
        headers["Content-Length"] = str(len(call.body))
    if _UNFIT_TARGET.search(f"{call.method}{target}") or any(_UNFIT_VALUE.search(n + v) for n, v in headers.items()):
        # Some of it was said by a neighbour: a line break in it would begin a header of its own.
        raise ValueError("not fit for a request's head")
    lines = [f"{call.method} {target} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items()), "\r\n"]
    return "\r\n".join(lines).encode("latin-1") + call.body


def _known(scheme: str) -> str:
    if scheme not in PORTS:
        raise ValueError("neither http nor https")
    return scheme


def _kind(error: BaseException) -> str:
    return "SSLError" if isinstance(error, ssl.SSLError) else type(error).__name__
