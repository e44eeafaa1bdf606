"""Each wait for a client has an end, and an idle connection is not mistaken for a slow one."""

from __future__ import annotations

import contextlib
import select
import socket
import time

from attack_target import Target
from attackers import connect, head

LATEST_S = 25.0


def closed_after_s(wires: dict[str, socket.socket], *, until: set[str]) -> dict[str, float]:
    """When the service closed each, until it has closed those in `until`."""
    began_s, closed = time.monotonic(), dict[str, float]()
    while not until <= closed.keys():
        assert time.monotonic() - began_s < LATEST_S, f"only these were closed: {closed}"
        with contextlib.suppress(OSError):
            wires["dribbling"].send(b"G")
        readable, _, _ = select.select([wires[name] for name in wires.keys() - closed.keys()], [], [], 0.5)
        for name in wires.keys() - closed.keys():
            if wires[name] in readable and _at_end(wires[name]):
                closed[name] = time.monotonic() - began_s
    return closed


def _at_end(wire: socket.socket) -> bool:
    try:
        return wire.recv(65_536) == b""
    except ConnectionResetError:
        return True


def test_a_head_that_does_not_come_is_given_up_and_an_idle_connection_is_kept(target: Target) -> None:
    names = ("silent", "dribbling", "second head", "idle", "body")
    wires = {name: connect(target.port) for name in names}
    for name in ("second head", "idle"):
        wires[name].sendall(head("GET", "/v1/live"))
        assert wires[name].recv(65_536).startswith(b"HTTP/1.1 200")
    wires["second head"].sendall(b"GET /v1/l")
    wires["body"].sendall(head("POST", "/v1/authenticate", "Content-Length: 100") + b"{")
    wires["dribbling"].settimeout(None)
    closed = closed_after_s(wires, until={"silent", "dribbling", "second head", "body"})
    assert "idle" not in closed
    assert min(closed.values()) > 2, "a client that is merely slow was given up"
    for wire in wires.values():
        wire.close()
