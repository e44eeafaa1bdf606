"""Latencies as a histogram: buckets about 1 % wide from a microsecond up, so that tails stay exact and small."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import msgspec

STEPS_PER_E = 100


class Histogram(msgspec.Struct):
    """Counts by bucket; bucket b holds about `e ** (b / STEPS_PER_E)` microseconds. Negative times count as nothing."""

    buckets: dict[int, int] = {}

    @classmethod
    def of(cls, values_s: Iterable[float]) -> Histogram:
        """Of times in seconds."""
        return cls(dict(Counter(_bucket(value_s) for value_s in values_s)))

    def add(self, value_s: float) -> None:
        """Counts one time."""
        bucket = _bucket(value_s)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    @property
    def count(self) -> int:
        """How many times were counted."""
        return sum(self.buckets.values())

    def at(self, share: float) -> float:
        """The time (s) that this share of all did not exceed; 0 where nothing was counted."""
        wanted = math.ceil(share * self.count)
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= wanted:
                return _time_s(bucket)
        return 0.0

    def summary_ms(self) -> dict[str, float]:
        """What a report says of it, in milliseconds."""
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}
        return {name: round(self.at(share) * 1000, 3) for name, share in shares.items()}


def _bucket(value_s: float) -> int:
    return math.ceil(STEPS_PER_E * math.log(max(value_s * 1e6, 1.0)))


def _time_s(bucket: int) -> float:
    return math.exp(bucket / STEPS_PER_E) / 1e6
