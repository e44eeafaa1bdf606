"""Scene: webhooks that become context, against a bare handler under the same worker class."""

from __future__ import annotations

from statistics import median

from bridge.ops.bench.floors import BareService
from bridge.ops.bench.job import Job, Kind, Result, run
from bridge.ops.bench.plan import Plan
from bridge.ops.bench.processes import Meter
from bridge.ops.bench.report import Row
from bridge.ops.bench.stage import Stage, users

GOAL = 0.5
STRANGERS = 2_000
WARM_UP_S = 1.0
# Measure latency at half of the possible rate: beyond the possible rate it only shows the queue.
CALM = 0.5


def play(plan: Plan) -> list[Row]:
    """One row: requests a second in turns with the floor, and the latency of an open loop at half of that."""
    with Stage() as stage, BareService() as bare:
        for port in (bare.port, stage.host.port):
            _flood(plan, port, label="warm", seconds=WARM_UP_S)
        turns: list[tuple[Result, Result]] = []
        meter = stage.meter()
        for turn in range(plan.webhook_rounds):
            floor = _flood(plan, bare.port, kind="plain", label=f"bare{turn}")
            turns.append((floor, _flood(plan, stage.host.port, label=f"hook{turn}")))
        cpu_ms = meter.used().cpu_s["service"] * 1000 / sum(ours.requests for _, ours in turns)
        calm = _calm(plan, stage.host.port, rate=CALM * median(ours.per_s for _, ours in turns), meter=stage.meter())
    return [_row(turns, calm, cpu_ms)]


def _flood(plan: Plan, port: int, *, label: str, kind: Kind = "webhook", seconds: float = 0.0) -> Result:
    job = Job(
        kind=kind,
        port=port,
        users=users(STRANGERS),
        connections=plan.webhook_connections,
        seconds=seconds or plan.webhook_s,
        label=label,
    )
    return run(job)


def _calm(plan: Plan, port: int, *, rate: float, meter: Meter) -> Result:
    job = Job(kind="webhook", port=port, users=users(STRANGERS), connections=64, seconds=plan.latency_s, label="calm")
    job.rate = rate
    return run(job)


def _row(turns: list[tuple[Result, Result]], calm: Result, cpu_ms: float) -> Row:
    ratio = median(ours.per_s / floor.per_s for floor, ours in turns)
    per_s, bare_per_s = median(ours.per_s for _, ours in turns), median(floor.per_s for floor, _ in turns)
    late = calm.latency
    doubts = {doubt for turn in turns for result in turn for doubt in result.doubts()} | set(calm.doubts())
    return Row(
        what="webhook to context, one worker, real Redis",
        measured=f"{per_s:,.0f}/s; {cpu_ms:.2f} ms of CPU each\n"
        f"at {calm.per_s:,.0f}/s: p50 {late.at(0.5) * 1000:.1f} ms, p99 {late.at(0.99) * 1000:.1f} ms",
        floor=f"{ratio:.2f} × the bare handler ({bare_per_s:,.0f}/s)",
        goal=f"≥ {GOAL} × the bare handler",
        reached=ratio >= GOAL,
        figures={
            "per_s": [round(ours.per_s) for _, ours in turns],
            "bare_per_s": [round(floor.per_s) for floor, _ in turns],
            "cpu_ms": round(cpu_ms, 3),
            "latency_ms": late.summary_ms(),
            "generator_busy": [round(ours.busy, 2) for _, ours in turns],
        },
        doubts=sorted(doubts),
    )
