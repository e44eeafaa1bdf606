"""The composition root, before there is anything to compose."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from bridge.ops import wsgi
from bridge.ops.simulator.environ import sandbox_environ


def test_a_request_before_the_start_is_answered_503_with_retry_after() -> None:
    told: list[Any] = []
    body = b"".join(wsgi.application({}, lambda status, headers: told.extend((status, dict(headers)))))
    assert told[0].startswith("503 ")
    assert told[1]["Content-Type"] == "application/json"
    assert told[1]["Cache-Control"] == "no-store"
    assert set(json.loads(body)) == {"ErrorDescription"}


def test_stopping_before_the_start_changes_nothing() -> None:
    wsgi.stop()
    wsgi.stop()
    status: list[str] = []
    list(wsgi.application({}, lambda line, headers: status.append(line)))
    assert status[0].startswith("503 ")


def test_the_master_clears_up_behind_a_dead_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in sandbox_environ("http://127.0.0.1:9", ops_socket_dir=str(tmp_path)).items():
        monkeypatch.setenv(name, text)
    pid = os.spawnlp(os.P_NOWAIT, "true", "true")
    os.waitpid(pid, 0)
    left = tmp_path / f"bridge-8080-{pid}.sock"
    left.touch()
    wsgi.worker_died(pid)
    assert not left.exists()
