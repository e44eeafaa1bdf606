"""Hosts: services that share one store, each a Gunicorn master with its workers; they can be killed and frozen."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from bridge.ops.service_process import ServiceProcess


class Host(ServiceProcess):
    """One service, as one machine would run it."""

    @property
    def worker_pids(self) -> list[int]:
        """The process ids of its workers, from the kernel."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def kill_worker(self, which: int = 0) -> int:
        """kill -9 of one worker; its process id."""
        pid = self.worker_pids[which % len(self.worker_pids)]
        os.kill(pid, signal.SIGKILL)
        return pid

    def lose(self) -> None:
        """kill -9 of the master and all workers at once: no process is left that could release leases."""
        pids = [self.pid, *self.worker_pids]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.stop(signal.SIGKILL)

    def freeze(self) -> list[int]:
        """SIGSTOP of the master and all workers; gives what `thaw` takes."""
        pids = [self.pid, *self.worker_pids]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        return pids

    @staticmethod
    def thaw(pids: list[int]) -> None:
        """SIGCONT of those that are still there."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


class Hosts:
    """Several hosts on one store."""

    def __init__(self, environ: Mapping[str, str], *, count: int) -> None:
        self.all = [Host(environ) for _ in range(count)]

    def __enter__(self) -> Hosts:
        for host in self.all:
            host.start()
        for host in self.all:
            host.wait_until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        for host in self.all:
            host.stop()

    @property
    def urls(self) -> list[str]:
        """Where each can be reached."""
        return [host.url for host in self.all]

    def log_text(self) -> str:
        """What all of them logged."""
        return "".join(host.log_text() for host in self.all)
