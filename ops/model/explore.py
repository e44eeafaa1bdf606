"""Explores the model: each fault at each place of a plain story, then random stories until the time is over.

python -m bridge.ops.model.explore --minutes 10
"""

from __future__ import annotations

import argparse
import itertools
import logging
import random
import sys
import time
from collections.abc import Iterator, Sequence

import bridge.ops.patched  # noqa: F401  # before anything that holds a socket is imported
from bridge.ops.model.promises import broken_promises
from bridge.ops.model.world import World

Story = Sequence[str]

# A turn of worker a: what is there is read, what was sent arrives, and its outcome is applied.
_TURN = ("a reads", "arrive", "a hears", "arrive last", "a hears")
PLAIN: Story = (
    "a claims",
    "say",
    "connect",
    *(_TURN * 4),
    "accept",
    "say",
    *_TURN,
    *_TURN,
    "agent says",
    "say",
    *(_TURN * 2),
    "finish",
    "say",
    *(_TURN * 3),
    "connect",
    *(_TURN * 4),
    "accept",
    "say",
    *(_TURN * 2),
)
FAULTS: Sequence[Story] = (
    ("a crashes", "a claims"),
    ("a crashes", "b claims", "b reads", "arrive", "b hears"),
    ("a expires", "b claims", "b reads", "b crashes", "a claims"),
    ("lose 1 write",),
    ("lose 3 writes",),
    ("lose 1 write", "a renews", "a claims"),
    ("a crashes", "lose 1 write", "b claims", "b reads", "arrive", "b hears", "b crashes", "a claims"),
)


def run(story: Story, *, mended: bool = True, excuse: bool = True) -> list[str]:
    """Plays a story to its end; gives the promises that it broke. `excuse` leaves out the known limits."""
    world = World(mended=mended, excuse=excuse)
    for name in story:
        world.do(name)
    world.settle()
    return broken_promises(world)


def single_faults() -> Iterator[Story]:
    """The plain story with each fault at each place."""
    for fault, place in itertools.product(FAULTS, range(len(PLAIN) + 1)):
        yield (*PLAIN[:place], *fault, *PLAIN[place:])


def random_story(seed: int, *, length: int = 60) -> Story:
    """A story drawn from all actions; what moves things on is drawn more often."""
    draw = random.Random(seed)
    names = list(World().actions)
    weights = [1 if "lose" in name or "crashes" in name or "expires" in name else 4 for name in names]
    return ("a claims", "connect", *draw.choices(names, weights, k=length))


def shrink(story: Story, *, mended: bool = True) -> Story:
    """The story without every action that it does not need to break a promise."""
    place = 0
    while place < len(story):
        shorter = (*story[:place], *story[place + 1 :])
        if run(shorter, mended=mended):
            story = shorter
        else:
            place += 1
    return story


def explore(stories: Iterator[Story], *, until_s: float) -> tuple[int, Story | None]:
    """How many stories held, and the first one that did not, shrunk."""
    for count, story in enumerate(stories):
        if run(story):
            return count, shrink(story)
        if time.monotonic() > until_s:
            return count + 1, None
    return count + 1, None


def main() -> int:
    """Explores until the time is over; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0, help="the first random story")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    until_s = time.monotonic() + options.minutes * 60
    stories = itertools.chain(single_faults(), map(random_story, itertools.count(options.seed)))
    count, broken = explore(stories, until_s=until_s)
    print(f"{count} stories held")
    if broken is None:
        return 0
    print("this one does not:", *broken, *(f"=> {sentence}" for sentence in run(broken)), sep="\n  ")
    return 1


if __name__ == "__main__":
    sys.exit(main())
