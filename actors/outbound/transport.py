"""How a request leaves and its answer comes in: one shared session a neighbour, with limits on time and size."""

from __future__ import annotations

import http.cookiejar
import ssl
import time
from collections.abc import Collection
from functools import cache
from typing import Any, Protocol

import gevent
import requests
import requests.adapters
import requests.utils
import urllib3

from bridge.errors import RemoteGarbled, RemoteUnavailable
from bridge.limits import Breaker
from bridge.wire import HttpCall, HttpReply

CONNECT_TIMEOUT_S = 5.0
LARGEST_ANSWER = 4 * 1024 * 1024
CHUNK = 65_536


class Transport(Protocol):
    """Anything that can carry a call to a neighbour and bring its answer."""

    def send(self, call: HttpCall) -> HttpReply:
        """The answer, whatever its status. Raises RemoteUnavailable when there is none, or none in time."""


class _Adapter(requests.adapters.HTTPAdapter):
    """Shares one SSLContext among all connections: it costs 20 KiB a connection otherwise."""

    def __init__(self, ssl_context: ssl.SSLContext, **options: Any) -> None:
        self._ssl_context = ssl_context
        super().__init__(**options)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._ssl_context, **kwargs)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Verifies always, by what the context trusts."""
        # Naming a bundle here, as the overridden one does, has it read anew for each connection: 15 ms.
        conn.cert_reqs = "CERT_REQUIRED"


class TooLong(TimeoutError):
    """The whole answer was not there in time."""


def is_late(error: BaseException | None) -> bool:
    """Whether an error comes of that."""
    while error is not None and not isinstance(error, TooLong):
        # The libraries between here and the socket raise their own errors about it.
        error = error.__context__
    return error is not None


class SessionTransport:
    """One `requests.Session` for all calls to one neighbour. No cookies, no redirects, nothing from the environment."""

    def __init__(self, name: str, *, connections: int) -> None:
        self.name = name
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        adapter = _Adapter(trust(), pool_connections=4, pool_maxsize=connections, max_retries=0)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def send(self, call: HttpCall) -> HttpReply:
        """Carries the call. Its times are kept however slowly the answer drips in."""
        try:
            # With an error of our own: gevent's is no Exception, and would end every actor of the process.
            with gevent.Timeout(call.total_timeout_s, TooLong()):
                return self._exchange(call)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            how = "took too long to answer" if is_late(error) else f"did not answer: {type(error).__name__}"
            raise RemoteUnavailable(f"{self.name} {how}") from error

    def _exchange(self, call: HttpCall) -> HttpReply:
        response = self._session.request(
            call.method,
            call.url,
            headers={"Accept-Encoding": "identity", **call.headers},
            data=call.body or None,
            timeout=(CONNECT_TIMEOUT_S, call.read_timeout_s),
            allow_redirects=False,
            stream=True,
        )
        body = self._whole_body(response)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return HttpReply(response.status_code, headers, body)

    def _whole_body(self, response: requests.Response) -> bytes:
        try:
            body = self._read(response.raw)
        except BaseException:
            response.close()
            raise
        # Not `close`: a body that was read to its end leaves a connection that the next call can use.
        response.raw.release_conn()
        return body

    def _read(self, raw: Any) -> bytes:
        body = bytearray()
        while chunk := raw.read1(CHUNK):
            body += chunk
            if len(body) > LARGEST_ANSWER:
                raise RemoteGarbled(f"{self.name} answered more than {LARGEST_ANSWER} bytes")
        return bytes(body)


@cache
def trust() -> ssl.SSLContext:
    """What all connections verify their neighbours by."""
    # One for all neighbours: to read the certificates takes 30 ms, and to keep them a megabyte.
    context = ssl.create_default_context()
    context.load_verify_locations(requests.utils.DEFAULT_CA_BUNDLE_PATH)
    return context


class GuardedTransport:
    """A transport that spares its neighbour while that one fails. Never for polls: an empty one is no failure.

    `harmless` are statuses from 500 on that say something of one session and nothing of the neighbour.
    """

    def __init__(self, inner: Transport, breaker: Breaker, *, name: str, harmless: Collection[int] = ()) -> None:
        self._inner = inner
        self._breaker = breaker
        self._name = name
        self._harmless = harmless

    def send(self, call: HttpCall) -> HttpReply:
        """Carries the call, unless the breaker is open."""
        pause_s = self._breaker.pause_s(time.monotonic())
        if pause_s > 0:
            raise RemoteUnavailable(f"{self._name} fails and is spared", retry_after_s=pause_s)
        try:
            reply = self._inner.send(call)
        except RemoteUnavailable:
            self._breaker.note(time.monotonic(), failed=True)
            raise
        self._breaker.note(time.monotonic(), failed=reply.status >= 500 and reply.status not in self._harmless)
        return reply
