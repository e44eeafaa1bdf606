"""Admission: which request gets a client next, and when. A request waits here, never inside a client.

Pure: the caller brings the time. Priority is in the pools themselves: control, texts and files have one each.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import Generic, TypeVar

import msgspec

from bridge.limits import Breaker, RateLimit

Item = TypeVar("Item")

# A call that takes longer does not count as a busy client any more: another client is started in its place.
SLOW_S = 2.0
# Clients that slow calls may hold beyond the size of the pool, in sizes.
MOST_SLOW = 3
# Destinations are forgotten above this number, those first that were not used lately.
MOST_DESTINATIONS = 512
# A shorter wait than this counts as no wait.
_AT_ONCE_S = 0.001


class Destination:
    """What a pool knows of one destination."""

    __slots__ = ("breaker", "failures", "name", "running")

    def __init__(self, name: str) -> None:
        self.name = name
        self.breaker = Breaker()
        self.running = 0
        self.failures = 0


class Ticket(msgspec.Struct, Generic[Item], frozen=True):
    """An item that was admitted. It holds a client until `Admission.ended`."""

    number: int
    item: Item
    destination: str


class Admission(Generic[Item]):
    """`size` clients and a rate limit, shared fairly by destinations.

    Destinations take turns. One destination gets a client only while more clients are free than it holds: so it holds
    at most half of them, and a new destination always finds some. Destinations whose last call failed share a quarter.
    """

    def __init__(self, *, size: int, rate: float = 0.0) -> None:
        self._size = size
        self._failing_size = max(size // 4, 1)
        self._limit = RateLimit(rate)
        self._numbers = itertools.count(1)
        self._destinations: dict[str, Destination] = {}
        self._waiting: dict[tuple[str, bool], deque[Item]] = {}
        self._recent: dict[int, float] = {}
        self._slow: set[int] = set()
        self._failing_running = 0

    @property
    def running(self) -> int:
        """How many clients are in a call."""
        return len(self._recent) + len(self._slow)

    @property
    def waiting(self) -> int:
        """How many items wait."""
        return sum(map(len, self._waiting.values()))

    def destination(self, name: str) -> Destination:
        """What is known of a destination."""
        if name not in self._destinations:
            self._forget_idle()
            self._destinations[name] = Destination(name)
        return self._destinations[name]

    def add(self, item: Item, destination: str, *, paced: bool = False) -> None:
        """Puts an item in the queue of its destination. `paced` items obey the rate limit."""
        self._waiting.setdefault((destination, paced), deque()).append(item)

    def next(self, now_s: float) -> Ticket[Item] | None:
        """The next item that may be carried out now; None when none may."""
        if not self._waiting:
            return None
        self._note_slow(now_s)
        free = self._free()
        if free <= 0:
            return None
        paced_may_go = self._limit.wait_s(now_s) < _AT_ONCE_S
        for key, queue in self._waiting.items():
            name, paced = key
            if (paced_may_go or not paced) and self._may_start(self.destination(name), free):
                item = queue.popleft()
                # The next turn is another destination's.
                del self._waiting[key]
                if queue:
                    self._waiting[key] = queue
                if paced:
                    self._limit.reserve(now_s)
                return self._started(item, name, now_s)
        return None

    def wait_s(self, now_s: float) -> float | None:
        """Seconds until `next` may give something although no call ended; None when only the end of a call helps."""
        if not self._waiting:
            return None
        waits = [SLOW_S - (now_s - started_s) for started_s in itertools.islice(self._recent.values(), 1)]
        if any(paced for _, paced in self._waiting) and (limited_s := self._limit.wait_s(now_s)) > 0:
            waits.append(limited_s)
        return max(min(waits), _AT_ONCE_S) if waits else None

    def ended(self, ticket: Ticket[Item], *, failed: bool | None) -> Destination:
        """Frees the client of an item. `failed` says whether the destination did; None if the call tells nothing."""
        self._recent.pop(ticket.number, None)
        self._slow.discard(ticket.number)
        destination = self.destination(ticket.destination)
        if destination.failures:
            self._failing_running -= destination.running
        destination.running -= 1
        if failed is not None:
            destination.failures = destination.failures + 1 if failed else 0
        if destination.failures:
            self._failing_running += destination.running
        return destination

    def _started(self, item: Item, name: str, now_s: float) -> Ticket[Item]:
        destination = self.destination(name)
        destination.running += 1
        self._failing_running += destination.failures > 0
        ticket = Ticket(next(self._numbers), item, name)
        self._recent[ticket.number] = now_s
        return ticket

    def _may_start(self, destination: Destination, free: int) -> bool:
        if destination.failures and self._failing_running >= self._failing_size:
            return False
        return destination.running < free

    def _free(self) -> int:
        beyond = max(len(self._slow) - MOST_SLOW * self._size, 0)
        return self._size - len(self._recent) - beyond

    def _note_slow(self, now_s: float) -> None:
        slow = []
        for number, started_s in self._recent.items():
            if started_s > now_s - SLOW_S:
                break
            slow.append(number)
        for number in slow:
            del self._recent[number]
            self._slow.add(number)

    def _forget_idle(self) -> None:
        if len(self._destinations) < MOST_DESTINATIONS:
            return
        waiting = {name for name, _ in self._waiting}
        idle = [name for name, one in self._destinations.items() if not one.running and name not in waiting]
        for name in idle[: MOST_DESTINATIONS // 2]:
            del self._destinations[name]
