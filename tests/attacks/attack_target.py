"""The service under attack, as `bridge serve` runs it, and what is watched meanwhile."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bridge.ops.dump import documents
from bridge.ops.service_process import ServiceProcess
from bridge.ops.simulator.environ import sandbox_environ

ATTACKERS = Path(__file__).with_name("attackers.py")
PATIENCE_S = 20.0
PAUSE_S = 0.1


class Target(ServiceProcess):
    """A service on loopback with one worker. No remote service exists: an attack gets no further than the door."""

    def __init__(self, folder: Path, **overrides: str) -> None:
        self.sockets = folder / "sockets"
        super().__init__(sandbox_environ("http://127.0.0.1:9", ops_socket_dir=str(self.sockets), **overrides))

    def worker_pids(self) -> set[int]:
        """The workers that run now."""
        return {document["worker"]["pid"] for document in documents(self.sockets) if "error" not in document}

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """One request on a connection of its own."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def live_s(self) -> float:
        """How long `/v1/live` takes to answer."""
        began_s = time.monotonic()
        assert self.ask("GET", "/v1/live")[0] == 200
        return time.monotonic() - began_s


@contextmanager
def attack(name: str, port: int, seconds: float) -> Iterator[subprocess.Popen[Any]]:
    """An attacker as a process; it is gone at the end."""
    attacker = subprocess.Popen([sys.executable, str(ATTACKERS), name, str(port), str(seconds)], stdout=subprocess.PIPE)
    try:
        yield attacker
    finally:
        attacker.kill()
        attacker.communicate()


def slowest_live_s(target: Target, attacker: subprocess.Popen[Any]) -> float:
    """The longest that `/v1/live` took while the attacker ran."""
    slowest_s = 0.0
    while attacker.poll() is None:
        slowest_s = max(slowest_s, target.live_s())
        time.sleep(PAUSE_S)
    assert attacker.returncode == 0, "the attacker failed: it proves nothing"
    return slowest_s
