"""The cost of processes, as the kernel counts it: CPU from /proc/<pid>/stat, memory as PSS, time slices by signals."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import msgspec

_TICKS = os.sysconf("SC_CLK_TCK")
_UTIME, _STIME = 11, 12  # counted from the state, which follows the name in its brackets

Pids = Callable[[], Iterable[int]]


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used; 0 when it is gone."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS
    return 0.0


def pss_kib(pid: int) -> int:
    """A process's memory: its own pages, and its share of those that it shares. Raises OSError."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


class Used(msgspec.Struct):
    """CPU seconds by group of processes, over a time."""

    wall_s: float
    cpu_s: dict[str, float]

    def share(self, group: str) -> float:
        """Of one core."""
        return self.cpu_s[group] / self.wall_s

    def shares(self) -> dict[str, float]:
        """Of one core, by group."""
        return {group: round(self.share(group), 3) for group in self.cpu_s}


class Meter:
    """Reads what groups of processes use, from its making on."""

    def __init__(self, groups: Mapping[str, Pids]) -> None:
        self._groups = groups
        self._before = self._read()
        self._since_s = time.monotonic()

    def used(self) -> Used:
        """Since it was made."""
        wall_s = time.monotonic() - self._since_s
        now = self._read()
        return Used(wall_s, {group: now[group] - self._before[group] for group in now})

    def _read(self) -> dict[str, float]:
        return {group: sum(map(cpu_s, pids())) for group, pids in self._groups.items()}


class Slices:
    """Lets each process run for a part of the time, so that the processes are the limit and not the shared machine.

    They take turns, so that they do not compete for a core.
    """

    def __init__(self, pids: Sequence[int], *, share: float, period_s: float = 0.04) -> None:
        self._run_s, self._rest_s = share * period_s, (1 - share) * period_s
        self._over = threading.Event()
        offsets_s = [turn * period_s / len(pids) for turn in range(len(pids))]
        self._threads = [
            threading.Thread(target=self._slice, args=(pid, offset_s), daemon=True)
            for pid, offset_s in zip(pids, offsets_s, strict=True)
        ]

    def __enter__(self) -> Slices:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _slice(self, pid: int, offset_s: float) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(offset_s)
            while not self._over.is_set():
                os.kill(pid, signal.SIGCONT)
                time.sleep(self._run_s)
                os.kill(pid, signal.SIGSTOP)
                time.sleep(self._rest_s)
            os.kill(pid, signal.SIGCONT)
