"""The benchmark's own instruments: histograms, the open loop, what it reads of processes, and a scene played small."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import gevent
import msgspec
import pytest
from gevent.pywsgi import WSGIServer

from bridge.ops.bench import webhooks
from bridge.ops.bench.histogram import Histogram
from bridge.ops.bench.job import Job, Result, run
from bridge.ops.bench.plan import QUICK
from bridge.ops.bench.processes import Meter, Slices, cpu_s, pss_kib
from bridge.ops.bench.report import Row, markdown, report, write

BUSY = "while True: pass"


def test_a_histogram_gives_a_time_back_to_within_a_hundredth() -> None:
    for value_s in (0.0001, 0.0025, 0.04, 1.5, 60.0):
        assert Histogram.of([value_s]).at(1.0) == pytest.approx(value_s, rel=0.011)


def test_a_histogram_knows_its_shares() -> None:
    found = Histogram.of(milliseconds / 1000 for milliseconds in range(1, 1001))
    assert found.count == 1000
    assert found.at(0.5) == pytest.approx(0.5, rel=0.011)
    assert found.at(0.99) == pytest.approx(0.99, rel=0.011)
    assert Histogram({}).at(0.5) == 0.0


def test_a_histogram_survives_json() -> None:
    found = Histogram.of([0.001, 0.002, 0.002])
    assert msgspec.json.decode(msgspec.json.encode(found), type=Histogram) == found


class Slow:
    """A service that stands still once, and keeps what it was asked."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.pause_s = 0.0
        self._server = WSGIServer(("127.0.0.1", 0), self._answer, log=None)
        self._server.start()
        self.port: int = self._server.server_port

    def stop(self) -> None:
        self._server.stop(timeout=0.1)

    def _answer(self, environ: dict[str, object], start_response: object) -> list[bytes]:
        self.bodies.append(environ["wsgi.input"].read())  # type: ignore[attr-defined]
        if len(self.bodies) == 20:
            time.sleep(self.pause_s)
        start_response("200 OK", [("Content-Length", "2")])  # type: ignore[operator]
        return [b"{}"]


@pytest.fixture
def slow() -> Iterator[Slow]:
    service = Slow()
    yield service
    service.stop()


def job(port: int, **more: object) -> Job:
    fields = {"kind": "webhook", "users": ["1", "2"], "connections": 1, "seconds": 5.0, "label": "test"}
    return msgspec.convert({**fields, "port": port, **more}, Job)


def test_a_closed_loop_asks_as_often_as_it_was_told(slow: Slow) -> None:
    result = run(job(slow.port, requests=50, connections=4))
    assert (result.requests, result.errors, len(slow.bodies)) == (50, {}, 50)
    assert len({json.loads(body)["id"] for body in slow.bodies}) == 50


def test_an_open_loop_counts_a_pause_for_every_request_that_was_due_in_it(slow: Slow) -> None:
    slow.pause_s = 0.5
    result = run(job(slow.port, requests=100, rate=100.0))
    late = sum(sent.answered_ns - sent.due_ns > 100_000_000 for sent in result.sent)
    assert late >= 30, "only those who were sent were counted, not those who would have been"
    assert any("late at p99" in doubt for doubt in result.doubts())


def test_what_is_refused_is_counted_as_an_error() -> None:
    result = run(job(1, requests=3))
    assert result.errors == {"ConnectionRefusedError": 3}
    assert result.doubts()[0] == "3 requests failed with ConnectionRefusedError"


def test_a_busy_generator_says_so() -> None:
    nothing = Histogram({})
    busy = Result(
        requests=9, errors={}, first_ns=0, last_ns=1_000_000_000, latency=nothing, lateness=nothing, cpu_s=0.95
    )
    assert busy.doubts() == ["the generator used 95% of a core"]


@pytest.fixture
def busy() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", BUSY]) as process:
        yield process.pid
        process.kill()


def test_the_meter_sees_who_works(busy: int) -> None:
    meter = Meter({"busy": lambda: [busy], "idle": list})
    gevent.sleep(0.5)
    used = meter.used()
    assert used.cpu_s["busy"] > 0.1
    assert used.cpu_s["idle"] == 0.0
    assert cpu_s(2**22 + 1) == 0.0


def test_slices_leave_a_process_its_part_of_the_time(busy: int) -> None:
    with Slices([busy], share=0.25):
        gevent.sleep(0.2)
        meter = Meter({"busy": lambda: [busy]})
        gevent.sleep(1.0)
        assert meter.used().share("busy") < 0.4
    gevent.sleep(0.1)
    assert Path(f"/proc/{busy}/stat").read_text().rpartition(")")[2].split()[0] == "R"


def test_memory_is_read_as_the_kernel_shares_it_out() -> None:
    assert 5_000 < pss_kib(os.getpid()) < 5_000_000


def test_a_report_says_on_what_and_when(tmp_path: Path) -> None:
    row = Row(what="a thing", measured="1\n2", floor="0.5 ×", goal="≥ 1", reached=False, doubts=["noise"])
    found = report([row], command="bridge bench")
    write(found, tmp_path / "new" / "last.json")
    assert json.loads((tmp_path / "new" / "last.json").read_text())["rows"][0]["reached"] is False
    assert "| a thing | 1; 2; doubt: noise | 0.5 × | ≥ 1 | no |" in markdown(found)
    assert not found.reached


@pytest.mark.redis
@pytest.mark.slow
def test_a_scene_can_be_played() -> None:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    plan = msgspec.structs.replace(QUICK, webhook_rounds=1, webhook_s=0.5, latency_s=0.5)
    [row] = webhooks.play(plan)
    assert row.figures["per_s"][0] > 50
    assert not [doubt for doubt in row.doubts if "failed" in doubt]
