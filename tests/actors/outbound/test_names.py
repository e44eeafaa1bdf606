"""Look-ups of host names: kept for a while, one a name, and a silent name server stops nobody else."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from actor_parts import wait_for
from gevent import monkey

from bridge.actors.outbound import names as names_module
from bridge.actors.outbound.names import MOST_WAITING, STALE_S, THREADS, Names
from bridge.errors import RemoteUnavailable

SCRIPT = Path(__file__).with_name("silent_name_server.py")
NativeEvent: Any = monkey.get_original("threading", "Event")


class NameServer:
    """Replaces getaddrinfo: counts the look-ups; those of `slow` names wait, in their thread, for `through`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.slow: set[str] = set()
        self.down = False
        self.through: threading.Event = NativeEvent()

    def __call__(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked.append(host)
        if host in self.slow:
            self.through.wait(10)
        if self.down:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer()
    monkeypatch.setattr(names_module, "getaddrinfo", server)
    yield server
    server.through.set()


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(names_module, "time", clock)
    return clock


def test_an_address_is_kept_for_a_while(server: NameServer, clock: Clock) -> None:
    names = Names(kept_s=30)
    for _ in range(5):
        assert names.look_up("desk.example", 443)[0][4] == ("192.0.2.1", 443)
    assert server.asked == ["desk.example"]
    clock.now_s += 31
    names.look_up("desk.example", 443)
    assert server.asked == ["desk.example"] * 2


def test_an_old_address_is_used_while_the_name_server_does_not_answer(server: NameServer, clock: Clock) -> None:
    names = Names(kept_s=30)
    names.look_up("desk.example", 443)
    server.down = True
    clock.now_s += STALE_S - 1
    assert names.look_up("desk.example", 443)
    clock.now_s += 2
    with pytest.raises(socket.gaierror):
        names.look_up("desk.example", 443)


def test_nothing_is_kept_for_strangers(server: NameServer) -> None:
    names = Names(kept_s=0)
    for _ in range(3):
        names.look_up("photos.example", 443)
    assert len(server.asked) == 3


@pytest.mark.parametrize(("host", "family"), [("192.0.2.7", socket.AF_INET), ("2001:db8::7", socket.AF_INET6)])
def test_an_address_is_not_looked_up(server: NameServer, host: str, family: int) -> None:
    assert Names().look_up(host, 80) == [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, 80))]
    assert server.asked == []


def test_one_name_that_hangs_takes_one_thread(server: NameServer) -> None:
    names = Names(kept_s=0)
    server.slow = {"slow.example"}
    hanging = [gevent.spawn(names.look_up, "slow.example", 80) for _ in range(50)]
    wait_for(lambda: server.asked)
    for number in range(10):
        assert names.look_up(f"quick-{number}.example", 80)
    assert server.asked.count("slow.example") == 1
    server.through.set()
    gevent.joinall(hanging, timeout=5, raise_error=True)


def test_when_all_threads_hang_some_look_ups_wait_and_the_others_are_refused(server: NameServer) -> None:
    names = Names(kept_s=0)
    server.slow = {f"slow-{number}.example" for number in range(100)}
    looking = [gevent.spawn(names.look_up, name, 80) for name in sorted(server.slow)[: THREADS + MOST_WAITING]]
    wait_for(lambda: len(server.asked) == THREADS and names._count == THREADS + MOST_WAITING)
    with pytest.raises(RemoteUnavailable, match="too many host names"):
        names.look_up("one-more.example", 80)
    server.through.set()
    gevent.joinall(looking, timeout=5, raise_error=True)


def test_an_illegal_name_raises_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnicodeError):
        Names().look_up("a" * 64 + ".example", 80)
    assert "".join(capfd.readouterr()) == ""


def test_a_name_server_that_never_answers_delays_no_other_look_up(tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    resolver = tmp_path / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:5 attempts:2\n")
    rights = [] if os.geteuid() == 0 else ["-r"]
    inside = f'ip link set lo up && mount --bind {resolver} /etc/resolv.conf && exec "{sys.executable}" "{SCRIPT}"'
    namespace = ["unshare", *rights, "-m", "-n", "sh", "-c"]
    if subprocess.run([*namespace, "ip link set lo up"], capture_output=True).returncode:
        pytest.skip("network namespaces are not allowed here")
    ran = subprocess.run([*namespace, inside], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout)
    assert max(seen["meanwhile_s"]) < 1.0
    assert len(seen["outcomes"]) == 32
    assert any("too many host names" in outcome for outcome in seen["outcomes"])
