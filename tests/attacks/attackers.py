"""Programs that attack a service on loopback. Each is a process of its own: it shares no event loop with the probe.

`python attackers.py NAME PORT SECONDS` ends by itself after that time and prints how many bytes it sent.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Callable, Iterable

HOST = "127.0.0.1"
PAUSE_S = 0.05
A_ROUND = 10
WEBHOOK = "/v1/integrations/whatsapp/webhook"
ONE_BYTE_CHUNKS = b"1\r\nA\r\n" * 10_000
SPACES = b" " * 65_536


def head(method: str, path: str, *headers: str) -> bytes:
    """The head of a request."""
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: x", *headers, "", "")).encode()


def connect(port: int, *, source: str = HOST) -> socket.socket:
    """A connection to the service, from one of the loopback addresses."""
    return socket.create_connection((HOST, port), timeout=5, source_address=(source, 0))


def pour(port: int, deadline_s: float, first: bytes, piece: bytes) -> int:
    """Sends `first` and then `piece` without end; opens a new connection whenever the service closes this one."""
    sent = 0
    while time.monotonic() < deadline_s:
        with contextlib.suppress(OSError), connect(port) as wire:
            wire.settimeout(1)
            wire.sendall(first)
            while time.monotonic() < deadline_s:
                sent += wire.send(piece)
        time.sleep(PAUSE_S)
    return sent


def drain_length(port: int, deadline_s: float) -> int:
    """A request whose body nobody reads, with a length that never comes to an end."""
    return pour(port, deadline_s, head("POST", "/v1/live", "Content-Length: 100000000000"), SPACES)


def drain_chunk1(port: int, deadline_s: float) -> int:
    """The same in chunks of one byte."""
    return pour(port, deadline_s, head("POST", "/v1/live", "Transfer-Encoding: chunked"), ONE_BYTE_CHUNKS)


def webhook_chunk1(port: int, deadline_s: float) -> int:
    """A webhook in chunks of one byte."""
    return pour(port, deadline_s, head("POST", WEBHOOK, "Transfer-Encoding: chunked"), ONE_BYTE_CHUNKS)


def auth_chunk1(port: int, deadline_s: float) -> int:
    """A login in chunks of one byte."""
    return pour(port, deadline_s, head("POST", "/v1/authenticate", "Transfer-Encoding: chunked"), ONE_BYTE_CHUNKS)


def idle_flood(port: int, deadline_s: float) -> int:
    """Connections that send nothing, as many as the service takes."""
    return _hold(port, deadline_s, lambda wire: 0)


def slow_heads(port: int, deadline_s: float) -> int:
    """Connections that begin a head and add a byte to it now and then."""
    return _hold(port, deadline_s, lambda wire: wire.send(b"G"))


def slow_bodies(port: int, deadline_s: float) -> int:
    """Connections that begin a body and add a byte to it now and then."""
    begun = head("POST", WEBHOOK, "Content-Length: 1000")
    return _hold(port, deadline_s, lambda wire: wire.send(b" "), first=begun)


def slow_readers(port: int, deadline_s: float) -> int:
    """Connections that ask for the largest page again and again and read none of it."""
    asked = head("GET", "/v1/openapi.json") * 500
    return _hold(port, deadline_s, lambda wire: wire.send(asked), most=50)


def _hold(
    port: int, deadline_s: float, feed: Callable[[socket.socket], int], *, first: bytes = b"", most: int = 700
) -> int:
    wires: list[socket.socket] = []
    sent = 0
    while time.monotonic() < deadline_s:
        wires += _opened(port, most - len(wires), first)
        sent += sum(_fed(wires, feed))
        time.sleep(PAUSE_S)
    return sent


def _opened(port: int, count: int, first: bytes) -> Iterable[socket.socket]:
    for number in range(min(count, A_ROUND)):
        with contextlib.suppress(OSError):
            wire = connect(port, source=f"127.0.0.{number % 100 + 2}")
            wire.sendall(first)
            wire.setblocking(False)
            yield wire


def _fed(wires: list[socket.socket], feed: Callable[[socket.socket], int]) -> Iterable[int]:
    for wire in list(wires):
        try:
            yield feed(wire)
        except BlockingIOError:
            continue
        except OSError:
            wires.remove(wire)
            wire.close()


ATTACKERS: dict[str, Callable[[int, float], int]] = {
    "drain-length": drain_length,
    "drain-chunk1": drain_chunk1,
    "webhook-chunk1": webhook_chunk1,
    "auth-chunk1": auth_chunk1,
    "idle-flood": idle_flood,
    "slow-heads": slow_heads,
    "slow-bodies": slow_bodies,
    "slow-readers": slow_readers,
}

if __name__ == "__main__":
    _, name, port, seconds = sys.argv
    print(ATTACKERS[name](int(port), time.monotonic() + float(seconds)))
