"""Recovery: requests that failed wait for their back-off; when the remote works again they are tried at once.

Pure: the caller brings the time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

import msgspec

Item = TypeVar("Item")

# So many failures in a row make the next success a recovery. Fewer say more about a request than about the remote.
FAILURES_IN_A_ROW = 3
# One request that always fails must not be tried again at every success of the others.
WAKE_EVERY_S = 5.0
# While nothing succeeds, a few of those that wait are tried each time, so that a recovery is noticed soon.
PROBE_EVERY_S = 1.0
PROBES = 4
# Longest list of requests that wait: beyond it the oldest ones just keep their back-off.
MOST_WAITING = 10_000


class _Waiting(msgspec.Struct, Generic[Item], frozen=True):
    item: Item
    destination: str
    not_before_s: float


class Recovery(Generic[Item]):
    """The failed requests of a pool, by a key that names the chat and its lane."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, _Waiting[Item]] = {}
        self._failures: dict[str, int] = {}
        self._all_failures = 0
        self._next_wake_s = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def failed(self, key: Hashable, item: Item, destination: str, *, not_before_s: float) -> None:
        """A request failed and waits. A Retry-After of the remote ends at `not_before_s`."""
        self._waiting.pop(key, None)
        self._waiting[key] = _Waiting(item, destination, not_before_s)
        if len(self._waiting) > MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]

    def tried(self, key: Hashable) -> None:
        """A request is tried again, so it does not wait any more."""
        self._waiting.pop(key, None)

    def note(self, destination: str, *, failed: bool, now_s: float) -> list[Item]:
        """Records how a call ended; returns the requests to try at once."""
        if failed:
            self._failures[destination] = self._failures.get(destination, 0) + 1
            self._all_failures += 1
            if len(self._failures) > MOST_WAITING:
                del self._failures[next(iter(self._failures))]
            return []
        one_recovered = self._failures.pop(destination, 0) >= FAILURES_IN_A_ROW
        all_recovered = self._all_failures >= FAILURES_IN_A_ROW
        self._all_failures = 0
        if not (one_recovered or all_recovered) or now_s < self._next_wake_s:
            return []
        self._next_wake_s = now_s + WAKE_EVERY_S
        return self._take(
            (key for key, one in self._waiting.items() if all_recovered or one.destination == destination), now_s
        )

    def probes(self, now_s: float, *, may_try: Callable[[str], bool]) -> list[Item]:
        """A few requests that wait, each of another destination: the next ones to try while nothing succeeds."""
        first: dict[str, Hashable] = {}
        for key, one in self._waiting.items():
            first.setdefault(one.destination, key)
        failing = [name for name in first if self._failures.get(name, 0) >= FAILURES_IN_A_ROW and may_try(name)]
        return self._take([first[name] for name in failing[:PROBES]], now_s)

    def _take(self, keys: Iterable[Hashable], now_s: float) -> list[Item]:
        due = [key for key in list(keys) if self._waiting[key].not_before_s <= now_s]
        return [self._waiting.pop(key).item for key in due]
