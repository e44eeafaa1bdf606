"""Unfinished bodies, compressed bombs and floods of ids: memory stays bounded, and the next request is served."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import socket
from pathlib import Path

from attack_target import Target
from attackers import WEBHOOK, connect, head

MIB = 1024 * 1024
BODY = 256 * 1024
BUDGET = 64 * MIB
# What the budget is for, and as much again for the connections and the buffers of Gunicorn.
MOST_GROWTH_MIB = 160


def rss_mib(target: Target) -> float:
    (pid,) = target.worker_pids()
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) / 1024


def text(number: int) -> bytes:
    message = {"type": "text", "id": f"m{number}", "from": f"52{number:010d}", "text": {"body": "Hola"}}
    return json.dumps(message).encode()


def begin_body(target: Target) -> socket.socket:
    """A webhook that lacks its last byte."""
    wire = connect(target.port)
    with contextlib.suppress(OSError):
        wire.sendall(head("POST", WEBHOOK, f"Content-Length: {BODY}") + b" " * (BODY - 1))
    return wire


def status_of(wire: socket.socket) -> int:
    """The status of the answer, 0 before it has come."""
    wire.settimeout(0.01)
    with contextlib.suppress(OSError):
        return int(wire.recv(4096)[9:12] or 0)
    return 0


def test_bodies_on_their_way_hold_no_more_than_their_budget(target: Target) -> None:
    before_mib = rss_mib(target)
    wires = [begin_body(target) for _ in range(2 * BUDGET // BODY)]
    refused = [wire for wire in wires if status_of(wire) == 503]
    held_mib = rss_mib(target) - before_mib
    print(f"{len(wires)} unfinished bodies, {len(refused)} refused: {held_mib:.0f} MiB more")
    assert refused
    assert held_mib < MOST_GROWTH_MIB
    for wire in wires:
        wire.close()
    assert target.ask("GET", "/v1/live")[0] == 200


def test_after_unfinished_bodies_the_budget_is_whole_again(target: Target) -> None:
    assert target.ask("POST", WEBHOOK, text(0).ljust(BODY))[0] == 200


def test_a_compressed_body_is_not_unpacked(target: Target) -> None:
    before_mib = rss_mib(target)
    bomb = gzip.compress(b" " * 200 * MIB)
    assert target.ask("POST", WEBHOOK, bomb[: BODY - 1], **{"Content-Encoding": "gzip"})[0] == 400
    assert rss_mib(target) - before_mib < 20


def test_a_flood_of_ids_leaves_nothing_in_the_worker(target: Target) -> None:
    assert target.ask("POST", WEBHOOK, text(1))[0] == 200
    before_mib = rss_mib(target)
    for number in range(2, 500):
        assert target.ask("POST", WEBHOOK, text(number))[0] == 200
        assert target.ask("GET", f"/v1/context/{number}")[0] == 401
        assert target.ask("GET", f"/v1/nothing/{number}")[0] == 404
    assert rss_mib(target) - before_mib < 30
