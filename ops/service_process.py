"""The service as a process of its own under Gunicorn: start it with environment variables, wait for it, stop it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import requests

from bridge.settings.sources import PREFIXES

READY_S = 30.0
STOP_S = 25.0


class ServiceProcess:
    """`bridge serve` with these variables. As a context manager it is ready inside and stopped afterwards.

    `program` is another installed `bridge`, run in the folder `cwd` so that it does not import this checkout.
    """

    def __init__(
        self, environ: Mapping[str, str], *, port: int = 0, program: Path | None = None, cwd: Path | None = None
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = tempfile.NamedTemporaryFile(prefix="bridge-", suffix=".log", delete=False)  # noqa: SIM115
        self.environ = {**_without_ours(os.environ), "LOG_LEVEL": "INFO", **environ}
        self._bridge = [str(program)] if program else [sys.executable, "-m", "bridge.ops.cli"]
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ServiceProcess:
        self.start()
        self.wait_until_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The master's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it has ended or was never started."""
        return self._process is None or self._process.poll() is not None

    def start(self) -> None:
        """Starts it in a process group of its own, so that Ctrl-C reaches only its parent."""
        self._process = subprocess.Popen(
            [*self._bridge, "serve", "--bind", f"127.0.0.1:{self.port}"],
            cwd=self._cwd,
            env=self.environ,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait_until_ready(self, timeout_s: float = READY_S) -> None:
        """Raises RuntimeError with the end of its log when it ends, or is not ready in time."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"the service ended at once:\n{self.log_text()[-3000:]}")
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"{self.url}/v1/ready", timeout=2).status_code == 200:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"the service was not ready in {timeout_s:g} s:\n{self.log_text()[-3000:]}")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ends it, and its workers with it; gives its exit code."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(how)
        try:
            return self._process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            return self._process.wait()

    def log_text(self) -> str:
        """Everything that it logged."""
        with open(self.log.name, encoding="utf-8", errors="replace") as log:
            return log.read()


def free_port() -> int:
    """A free port on loopback, below those that systems give to outgoing connections: one of these could take it."""
    for _ in range(100):
        port = random.randint(15_000, 32_000)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free between 15000 and 32000")


def _without_ours(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in environ.items() if not name.startswith(PREFIXES)}
