"""A generator's job and its result, and running it as a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from types import TracebackType
from typing import Literal

import msgspec

from bridge.ops.bench.histogram import Histogram

Kind = Literal["webhook", "plain", "say", "deliver", "connect"]
# If the generator is busier or later than this, the figures may be its own.
BUSY_SHARE = 0.85
LATE_S = 0.005
START_S = 1.0
GRACE_S = 120.0


class Job(msgspec.Struct, kw_only=True):
    """Requests of one kind to one port of loopback, over `connections` that are kept alive.

    With a `rate` (a second) it is an open loop: request k is due at a time that was fixed before, and its latency
    counts from then, however late it leaves. Without, every connection asks again as soon as it was answered.
    It ends after `requests` or `seconds`, whichever comes first. `start_ns` is on the monotonic clock.
    """

    kind: Kind
    port: int
    users: list[str]
    connections: int
    seconds: float
    requests: int = 1_000_000
    rate: float = 0.0
    token: str = ""
    label: str = ""
    start_ns: int = 0


class Sent(msgspec.Struct, array_like=True):
    """One request of an open loop: its text, when it was due and when it was answered."""

    text: str
    due_ns: int
    answered_ns: int


class Result(msgspec.Struct, kw_only=True):
    """What became of a job. `lateness` is how long after their time requests left; `errors` counts by status."""

    requests: int
    errors: dict[str, int]
    first_ns: int
    last_ns: int
    latency: Histogram
    lateness: Histogram
    cpu_s: float
    sent: list[Sent] = []

    @property
    def wall_s(self) -> float:
        """From the first request to the last answer."""
        return max((self.last_ns - self.first_ns) / 1e9, 1e-9)

    @property
    def per_s(self) -> float:
        """Requests answered as they should be, a second."""
        return (self.requests - sum(self.errors.values())) / self.wall_s

    @property
    def busy(self) -> float:
        """The generator's own share of a core."""
        return self.cpu_s / self.wall_s

    def doubts(self) -> list[str]:
        """Reasons why the figures may be the generator's and not the service's."""
        found = [f"{count} requests failed with {status}" for status, count in self.errors.items()]
        if self.busy > BUSY_SHARE:
            found.append(f"the generator used {self.busy:.0%} of a core")
        if self.lateness.at(0.99) > LATE_S:
            found.append(f"the generator was {self.lateness.at(0.99) * 1000:.1f} ms late at p99")
        return found


class Generator:
    """A job under way in a process of its own."""

    def __init__(self, job: Job) -> None:
        self._deadline_s = time.monotonic() + job.seconds + GRACE_S
        command = [sys.executable, "-m", "bridge.ops.bench.generator"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(job))
        self._process.stdin.close()

    def __enter__(self) -> Generator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def result(self) -> Result:
        """Waits for the end of the job. Raises RuntimeError when it does not end in time."""
        assert self._process.stdout is not None
        raw = self._process.stdout.read()
        if self._process.wait(timeout=max(self._deadline_s - time.monotonic(), 1.0)) != 0:
            raise RuntimeError("a load generator failed; what it said stands above")
        return msgspec.json.decode(raw, type=Result)


def run(job: Job) -> Result:
    """Does one job and waits for it."""
    with Generator(job) as generator:
        return generator.result()


def soon_ns() -> int:
    """A moment at which several generators that are started now can all begin."""
    return time.monotonic_ns() + int(START_S * 1e9)
