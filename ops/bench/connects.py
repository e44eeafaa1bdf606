"""Scene: many users ask for an agent at once, and every remote service answers slowly."""

from __future__ import annotations

from bridge.ops.bench.job import Job, Result, run
from bridge.ops.bench.plan import Plan
from bridge.ops.bench.processes import Used
from bridge.ops.bench.report import Row
from bridge.ops.bench.stage import Stage, users

PER_S = 100.0
P99_S = 1.0
SLOW = (
    "/salesforce/*",
    "/liveagent/chat/rest/System/SessionId",
    "/liveagent/chat/rest/Chasitor/*",
    "/integrations/*",
    "/botrunner/*",
)


def play(plan: Plan) -> list[Row]:
    """One row: a fixed number of connects under way, then a fixed rate."""
    with Stage(workers=plan.connect_workers) as stage:
        for path in SLOW:
            stage.simulator.delay(path, delay_s=plan.connect_delay_s)
        names = users(2 * plan.connects + 1)
        stage.connect(names[-1:], at_once=1)
        meter = stage.meter()
        crowded = run(_job(stage, plan, names[: plan.connects], rate=0.0))
        used = meter.used()
        stage.settle(plan.connects)
        paced = run(_job(stage, plan, names[plan.connects : -1], rate=plan.connect_rate))
    return [_row(plan, crowded, paced, used)]


def _job(stage: Stage, plan: Plan, names: list[str], *, rate: float) -> Job:
    return Job(
        kind="connect",
        port=stage.host.port,
        users=names,
        requests=len(names),
        connections=plan.connects_at_once if not rate else 1_000,
        seconds=60.0,
        rate=rate,
        label="connect",
        token=stage.token,
    )


def _row(plan: Plan, crowded: Result, paced: Result, used: Used) -> Row:
    p99_s, paced_p99_s = crowded.latency.at(0.99), paced.latency.at(0.99)
    at_once, delay_ms, workers = plan.connects_at_once, plan.connect_delay_s * 1000, plan.connect_workers
    return Row(
        what=f"connects, every answer of a neighbour takes {delay_ms:g} ms, {at_once} at once, {workers} workers",
        measured=f"{crowded.per_s:,.0f}/s, p50 {crowded.latency.at(0.5):.2f} s, p99 {p99_s:.2f} s\n"
        f"at {plan.connect_rate:g}/s: p50 {paced.latency.at(0.5):.2f} s, p99 {paced_p99_s:.2f} s",
        floor=f"{at_once / PER_S:.1f} s is what {at_once} at once take at {PER_S:g}/s",
        goal=f"≥ {PER_S:g}/s, p99 ≤ {P99_S:g} s",
        reached=crowded.per_s >= PER_S and p99_s <= P99_S and not crowded.errors,
        figures={
            "per_s": round(crowded.per_s, 1),
            "latency_ms": crowded.latency.summary_ms(),
            "paced_latency_ms": paced.latency.summary_ms(),
            "cpu_ms_each": round(used.cpu_s["service"] * 1000 / crowded.requests, 2),
            "shares": used.shares(),
        },
        doubts=sorted({*crowded.doubts(), *paced.doubts()}),
    )
