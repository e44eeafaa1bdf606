"""Users' files: a file that a stranger's URL names is fetched from public or allowed hosts alone."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Collection
from ipaddress import ip_address
from urllib.parse import urljoin

from urllib3.util import Url, parse_url

from bridge.actors.outbound.names import Names
from bridge.actors.outbound.requests_transport import RequestsTransport
from bridge.actors.outbound.transport import PORTS, Addresses, LookUp, TotalTimeout, Transport, cause
from bridge.errors import AnswerTooLarge, RemoteRefused, RemoteUnavailable, SettingsError
from bridge.public_internet import is_public
from bridge.settings.load import Settings
from bridge.wire import HttpCall, HttpReply, raise_for_status

MOST_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})
UNKNOWN_NAME = frozenset({socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_ADDRFAMILY})
_HEADERS = {"Connection": "close"}


def strangers_transport(look_up: LookUp) -> Transport:
    """A transport that keeps no connection and goes only where `look_up` lets it."""
    return RequestsTransport("the file's host", connections=0, look_up=look_up)


class MediaHost:
    """Fetches files by the URLs of strangers.

    With `allowed_hosts` only from these, whatever their addresses: `host` (any port) or `host:port`, IPv6 in brackets.
    Without, from every host all of whose addresses are public, on any port. `make_transport` is given the look-up that
    holds this rule. Raises SettingsError for an entry that names no host.
    """

    def __init__(
        self,
        *,
        allowed_hosts: Collection[str],
        max_bytes: int,
        timeout_s: float,
        make_transport: Callable[[LookUp], Transport] = strangers_transport,
    ) -> None:
        self._allowed = frozenset(map(_parse_entry, allowed_hosts))
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        # Threads of their own: a stranger's name server may be slow on purpose.
        self._names = Names(kept_s=0)
        self._transport = make_transport(self._addresses)

    @classmethod
    def from_settings(cls, settings: Settings) -> MediaHost:
        """As the operator set it: MEDIA_ALLOWED_HOSTS, MEDIA_MAX_BYTES, MEDIA_TIMEOUT."""
        return cls(
            allowed_hosts=settings.media_allowed_hosts,
            max_bytes=settings.media_max_bytes,
            timeout_s=settings.media_timeout,
        )

    def fetch(self, url: str) -> bytes:
        """The file, whole. `timeout_s` holds from the look-up of the name to the last byte.

        Raises RemoteRefused or RemoteUnavailable, with a sentence that names the host at most: a query may be a secret.
        """
        deadline_s = time.monotonic() + self._timeout_s
        for _ in range(1 + MOST_REDIRECTS):
            where = _parse(url)
            reply = self._get(where, left_s=max(deadline_s - time.monotonic(), 0.001))
            location = reply.headers.get("location")
            if reply.status not in REDIRECTS or not location:
                return _content(reply, _name(where.host))
            url = urljoin(where.url, location)
        raise RemoteRefused(f"the file's host redirects more than {MOST_REDIRECTS} times")

    def _get(self, where: Url, *, left_s: float) -> HttpReply:
        call = HttpCall(
            method="GET",
            url=where.url,
            headers=_HEADERS,
            read_timeout_s=left_s,
            total_timeout_s=left_s,
            largest_answer=self._max_bytes,
        )
        try:
            return self._transport.send(call)
        except AnswerTooLarge as error:
            raise RemoteRefused(f"the file is larger than {self._max_bytes} bytes") from error
        except RemoteUnavailable as error:
            if cause(error, TotalTimeout) is not None:
                raise RemoteUnavailable(f"the file did not arrive within {self._timeout_s:g} s") from error
            if cause(error, ssl.SSLCertVerificationError) is not None:
                raise RemoteRefused(str(error)) from error
            if isinstance(error.__cause__, ValueError):
                raise RemoteRefused("the file's URL is malformed") from error
            raise

    def _addresses(self, host: str, port: int) -> Addresses:
        """The checked addresses. The transport connects to these, so the name cannot point elsewhere by then."""
        name = _name(host)
        if self._allowed and not self._allowed & {(name, None), (name, port)}:
            raise RemoteRefused(f"files from {name} are not allowed")
        addresses = _look_up(self._names, name, port)
        if not self._allowed and not all(is_public(address[0]) for *_, address in addresses):
            raise RemoteRefused(f"{name} is not on the public internet")
        return addresses


def _parse(url: str) -> Url:
    try:
        where = parse_url(url)
    except ValueError as error:
        raise RemoteRefused("the file's URL is malformed") from error
    if where.scheme not in PORTS or not where.host:
        raise RemoteRefused("a file's URL must begin with http:// or https:// and name a host")
    if where.auth is not None:
        raise RemoteRefused("a file's URL must not hold a user or a password")
    return where


def _look_up(names: Names, name: str, port: int) -> Addresses:
    try:
        return names.look_up(name, port)
    except UnicodeError as error:
        raise RemoteRefused("the file's host has an illegal name") from error
    except socket.gaierror as error:
        if error.errno in UNKNOWN_NAME:
            raise RemoteRefused(f"there is no host {name}") from error
        raise RemoteUnavailable(f"{name} could not be looked up") from error


def _content(reply: HttpReply, name: str) -> bytes:
    raise_for_status(reply, name, quoted=False)
    if reply.headers.get("content-encoding", "identity").lower() != "identity":
        raise RemoteRefused(f"{name} sends the file compressed, although `identity` was asked for")
    return reply.body


def _name(host: str | None) -> str:
    """The host in one spelling: lower case, IDNA, no brackets, no final dot, an IPv6 address at its shortest."""
    bare = (host or "").strip("[]").rstrip(".").lower()
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
    return _name(where.host), where.port
