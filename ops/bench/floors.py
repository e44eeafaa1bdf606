"""The floors: the least that an operation can cost on this machine, measured in the same run as the service."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from bridge.ops.bench.processes import pss_kib
from bridge.ops.bench.stage import SimulatorProcess
from bridge.ops.service_process import ServiceProcess, free_port

POLLED_S = 20.0


class BareService(ServiceProcess):
    """A Falcon handler that decodes JSON and answers JSON, and nothing else, under the service's own worker class."""

    def __init__(self) -> None:
        super().__init__({}, port=free_port())

    def start(self) -> None:
        """Runs Gunicorn on the bare application."""
        configuration = str(Path(__file__).with_name("bare_conf.py"))
        command = [sys.executable, "-m", "gunicorn", "-c", configuration, "-b", f"127.0.0.1:{self.port}"]
        self._process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        os.unlink(self.log.name)


def bare_poll_kib(simulator: SimulatorProcess, polls: int) -> float:
    """KiB that a bare greenlet costs while it holds the same long poll with `http.client`."""
    command = [sys.executable, "-m", "bridge.ops.bench.holder", str(simulator.port), str(polls)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        try:
            holder.stdout.readline()
            before_kib = pss_kib(holder.pid)
            others = simulator.counts().polled
            print("poll", file=holder.stdin, flush=True)
            _wait_until_polled(simulator, others + polls)
            return (pss_kib(holder.pid) - before_kib) / polls
        finally:
            holder.kill()


def _wait_until_polled(simulator: SimulatorProcess, polls: int) -> None:
    deadline_s = time.monotonic() + POLLED_S
    while simulator.counts().polled < polls:
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"the bare greenlets did not poll within {POLLED_S:g} s")
        time.sleep(0.1)
