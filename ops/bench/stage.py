"""A stage: Redis, simulator and service in processes of their own, and the steps that all scenes share."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import msgspec
import requests

from bridge.ops.bench.job import Job, Result, run
from bridge.ops.bench.processes import Meter
from bridge.ops.endurance.hosts import Host
from bridge.ops.endurance.redis_process import RedisProcess
from bridge.ops.simulator.environ import sandbox_environ

LOOK_S = 0.1
QUIET_S = 1.0
TEXTS = ("agent_text", "user_text")
ANSWER_S = 60.0
UNLIMITED = "100000"


class LedgerEntry(msgspec.Struct):
    """What a measurement needs of an entry of the simulator's ledger."""

    number: int
    at_ns: int
    kind: str
    session: str = ""
    text: str = ""


class _Page(msgspec.Struct):
    entries: list[LedgerEntry]


class Counts(msgspec.Struct):
    """The simulator's counts: sessions by status, held polls, ledger entries by kind, and the newest one's number."""

    sessions: dict[str, int]
    polled: int
    entries: dict[str, int]
    last: int


class SimulatorProcess:
    """The simulator as a process of its own, driven through its control API."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self._session = requests.Session()
        self._session.trust_env = False

    def __enter__(self) -> SimulatorProcess:
        command = [sys.executable, "-m", "bridge.ops.simulator", "--port", "0", *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the simulator did not start")
        self.port = int(self.url.rpartition(":")[2])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def configure(self, **settings: Any) -> None:
        """Changes its settings while it runs."""
        self._ask("PATCH", "settings", json=settings)

    def delay(self, path: str, *, delay_s: float) -> None:
        """Delays every answer on these paths from now on."""
        self._ask("POST", "faults", json={"path": path, "delay_s": delay_s, "times": 0})

    def accept(self, who: str) -> None:
        """An agent takes a chat."""
        self._ask("POST", f"chats/{who}/accept", json={})

    def say(self, who: str, text: str) -> None:
        """The agent writes."""
        self._ask("POST", f"chats/{who}/say", json={"text": text})

    def end(self, who: str) -> None:
        """The agent, or the queue, ends a chat."""
        self._ask("POST", f"chats/{who}/end", json={})

    def counts(self, *kinds: str) -> Counts:
        """How much there is of everything."""
        raw = self._ask("GET", "counts", params={"kinds": kinds}).content
        return msgspec.json.decode(raw, type=Counts)

    def entries(self, kind: str, *, after: int) -> list[LedgerEntry]:
        """The ledger's entries of a kind above a number."""
        wanted = {"kind": kind, "after": str(after), "limit": "1000000"}
        return msgspec.json.decode(self._ask("GET", "ledger", params=wanted).content, type=_Page).entries

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response:
        response = self._session.request(method, f"{self.url}/control/{path}", timeout=ANSWER_S, **options)
        response.raise_for_status()
        return response


class Stage:
    """Everything that a scene needs; stops all of it at the end. `options` are the simulator's."""

    def __init__(self, *options: str, workers: int = 1) -> None:
        self._workers = workers
        self.redis = RedisProcess(durable=True)
        self.simulator = SimulatorProcess(*options)
        self._exit = ExitStack()
        self.token = ""

    def __enter__(self) -> Stage:
        with ExitStack() as exit_:
            exit_.enter_context(self.redis)
            exit_.enter_context(self.simulator)
            self.host = Host(self._environ())
            exit_.callback(self.host.stop)
            self.host.start()
            self.host.wait_until_ready()
            self.log_in()
            self._exit = exit_.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()
        if error is None:
            os.unlink(self.host.log.name)

    def log_in(self) -> None:
        """Gets the token that connect needs."""
        account = {"username": "yaloUser", "password": "yalo-password"}
        response = requests.post(f"{self.host.url}/v1/authenticate", json=account, timeout=ANSWER_S)
        self.token = response.json()["token"]

    def connect(self, users: list[str], *, at_once: int) -> Result:
        """Opens a chat for each user. Raises RuntimeError when one was refused."""
        job = Job(
            kind="connect",
            port=self.host.port,
            users=users,
            requests=len(users),
            connections=at_once,
            seconds=600,
            token=self.token,
        )
        result = run(job)
        if result.errors:
            raise RuntimeError(f"connects failed: {result.errors}\n{self.host.log_text()[-2000:]}")
        return result

    def meter(self) -> Meter:
        """Of the service (all its processes), Redis and the simulator."""
        return Meter(
            {
                "service": lambda: [self.host.pid, *self.host.worker_pids],
                "redis": lambda: [self.redis.pid],
                "simulator": lambda: [self.simulator.pid],
            }
        )

    def wait_for(self, what: Callable[[], bool], complaint: str, *, timeout_s: float) -> None:
        """Waits until it is true. Raises RuntimeError with the complaint and the end of the service's log."""
        deadline_s = time.monotonic() + timeout_s
        while not what():
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"{complaint} within {timeout_s:g} s\n{self.host.log_text()[-2000:]}")
            time.sleep(LOOK_S)

    def wait_until_polled(self, chats: int, *, timeout_s: float = 60.0) -> None:
        """Waits until that many polls are held."""
        self.wait_for(lambda: self.simulator.counts().polled >= chats, f"{chats} are not polled", timeout_s=timeout_s)

    def settle(self, chats: int) -> None:
        """Waits until that many polls are held and no new ledger entry has come for a while."""
        self.wait_until_polled(chats)
        before: dict[str, int] = {}
        while (now := self.simulator.counts(*TEXTS).entries) != before:
            before = now
            time.sleep(QUIET_S)

    def _environ(self) -> dict[str, str]:
        return sandbox_environ(
            self.simulator.url,
            redis_address=self.redis.address,
            workers=str(self._workers),
            integration_chan_rate_limit=UNLIMITED,
            saleforce_chan_rate_limit=UNLIMITED,
            log_level="WARNING",
        )


def users(count: int, *, first: int = 5_215_500_000_000) -> list[str]:
    """Ids of so many users."""
    return [str(first + number) for number in range(count)]
