"""The seam between the codecs and the network: one `Transport`, one trust store, one set of limits for all of them."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol, TypeVar

import gevent
import requests.utils

from bridge.errors import AnswerTooLarge, RemoteUnavailable
from bridge.wire import HttpCall, HttpReply

PORTS = {"http": 80, "https": 443}
CHUNK = 65_536
CONNECT_TIMEOUT_S = 5.0
_ILLEGAL_IN_HEADER = re.compile(r"[\r\n\0]")
# What the libraries between a transport and its socket raise says less than the error that they wrap.
_WRAPPERS = frozenset({"requests", "urllib3"})

Addresses = list[tuple[Any, ...]]
LookUp = Callable[[str, int], Addresses]
Kind = TypeVar("Kind", bound=BaseException)


class Transport(Protocol):
    """Carries one call to a remote server and returns its answer.

    No redirect is followed, no cookie kept, no proxy or credential taken from the environment. One call is one request:
    nothing is repeated here.
    """

    def send(self, call: HttpCall) -> HttpReply:
        """The answer, whatever its status. Raises RemoteUnavailable when no answer comes in time."""


class TotalTimeout(TimeoutError):
    """`HttpCall.total_timeout_s` is over. An OSError, because `gevent.Timeout` is no Exception and would end actors."""


@cache
def trust() -> ssl.SSLContext:
    """The certificates that every connection is verified by."""
    # Loading them takes 30 ms and a megabyte; an SSLContext of its own costs each connection 20 KiB.
    context = ssl.create_default_context()
    context.load_verify_locations(requests.utils.DEFAULT_CA_BUNDLE_PATH)
    return context


def look_up(host: str, port: int) -> Addresses:
    """The addresses of one of the operator's own remotes, as getaddrinfo gives them. Raises OSError."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def connect(addresses: Addresses) -> socket.socket:
    """A connection to the first address that accepts one. Raises OSError when none does."""
    failure: OSError = OSError("no address")
    for family, kind, protocol, _, address in addresses:
        connecting = socket.socket(family, kind, protocol)
        try:
            connecting.settimeout(CONNECT_TIMEOUT_S)
            connecting.connect(address)
            connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException as error:
            connecting.close()
            if isinstance(error, TotalTimeout) or not isinstance(error, OSError):
                raise
            failure = error
        else:
            return connecting
    raise failure


def check_headers(call: HttpCall, name: str) -> None:
    """Raises RemoteUnavailable for a header that would inject another one: some values come from a remote server."""
    if any(_ILLEGAL_IN_HEADER.search(header + value) for header, value in call.headers.items()):
        raise illegal_request(name)


def illegal_request(name: str) -> RemoteUnavailable:
    """The error for a request that HTTP cannot express. It does not repeat the request, which may hold a secret."""
    return RemoteUnavailable(f"{name}: illegal character in request target or header")


def read_body(read1: Callable[[int], bytes], announced: int | None, *, most_bytes: int, name: str) -> bytes:
    """The body, read by `read1` to its end. Raises AnswerTooLarge as soon as that is certain."""
    body = bytearray()
    while max(announced or 0, len(body)) <= most_bytes:
        if not (chunk := read1(CHUNK)):
            return bytes(body)
        body += chunk
        # A body in chunks of one byte, sent without a pause, would otherwise run here until its end.
        gevent.sleep(0)
    raise AnswerTooLarge(f"{name} answered more than {most_bytes} bytes")


def no_answer(name: str, error: BaseException) -> RemoteUnavailable:
    """The error that says why there is no answer: never the URL, whose query may hold a secret."""
    if cause(error, TotalTimeout) is not None:
        return RemoteUnavailable(f"{name} took too long to answer")
    if (certificate := cause(error, ssl.SSLCertVerificationError)) is not None:
        return RemoteUnavailable(f"{name} has no valid certificate: {certificate.verify_message}")
    return RemoteUnavailable(f"{name} did not answer: {_name_of(error)}")


def cause(error: BaseException | None, kind: type[Kind]) -> Kind | None:
    """The error of this kind in the chain of `__cause__` and `__context__`, or None."""
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error


def _name_of(error: BaseException) -> str:
    named: BaseException | None = error
    while named is not None and type(named).__module__.partition(".")[0] in _WRAPPERS:
        named = named.__cause__ or named.__context__
    return type(named or error).__name__
