"""`python -m bridge.ops.mutants --minutes 10`: prints the score and every fault that no test noticed."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime

from bridge.ops.mutants.run import Score, all_mutants, passes, score, test_files


def main(arguments: list[str] | None = None) -> int:
    """Returns 1 when the score is below `--at-least`, 2 when the tests fail without any fault."""
    given = _arguments(arguments)
    # One seed for every run, so that a fault is noticed each time or never.
    os.environ["PYTHONHASHSEED"] = "0"
    files = test_files(thorough=given.thorough)
    if not passes(files):
        print("The tests of bridge/chat fail without any fault. Mend them first: ./ops/test tests/bridge/chat")
        return 2
    last = Score()
    for last in score(all_mutants(), files=files, processes=given.processes, minutes=given.minutes):
        if sys.stderr.isatty():
            print(f"\r{last.run} of {last.all}, {len(last.survivors)} survive", end="", file=sys.stderr, flush=True)
    print(report(last))
    return int(last.percent < given.at_least)


def report(result: Score) -> str:
    """The survivors by place, and the score in the last line."""
    survivors = sorted(result.survivors, key=lambda mutant: (mutant.module, mutant.line))
    lines = [f"{mutant.module}:{mutant.line}: {mutant.change}" for mutant in survivors]
    day = datetime.now(UTC).date()
    killed = result.run - len(survivors)
    return "\n".join(
        [*lines, f"{day}: {killed} of {result.run} faults noticed ({result.percent:.1f} %), {result.all} possible"]
    )


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bridge.ops.mutants", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="no fault is tried after that time")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--thorough", action="store_true", help="run the property tests as well: ten times slower")
    parser.add_argument("--at-least", type=float, default=0.0, help="exit with 1 below this score, in percent")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
