"""How fast and how often: back-off, rate limit, circuit breaker. Pure: the caller brings the time."""

from __future__ import annotations

import random
from collections import deque


def backoff_s(tries: int, *, base_s: float = 0.5, cap_s: float = 30.0) -> float:
    """Seconds to wait before the next try, after `tries` that failed: exponential, capped, full jitter."""
    return random.uniform(0, min(cap_s, base_s * 2 ** min(tries, 16)))


class RateLimit:
    """A token bucket: `rate` calls a second, bursts of one second's worth. 0 means no limit."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._next_s = 0.0

    def wait_s(self, now_s: float) -> float:
        """Seconds until the next free place, which is not taken."""
        if not self._rate:
            return 0.0
        return max(0.0, max(self._next_s, now_s - 1.0) + 1.0 / self._rate - now_s)

    def reserve(self, now_s: float) -> float:
        """Takes the next free place and says how many seconds away it is."""
        if not self._rate:
            return 0.0
        self._next_s = max(self._next_s, now_s - 1.0) + 1.0 / self._rate
        return max(0.0, self._next_s - now_s)


class Breaker:
    """A circuit breaker: it opens when half of the recent calls failed, then lets one probe through every few seconds.

    `least_calls` within `window_s` are needed to judge.
    """

    def __init__(self, *, least_calls: int = 20, window_s: float = 30.0, probe_every_s: float = 2.0) -> None:
        self._least_calls = least_calls
        self._window_s = window_s
        self._probe_every_s = probe_every_s
        self._calls: deque[tuple[float, bool]] = deque()
        self._failures = 0
        self._open_until_s = 0.0

    def left_s(self, now_s: float) -> float:
        """Seconds until the next probe, without being that probe; 0 when closed or due."""
        return max(self._open_until_s - now_s, 0.0) if self._open_until_s else 0.0

    def pause_s(self, now_s: float) -> float:
        """Seconds until the next probe; 0 when a call may go out now. While open, a caller that gets 0 is the probe."""
        if not self._open_until_s:
            return 0.0
        if now_s < self._open_until_s:
            return self._open_until_s - now_s
        self._open_until_s = now_s + self._probe_every_s
        return 0.0

    def note(self, now_s: float, *, failed: bool) -> None:
        """Records how a call ended."""
        if self._open_until_s and not failed:
            self._calls.clear()
            self._failures, self._open_until_s = 0, 0.0
        self._calls.append((now_s, failed))
        self._failures += failed
        while self._calls and self._calls[0][0] < now_s - self._window_s:
            self._failures -= self._calls.popleft()[1]
        # Only a failure opens it: a success after many failures means that the remote is back.
        if failed and len(self._calls) >= self._least_calls and self._failures * 2 >= len(self._calls):
            self._open_until_s = self._open_until_s or now_s + self._probe_every_s
