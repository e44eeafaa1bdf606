"""How long chats were not polled: in all, and after each blow, from the simulator's ledger."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence

import msgspec

from bridge.ops.simulator import Simulator

# If a poll's client disconnects this soon after a blow, the blow was the reason.
FELT_MS = 1_000


class Blow(msgspec.Struct, frozen=True):
    """One fault that was injected: when (ms since the epoch), and of which kind."""

    at_ms: int
    kind: str


def takeovers_s(simulator: Simulator, blows: Sequence[Blow], kind: str) -> list[float]:
    """For each chat whose poll a blow of this kind cut off: seconds until it was polled again. Sorted."""
    began = _times(simulator, "poll_began")
    felt: list[float] = []
    ended = [entry for entry in simulator.entries("poll_ended") if entry.text == "left"]
    for blow in (blow for blow in blows if blow.kind == kind):
        for session in {entry.session for entry in ended if 0 <= entry.at_ms - blow.at_ms < FELT_MS}:
            times = began[session]
            after = bisect_right(times, blow.at_ms + 1)
            if after < len(times):
                felt.append((times[after] - blow.at_ms) / 1000)
    return sorted(felt)


def longest_silence_s(simulator: Simulator) -> float:
    """The longest time between the end of a poll and the beginning of the same chat's next one."""
    ends = _times(simulator, "poll_ended")
    longest_ms = 0
    for session, began in _times(simulator, "poll_began").items():
        ended = ends[session]
        longest_ms = max([longest_ms, *(start - end for end, start in zip(ended, began[1:], strict=False))])
    return longest_ms / 1000


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of the sorted values is; 0 for no values."""
    return values[min(int(len(values) * share), len(values) - 1)] if values else 0.0


def _times(simulator: Simulator, kind: str) -> dict[str, list[int]]:
    times: defaultdict[str, list[int]] = defaultdict(list)
    for entry in simulator.entries(kind):
        times[entry.session].append(entry.at_ms)
    return times
