"""`bridge serve` as an operator runs it: Gunicorn, its workers, their sockets, their end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import requests

from bridge.ops.dump import Document, documents
from bridge.ops.simulator.environ import sandbox_environ

ROOT = Path(__file__).resolve().parents[2]
Found = TypeVar("Found")


def wait_for(look: Callable[[], Found], *, within_s: float = 20.0) -> Found:
    """What `look` finds, as soon as it finds something."""
    deadline_s = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline_s, "it did not come about in time"
        time.sleep(0.05)
    return found


class Served:
    """A running `bridge serve`, its log and its sockets."""

    def __init__(self, folder: Path, *options: str, **overrides: str) -> None:
        self.sockets = folder / "sockets"
        self._log = folder / "log"
        environ = sandbox_environ("http://127.0.0.1:9", ops_socket_dir=str(self.sockets), **overrides)
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from bridge.ops.cli import main; main()", "serve", *options],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "GUNICORN_CMD_ARGS": "--bind=127.0.0.1:1"} | environ,
                stderr=log,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def url(self) -> str:
        found = wait_for(lambda: re.search(r"Listening at: (http://[\d.:]+)", self.log))
        return found[1]

    def answer(self, path: str) -> int:
        with contextlib.suppress(requests.RequestException):
            return requests.get(self.url() + path, timeout=5).status_code
        return 0

    def workers(self) -> list[Document]:
        return [document for document in documents(self.sockets) if "error" not in document]

    def pids(self) -> set[int]:
        return {document["worker"]["pid"] for document in self.workers()}

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout=25)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    running = Served(tmp_path, "--bind", "127.0.0.1:0", port="1")
    yield running
    running.stop()


def test_a_service_starts_answers_is_seen_and_ends_politely(served: Served) -> None:
    wait_for(lambda: served.answer("/v1/ready") == 200)
    (worker,) = served.workers()
    assert {"worker", "registry", "interconnections", "pools"} <= worker.keys()
    assert "nothing survives a stop" in served.log
    assert served.stop() == 0
    assert "Traceback" not in served.log
    assert list(served.sockets.iterdir()) == []


def test_a_killed_worker_is_replaced_and_nothing_of_it_is_left(served: Served) -> None:
    (first,) = wait_for(served.pids)
    os.kill(first, signal.SIGKILL)
    (second,) = wait_for(lambda: served.pids() - {first})
    assert [path.name.split("-")[-1] for path in served.sockets.iterdir()] == [f"{second}.sock"]


def test_no_request_leaves_its_query_string_in_the_log(served: Served) -> None:
    wait_for(lambda: served.answer("/v1/live?token=do-not-tell") == 200)
    served.stop()
    assert "do-not-tell" not in served.log
    assert "/v1/live" not in served.log


def test_a_worker_without_its_redis_lives_refuses_work_and_still_ends(tmp_path: Path) -> None:
    running = Served(tmp_path, "--bind", "127.0.0.1:0", redis_address="127.0.0.1:1")
    try:
        wait_for(lambda: running.answer("/v1/live") == 200)
        assert running.answer("/v1/ready") == 503
        assert running.process.poll() is None
    finally:
        assert running.stop() == 0
