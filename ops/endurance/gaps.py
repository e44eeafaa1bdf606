"""How long chats were not polled, and how long texts took, from the simulator's ledger."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from bridge.ops.endurance.load import Talk
from bridge.ops.simulator import Simulator

# If a poll's client disconnects this soon after a blow, the blow was the reason.
FELT_MS = 1_000


class Blow(msgspec.Struct, frozen=True):
    """One fault that was injected: when (ms since the epoch), of which kind, and until when."""

    at_ms: int
    kind: str
    until_ms: int = 0


def takeovers_s(simulator: Simulator, blows: Sequence[Blow], kind: str, *, felt_ms: int = FELT_MS) -> list[float]:
    """For each chat whose poll a blow of this kind cut off: seconds until it was polled again. Sorted."""
    began = _times(simulator, "poll_began")
    felt: list[float] = []
    ended = [entry for entry in simulator.entries("poll_ended") if entry.text == "left"]
    for blow in (blow for blow in blows if blow.kind == kind):
        for session in {entry.session for entry in ended if 0 <= entry.at_ms - blow.at_ms < felt_ms}:
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


def delays_s(
    simulator: Simulator, talks: Iterable[Talk], since_ms: int, until_ms: int, *, direction: str
) -> list[float]:
    """Seconds from sending to arrival of the texts to the `user` or `agent` that were sent in that time. Sorted."""
    kind = "user_text" if direction == "user" else "agent_text"
    delays = []
    for talk in talks:
        arrived = {entry.text: entry.at_ms for entry in reversed(simulator.entries(kind, talk.user))}
        sent = talk.said if direction == "user" else talk.written
        delays += [
            (arrived[text] - talk.sent_ms[text]) / 1000
            for text in sent
            if text in arrived and since_ms <= talk.sent_ms[text] < until_ms
        ]
    return sorted(delays)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of the sorted values is; 0 for no values."""
    return values[min(int(len(values) * share), len(values) - 1)] if values else 0.0


def _times(simulator: Simulator, kind: str) -> dict[str, list[int]]:
    times: defaultdict[str, list[int]] = defaultdict(list)
    for entry in simulator.entries(kind):
        times[entry.session].append(entry.at_ms)
    return times
