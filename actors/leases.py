"""Leases: who owns a partition, until when, and what the store confirmed to this owner."""

from __future__ import annotations

import time

# Unlike CLOCK_MONOTONIC it goes on while the machine is suspended, as the lease in the store does.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def lease_clock_s() -> float:
    """The clock of lease deadlines."""
    return time.clock_gettime(_CLOCK)


class Lease:
    """One worker's hold on one partition. `value` carries the epoch and is what every commit is checked against.

    Past `deadline_s` (on `lease_clock_s`, 75 % of the TTL after the last renewal was asked for) the holder stops by
    itself, even when the store cannot be reached to say so. `steps` is how many commits of the partition the store has
    confirmed; a store that has fewer went back (`is_stale`), and the partition has to be claimed again.
    """

    __slots__ = ("deadline_s", "is_stale", "partition", "steps", "value")

    def __init__(self, partition: int, value: str, *, deadline_s: float, steps: int = 0) -> None:
        self.partition = partition
        self.value = value
        self.deadline_s = deadline_s
        self.steps = steps
        self.is_stale = False

    @property
    def held(self) -> bool:
        """Whether the holder may still act."""
        return lease_clock_s() < self.deadline_s

    def confirm(self, steps: int) -> None:
        """The store has written so many commits."""
        self.steps = max(self.steps, steps)

    def give_up(self, *, stale: bool = False) -> None:
        """From now on it is not held."""
        self.is_stale = self.is_stale or stale
        self.deadline_s = 0.0
