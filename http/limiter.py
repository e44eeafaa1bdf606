"""How often something may fail: counted per key, in bounded memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple


class Window(NamedTuple):
    """The failures of one key since its first."""

    opened_at_s: float
    failures: int


class FailureLimiter:
    """Allows `most` failures of a key in `window_s` seconds; remembers `capacity` keys and forgets the eldest."""

    def __init__(
        self, most: int, window_s: float, *, capacity: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._window_s = window_s
        self._capacity = capacity
        self._clock = clock
        self._windows: OrderedDict[bytes, Window] = OrderedDict()

    def wait_s(self, key: str) -> float:
        """Seconds until the key may try again, 0 when it may now."""
        window = self._windows.get(_digest(key))
        if window is None or window.failures < self._most:
            return 0.0
        return max(0.0, window.opened_at_s + self._window_s - self._clock())

    def record(self, key: str) -> None:
        """Counts one failure."""
        name, now_s = _digest(key), self._clock()
        window = self._windows.get(name)
        if window is None or now_s - window.opened_at_s >= self._window_s:
            window = Window(now_s, 0)
            self._windows.pop(name, None)
        self._windows[name] = Window(window.opened_at_s, window.failures + 1)
        if len(self._windows) > self._capacity:
            self._windows.popitem(last=False)

    def __len__(self) -> int:
        return len(self._windows)


def _digest(key: str) -> bytes:
    # A key may be anything that a stranger sends, a megabyte too.
    return sha256(key.encode()).digest()
