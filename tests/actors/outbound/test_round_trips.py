"""What can be counted exactly and not timed: trips to the store for each thing that happens, and greenlets a chat.

A number that changes here is a decision: it is what a message costs, however fast the machine is.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from actor_parts import RedisServer, make_settings, said, settle, wait_for, wants_chat

from bridge.actors.store.lease_store import SCRIPTS
from bridge.actors.system import System, start
from bridge.ops.bench.stage import SimulatorProcess

pytestmark = pytest.mark.redis

USER = "5215573735001"
# Whatever happens, or nothing: heartbeats, leases, and the two reads that wait for news.
BACKGROUND = {"beat", "renew", "claim", "release", "XREAD", "SCRIPT", "CLIENT", "HELLO", "PING"}


class Trips:
    """What a worker asks of the store, in order: scripts by their names, other commands by theirs."""

    def __init__(self, server: RedisServer, system: System) -> None:
        self._names = {name: script.sha for name, script in {**system.store._scripts, **SCRIPTS}.items()}
        self._seen: list[str] = []
        self._client = server.client()
        self._monitor = self._client.monitor()
        self._monitor.__enter__()
        self._greenlet = gevent.spawn(self._listen)

    def stop(self) -> None:
        self._greenlet.kill()
        self._monitor.__exit__(None, None, None)

    def of(self, act: Callable[[], Any], *, count: int) -> list[str]:
        """The trips that follow from it, as soon as there are so many, and everything else that still comes."""
        self._mark()
        self._seen.clear()
        act()
        wait_for(lambda: len(self._seen) >= count)
        settle()
        self._mark()
        return self._seen[:-1]

    def _mark(self) -> None:
        """Waits until everything up to now was seen."""
        before = self._seen.count("ECHO")
        self._client.echo("now")
        wait_for(lambda: self._seen.count("ECHO") > before)

    def _listen(self) -> None:
        for entry in self._monitor.listen():
            if entry["client_type"] == "lua":
                continue
            name = self._name(entry["command"].split(" "))
            if name not in BACKGROUND:
                self._seen.append(name)

    def _name(self, words: list[str]) -> str:
        scripts = {sha: name for name, sha in self._names.items()}
        return scripts.get(words[1], "?") if words[0].upper() == "EVALSHA" else words[0].upper()


@pytest.fixture
def hold_s() -> float:
    """How long a poll is held: longer than any test, unless it says otherwise."""
    return 60.0


@pytest.fixture
def desk(hold_s: float) -> Iterator[SimulatorProcess]:
    """In a process of its own: its greenlets are not ours."""
    with SimulatorProcess(f"--hold-s={hold_s}") as desk:
        yield desk


@pytest.fixture
def system(desk: SimulatorProcess, redis_server: RedisServer) -> Iterator[System]:
    redis_server.client().flushall()
    running = start(make_settings(desk.url, redis_address=redis_server.address))
    yield running
    running.stop(5.0)


@pytest.fixture
def trips(system: System, redis_server: RedisServer) -> Iterator[Trips]:
    trips = Trips(redis_server, system)
    yield trips
    trips.stop()


def open_chat(system: System, desk: SimulatorProcess, user: str = USER, *, accept: bool = True) -> None:
    """A chat whose opening is over: nobody owes anybody anything."""
    polled, texts = desk.counts().polled, desk.counts("user_text").entries["user_text"]
    assert system.door.connect(wants_chat(user)).code == "ok"
    wait_for(lambda: desk.counts("user_text").entries["user_text"] > texts and desk.counts().polled > polled)
    if accept:
        desk.accept("last")
        wait_for(lambda: desk.counts("agent_text").entries["agent_text"] > 0 and desk.counts().polled > polled)
    settle()


def test_a_webhook_that_becomes_context_is_one_trip(system: System, trips: Trips) -> None:
    assert trips.of(lambda: system.door.post(said()), count=1) == ["post"]


def test_a_message_to_the_agent_is_three_trips(system: System, desk: SimulatorProcess, trips: Trips) -> None:
    open_chat(system, desk)
    seen = trips.of(lambda: system.door.post(said(user=USER)), count=3)
    assert seen == ["post", "commit", "commit"]


def test_a_message_to_the_user_is_two_trips(system: System, desk: SimulatorProcess, trips: Trips) -> None:
    open_chat(system, desk)
    assert trips.of(lambda: desk.say("last", "hola"), count=2) == ["commit", "commit"]


@pytest.mark.parametrize("hold_s", [0.2])
def test_a_poll_that_brings_nothing_is_no_trip(system: System, desk: SimulatorProcess, trips: Trips) -> None:
    open_chat(system, desk, accept=False)

    def three_polls() -> None:
        before = desk.counts("poll_ended").entries["poll_ended"]
        wait_for(lambda: desk.counts("poll_ended").entries["poll_ended"] >= before + 3)

    assert trips.of(three_polls, count=0) == []


def test_an_open_chat_is_two_greenlets_and_no_thread(system: System, desk: SimulatorProcess) -> None:
    open_chat(system, desk, "5215573735000", accept=False)
    before, threads = _greenlets(), _threads()
    for number in range(1, 11):
        open_chat(system, desk, f"52155737350{number:02}", accept=False)
    wait_for(lambda: len(_greenlets() - before) == 20)
    assert _threads() <= threads


def _greenlets() -> set[gevent.Greenlet]:
    """All but the outbound clients, which are started when they are needed and serve every chat."""
    living = (thing for thing in gc.get_objects() if isinstance(thing, gevent.Greenlet) and not thing.dead)
    return {greenlet for greenlet in living if "OutboundClient" not in str(greenlet)}


def _threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))
