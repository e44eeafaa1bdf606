"""The judge: what was sent against what the simulator's ledger says arrived."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from bridge.ops.endurance.load import Load, Talk
from bridge.ops.simulator import Simulator


class Verdict(msgspec.Struct, kw_only=True):
    """Counts over all chats and both ways.

    `repeated` are deliveries to a user that came again under the id that they had before, after a crash between the
    channel's answer and its commit: the channel drops those by their id. `twice_without_id` are such deliveries to
    Messenger, which has no ids. All other counts but `messages` must be 0.
    """

    messages: int = 0
    repeated: int = 0
    twice_without_id: int = 0
    lost: int = 0
    twice: int = 0
    out_of_order: int = 0
    overlapping_polls: int = 0
    offences: list[str] = []

    @property
    def clean(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.twice or self.out_of_order or self.overlapping_polls)


def settle(simulator: Simulator, load: Load, *, timeout_s: float = 60.0) -> None:
    """Waits until everything that was sent has arrived, or the time is over; the verdict says which."""
    try:
        simulator.wait_for(lambda: all(_complete(simulator, talk) for talk in load.talks), timeout_s)
    except TimeoutError:
        return


def judge(simulator: Simulator, load: Load) -> Verdict:
    """Reads the ledger."""
    verdict = Verdict(messages=load.messages, overlapping_polls=simulator.overlapping_polls())
    for talk in load.talks:
        _compare(verdict, f"{talk.user} to the agent", talk.written, _at_agent(simulator, talk))
        _compare(verdict, f"the agent to {talk.user}", talk.said, _at_user(simulator, talk), talk.provider)
        verdict.repeated += sum(entry.repeat for entry in simulator.entries("user_text", talk.user))
    return verdict


def _complete(simulator: Simulator, talk: Talk) -> bool:
    return len(set(_at_agent(simulator, talk))) >= len(talk.written) and len(set(_at_user(simulator, talk))) >= len(
        talk.said
    )


def _at_agent(simulator: Simulator, talk: Talk) -> list[str]:
    return _numbered(entry.text for entry in simulator.entries("agent_text", talk.user))


def _at_user(simulator: Simulator, talk: Talk) -> list[str]:
    return _numbered(simulator.user_texts(talk.user))


def _numbered(texts: Iterable[str]) -> list[str]:
    return [text for text in texts if text.startswith(("written ", "said "))]


def _compare(verdict: Verdict, whose: str, sent: Sequence[str], arrived: Sequence[str], provider: str = "") -> None:
    counts = Counter(arrived)
    lost = [text for text in sent if text not in counts]
    twice = sum(count - 1 for count in counts.values())
    first = list(dict.fromkeys(arrived))
    wanted = [text for text in sent if text in counts]
    swapped = sum(1 for text, other in zip(first, wanted, strict=False) if text != other)
    verdict.lost += len(lost)
    if provider == "facebook":
        verdict.twice_without_id += twice
        twice = 0
    verdict.twice += twice
    verdict.out_of_order += swapped
    if lost or twice or swapped:
        verdict.offences.append(
            f"{whose}: lost {[text[:40] for text in lost[:3]]}, twice {twice}, out of order {swapped}"
        )
