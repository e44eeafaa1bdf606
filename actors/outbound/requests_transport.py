"""The transport over `requests`: for what is called a few times a chat, and for files of unknown hosts."""

from __future__ import annotations

import http.cookiejar
import socket
import ssl
from typing import Any

import gevent
import requests
import requests.adapters
import urllib3

from bridge.actors.outbound.transport import (
    CONNECT_TIMEOUT_S,
    LookUp,
    TotalTimeout,
    check_headers,
    connect,
    look_up,
    no_answer,
    read_body,
    trust,
)
from bridge.actors.outbound.yielding_response import YieldingResponse
from bridge.wire import HttpCall, HttpReply

# A connection is kept no longer than this.
KEPT_S = 30.0


class RequestsTransport:
    """One `requests.Session` for all calls to one remote. Keeps up to `connections` of them open; 0 keeps none."""

    def __init__(self, name: str, *, connections: int, look_up: LookUp = look_up) -> None:
        self.name = name
        self._keeps = connections > 0
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        adapter = _Adapter(trust(), look_up, pool_connections=4, pool_maxsize=max(connections, 1), max_retries=0)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        self._closing: gevent.Greenlet | None = None

    def send(self, call: HttpCall) -> HttpReply:
        """Carries the call. `total_timeout_s` holds however slowly the answer comes."""
        check_headers(call, self.name)
        try:
            with gevent.Timeout(call.total_timeout_s, TotalTimeout()):
                return self._exchange(call)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise no_answer(self.name, error) from error
        finally:
            if not self._keeps:
                self._session.close()
            elif self._closing is None:
                self._closing = gevent.spawn_later(KEPT_S, self._close_idle)

    def _close_idle(self) -> None:
        """Closes the idle connections: those that the remote closed would stay in CLOSE_WAIT. Calls go on."""
        self._closing = None
        self._session.close()

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
        body = self._body(response, most_bytes=call.largest_answer)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return HttpReply(response.status_code, headers, body)

    def _body(self, response: requests.Response, *, most_bytes: int) -> bytes:
        try:
            body = read_body(response.raw.read1, response.raw.length_remaining, most_bytes=most_bytes, name=self.name)
        except BaseException:
            response.close()
            raise
        # Not `close()`: after a body that was read to its end the next call can use the connection.
        response.raw.release_conn()
        return body


class _Adapter(requests.adapters.HTTPAdapter):
    """Gives every connection our SSLContext, our look-up of names, and answers that are read in turns."""

    def __init__(self, ssl_context: ssl.SSLContext, look_up: LookUp, **options: Any) -> None:
        self._ssl_context = ssl_context
        self._look_up = look_up
        super().__init__(**options)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._ssl_context, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pool_classes(self._look_up)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Verifies always, by the certificates of the SSLContext."""
        # The base method sets `ca_certs`, and urllib3 then loads that bundle for each connection again (15 ms).
        conn.cert_reqs = "CERT_REQUIRED"


def _pool_classes(look_up: LookUp) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    class Connection(urllib3.connection.HTTPConnection):
        response_class = YieldingResponse

        def _new_conn(self) -> socket.socket:
            return connect(look_up(self._dns_host, self.port))

    class TlsConnection(Connection, urllib3.connection.HTTPSConnection):
        pass

    class Pool(urllib3.HTTPConnectionPool):
        ConnectionCls = Connection

    class TlsPool(urllib3.HTTPSConnectionPool):
        ConnectionCls = TlsConnection

    return {"http": Pool, "https": TlsPool}
