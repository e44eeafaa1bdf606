"""Host names: looked up in threads of their own, one look-up a name at a time, kept for a short time where wanted."""

from __future__ import annotations

import socket
import time
from ipaddress import ip_address

import gevent.event
from gevent import monkey
from gevent.threadpool import ThreadPool

from bridge.actors.outbound.transport import Addresses
from bridge.errors import RemoteUnavailable

# gevent's getaddrinfo() runs in the ten threads that the whole process shares: names of strangers would block Redis.
getaddrinfo = monkey.get_original("socket", "getaddrinfo")

THREADS = 4
MOST_WAITING = 16
KEPT_S = 30.0
# An address that is older than KEPT_S is still used for so long while the name server does not answer.
STALE_S = 600.0

Key = tuple[str, int]


class Names:
    """Looks names up in `THREADS` threads. Addresses are kept for `kept_s` seconds; 0 looks up each time.

    A look-up that hangs keeps its thread: other names have the other threads, and the same name waits for the same
    look-up.
    """

    def __init__(self, *, kept_s: float = KEPT_S) -> None:
        self._kept_s = kept_s
        self._threads = ThreadPool(THREADS)
        self._under_way: dict[Key, gevent.event.AsyncResult] = {}
        self._count = 0
        self._known: dict[Key, tuple[float, Addresses]] = {}

    def look_up(self, host: str, port: int) -> Addresses:
        """The addresses of a host. Raises OSError, UnicodeError for an illegal name, RemoteUnavailable when full."""
        if (literal := _literal(host, port)) is not None:
            return literal
        key, now_s = (host, port), time.monotonic()
        since_s, addresses = self._known.get(key, (float("-inf"), []))
        if now_s - since_s < self._kept_s:
            return addresses
        found = self._found(key)
        if isinstance(found, list):
            self._keep(key, found)
            return found
        if self._kept_s and now_s - since_s < STALE_S:
            return addresses
        raise found

    def _found(self, key: Key) -> Addresses | OSError | UnicodeError:
        under_way = self._under_way.get(key)
        if under_way is None:
            under_way = self._under_way[key] = self._begin(key)
            under_way.rawlink(lambda _: self._end(key))
        found: Addresses | OSError | UnicodeError = under_way.get()
        return found

    def _begin(self, key: Key) -> gevent.event.AsyncResult:
        if self._count >= THREADS + MOST_WAITING:
            raise RemoteUnavailable("too many host names are being looked up")
        self._count += 1
        try:
            # spawn() may wait for a free thread.
            return self._threads.spawn(_resolve, *key)
        except BaseException:
            self._count -= 1
            raise

    def _end(self, key: Key) -> None:
        self._count -= 1
        self._under_way.pop(key, None)

    def _keep(self, key: Key, found: Addresses) -> None:
        if self._kept_s:
            self._known[key] = (time.monotonic(), found)


def _resolve(host: str, port: int) -> Addresses | OSError | UnicodeError:
    # Errors are returned: gevent prints what is raised in a thread to stderr, past the log.
    try:
        found: Addresses = getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return error
    return found


def _literal(host: str, port: int) -> Addresses | None:
    try:
        version = ip_address(host).version
    except ValueError:
        return None
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]
