"""A pytest plugin that patches with gevent each process that runs tests, before another plugin imports socket or ssl.

With pytest-xdist, the process that hands the tests out is not patched: execnet reads its workers' pipes in real
threads, which would block gevent's hub.
"""

from __future__ import annotations

import os
import sys

import gevent
from gevent import monkey

IN_WORKER = "PYTEST_XDIST_WORKER" in os.environ
_IN_PARALLEL = any(argument.startswith(("-n", "--numprocesses")) and argument != "-n0" for argument in sys.argv)
_HANDS_OUT_TESTS = _IN_PARALLEL and not IN_WORKER
_TICK_S = 0.02


def _tick() -> None:
    # A worker waits for its next test with a lock that execnet's real thread releases. Meanwhile the hub must have
    # something to do: else gevent raises LoopExit, because no greenlet of the hub could ever release that lock.
    while True:
        gevent.sleep(_TICK_S)


if not _HANDS_OUT_TESTS:
    monkey.patch_all()
if IN_WORKER:
    gevent.spawn(_tick)
