"""The clock of the store, as a worker reckons it between two answers: hosts compare times by it."""

from __future__ import annotations

import time
from collections.abc import Callable

from bridge.actors.leases import lease_clock_s

# Less is the way of the network; a clock that is set by so little would go back now and then.
TOLERANCE_MS = 50


class StoreClock:
    """Milliseconds since 1970. Until the store has answered once, it is the clock of this host.

    `local_s` goes on evenly, whatever somebody sets this host's clock to.
    """

    def __init__(self, local_s: Callable[[], float] = lease_clock_s, wall_s: Callable[[], float] = time.time) -> None:
        self._local_s = local_s
        self._ahead_ms = (wall_s() - local_s()) * 1000
        self._is_set = False

    def now_ms(self) -> int:
        """The store's time."""
        return int(self.local_ms() + self._ahead_ms)

    def local_ms(self) -> float:
        """Where an exchange with the store begins; for `note`."""
        return self._local_s() * 1000

    def note(self, store_ms: int, *, asked_ms: float) -> None:
        """The store said its time in answer to what was asked at `asked_ms` (on `local_ms`)."""
        answered_ms = self.local_ms()
        took_ms = answered_ms - asked_ms
        ahead_ms = store_ms + took_ms / 2 - answered_ms
        if not self._is_set or abs(ahead_ms - self._ahead_ms) > TOLERANCE_MS + took_ms:
            self._ahead_ms, self._is_set = ahead_ms, True
