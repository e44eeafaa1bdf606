"""Who owns a partition: leases with an epoch, renewed in time, and not believed in past a local deadline."""

from __future__ import annotations

import time


class Lease:
    """One worker's hold on one partition. `value` carries the epoch and is what every commit is checked against.

    Past `deadline_s` (monotonic, 75 % of the TTL after the last renewal was asked for) the holder stops by itself, even
    when the store cannot be reached to say so.
    """

    __slots__ = ("deadline_s", "partition", "value")

    def __init__(self, partition: int, value: str, *, deadline_s: float) -> None:
        self.partition = partition
        self.value = value
        self.deadline_s = deadline_s

    @property
    def held(self) -> bool:
        """Whether the holder may still act."""
        return time.monotonic() < self.deadline_s

    def give_up(self) -> None:
        """From now on it is not held."""
        self.deadline_s = 0.0
