"""`python -m bridge.ops.simulator`: the simulator as a process of its own. It prints its base address first."""

from __future__ import annotations

import argparse
import signal
import sys

import gevent

import bridge.ops.patched  # noqa: F401  # before anything that holds a socket is imported
from bridge.ops.simulator.server import Simulator


def main(arguments: list[str] | None = None) -> int:
    """Serves until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m bridge.ops.simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090, help="0 takes a free one")
    parser.add_argument("--hold-s", type=float, default=30.0, help="how long a poll is held")
    parser.add_argument("--expiry-s", type=float, default=45.0, help="how long a session lives without a poll")
    parser.add_argument("--auto-accept", action="store_true", help="an agent takes every chat at once")
    parser.add_argument("--echo", action="store_true", help="the agent says back what it is told")
    given = parser.parse_args(arguments)
    behaviour = vars(given)
    simulator = Simulator(behaviour.pop("host"), behaviour.pop("port"), **behaviour).start()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, simulator.stop)
    print(simulator.url, flush=True)
    simulator.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
