"""Where users' files lie: a file that a stranger's URL names is fetched from public or allowed hosts alone."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Collection
from contextlib import closing
from ipaddress import ip_address
from typing import Any
from urllib.parse import urljoin

import gevent
import requests.utils
from urllib3.util import Url, parse_url

from bridge.actors.outbound.yielding_response import YieldingResponse
from bridge.errors import RemoteError, RemoteRefused, RemoteUnavailable, SettingsError
from bridge.public_internet import is_public
from bridge.settings.load import Settings
from bridge.wire import HttpReply, raise_for_status

MOST_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})
PORTS = {"http": 80, "https": 443}
CONNECT_TIMEOUT_S = 3.0
CHUNK = 65_536
NOBODY_THERE = frozenset({socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_ADDRFAMILY})


class MediaHost:
    """Fetches files by the URLs of strangers.

    With `allowed_hosts` only from these, whatever their addresses: `host` (any port) or `host:port`, IPv6 in brackets.
    Without, from every host all of whose addresses are public, on any port. Raises SettingsError for a senseless entry.
    """

    def __init__(self, *, allowed_hosts: Collection[str], max_bytes: int, timeout_s: float) -> None:
        self._allowed = frozenset(map(_parse_entry, allowed_hosts))
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._tls = ssl.create_default_context()
        self._tls.load_verify_locations(requests.utils.DEFAULT_CA_BUNDLE_PATH)

    @classmethod
    def from_settings(cls, settings: Settings) -> MediaHost:
        """As the operator set it: MEDIA_ALLOWED_HOSTS, MEDIA_MAX_BYTES, MEDIA_TIMEOUT."""
        return cls(
            allowed_hosts=settings.media_allowed_hosts,
            max_bytes=settings.media_max_bytes,
            timeout_s=settings.media_timeout,
        )

    def fetch(self, url: str) -> bytes:
        """The file, whole. Its time is kept from the look-up of the name to the last byte.

        Raises RemoteRefused or RemoteUnavailable, with a sentence that names the host at most: a query may be a secret.
        """
        # A greenlet of its own, for only that can be given up in the midst of a look-up or a TLS handshake.
        task = gevent.spawn(self._outcome, url)
        try:
            task.join(self._timeout_s)
            late = RemoteUnavailable(f"the file did not arrive within {self._timeout_s:g} s")
            outcome: bytes | RemoteError = task.get() if task.ready() else late
        finally:
            task.kill(block=False)
        if isinstance(outcome, RemoteError):
            raise outcome
        return outcome

    def _outcome(self, url: str) -> bytes | RemoteError:
        # Errors are handed over, not raised: gevent prints what leaves a greenlet, and there the URL would stand.
        try:
            return self._follow(url)
        except RemoteError as error:
            return error
        except ssl.SSLCertVerificationError as error:
            return RemoteRefused(f"the file's host has no valid certificate: {error.verify_message}")
        except (ValueError, http.client.InvalidURL):
            return RemoteRefused("the file's URL is malformed")
        except (OSError, http.client.HTTPException) as error:
            return RemoteUnavailable(f"the file's host did not answer: {type(error).__name__}")

    def _follow(self, url: str) -> bytes:
        for _ in range(1 + MOST_REDIRECTS):
            where = parse_url(url)
            with self._dial(where) as line, closing(_ask(line, where)) as response:
                location = response.getheader("Location")
                if response.status not in REDIRECTS or not location:
                    return self._read(response, _name(where))
            url = urljoin(where.url, location)
        raise RemoteRefused(f"the file's host redirects more than {MOST_REDIRECTS} times")

    def _dial(self, where: Url) -> socket.socket:
        line = _connect(self._resolve(where))
        line.settimeout(self._timeout_s)
        if where.scheme == "http":
            return line
        return self._tls.wrap_socket(line, server_hostname=_name(where), do_handshake_on_connect=False)

    def _resolve(self, where: Url) -> list[Any]:
        """The checked socket addresses: nothing looks the name up again, so it cannot point elsewhere by then."""
        if where.scheme not in PORTS or not where.host:
            raise RemoteRefused("a file's URL must begin with http:// or https:// and name a host")
        if where.auth is not None:
            raise RemoteRefused("a file's URL must not hold a user or a password")
        name, port = _name(where), where.port or PORTS[where.scheme]
        if self._allowed and not self._allowed & {(name, None), (name, port)}:
            raise RemoteRefused(f"files from {name} are not allowed")
        ends = _look_up(name, port)
        if not self._allowed and not all(is_public(address[0]) for *_, address in ends):
            raise RemoteRefused(f"{name} is not on the public internet")
        return ends

    def _read(self, response: http.client.HTTPResponse, name: str) -> bytes:
        headers = {header.lower(): value for header, value in response.getheaders()}
        raise_for_status(HttpReply(response.status, headers), name)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise RemoteRefused(f"{name} sends the file compressed, which was not asked for")
        announced, body = response.length or 0, bytearray()
        while max(announced, len(body)) <= self._max_bytes:
            if not (chunk := response.read1(CHUNK)):
                break
            body += chunk
        else:
            raise RemoteRefused(f"the file is larger than {self._max_bytes} bytes")
        if len(body) < announced:
            raise RemoteUnavailable(f"{name} broke off in the midst of the file")
        return bytes(body)


def _ask(line: socket.socket, where: Url) -> http.client.HTTPResponse:
    if isinstance(line, ssl.SSLSocket):
        line.do_handshake()
    exchange = http.client.HTTPConnection(_name(where))
    exchange.sock = line
    exchange.response_class = YieldingResponse
    headers = {"Host": where.netloc or "", "Accept-Encoding": "identity", "Connection": "close"}
    exchange.request("GET", where.request_uri, headers=headers)
    return exchange.getresponse()


def _look_up(name: str, port: int) -> list[Any]:
    try:
        return socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in NOBODY_THERE:
            raise RemoteRefused(f"there is no host {name}") from error
        raise RemoteUnavailable(f"{name} could not be looked up") from error


def _connect(ends: list[Any]) -> socket.socket:
    """A connection to the first end that takes one. Raises OSError when none does."""
    failure = OSError("no address")
    for *_, address in ends:
        try:
            return socket.create_connection(address[:2], CONNECT_TIMEOUT_S)
        except OSError as error:
            failure = error
    raise failure


def _name(where: Url) -> str:
    """The host in one spelling: lower case, IDNA, no brackets, no final dot, an IPv6 address at its shortest."""
    bare = (where.host or "").strip("[]").rstrip(".").lower()
    try:
        return str(ip_address(bare))
    except ValueError:
        return bare


def _parse_entry(entry: str) -> tuple[str, int | None]:
    try:
        where = parse_url(f"http://{entry}")
    except ValueError:
        where = Url()
    if not where.host or where.auth is not None or where.request_uri != "/" or "*" in entry:
        raise SettingsError([f"MEDIA_ALLOWED_HOSTS: {entry!r} is not host or host:port"])
    return _name(where), where.port
