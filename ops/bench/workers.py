"""Scene: the same burst for one worker and for two, where the workers and not the machine are the limit."""

from __future__ import annotations

import msgspec

from bridge.ops.bench.job import Job, run
from bridge.ops.bench.plan import Plan
from bridge.ops.bench.processes import Slices, Used
from bridge.ops.bench.report import Row
from bridge.ops.bench.stage import Stage, users

GOAL = 1.6
CONNECTIONS = 32
ARRIVED_S = 180.0


class Burst(msgspec.Struct):
    """Texts that users write at once, each echoed by its agent: the rate, and its cost."""

    per_s: float
    used: Used
    doubts: list[str]


def play(plan: Plan) -> list[Row]:
    """One row: bursts through one worker and two, each worker with the same slice of the time; and without slices."""
    sliced = {workers: _stage(plan, workers, share=plan.slice_share) for workers in (1, 2)}
    free = {workers: _stage(plan, workers, share=1.0) for workers in (1, 2)}
    ratio, free_ratio = sliced[2].per_s / sliced[1].per_s, free[2].per_s / free[1].per_s
    others = sum(share for group, share in free[2].used.shares().items() if group != "service")
    return [
        Row(
            what=f"two workers, each with {plan.slice_share:.0%} of the time, against one",
            measured=f"{sliced[2].per_s:,.0f} against {sliced[1].per_s:,.0f} relayed a second\n"
            f"without slices: {free[2].per_s:,.0f} against {free[1].per_s:,.0f} ({free_ratio:.2f} ×)",
            floor=f"{ratio:.2f} ×; without slices Redis and the simulator took {others:.0%} of a core",
            goal=f"≥ {GOAL} ×",
            reached=ratio >= GOAL,
            figures={
                "sliced_per_s": {workers: round(burst.per_s, 1) for workers, burst in sliced.items()},
                "free_per_s": {workers: round(burst.per_s, 1) for workers, burst in free.items()},
                "free_shares": {workers: burst.used.shares() for workers, burst in free.items()},
                "free_ratio": round(free_ratio, 2),
            },
            doubts=sorted({doubt for burst in (*sliced.values(), *free.values()) for doubt in burst.doubts}),
        )
    ]


def _stage(plan: Plan, workers: int, *, share: float) -> Burst:
    with Stage("--auto-accept", "--echo", workers=workers) as stage:
        names = users(plan.burst_chats)
        stage.connect(names, at_once=50)
        stage.settle(len(names))
        if share >= 1.0:
            return _burst(stage, plan, names)
        with Slices(stage.host.worker_pids, share=share):
            return _burst(stage, plan, names)


def _burst(stage: Stage, plan: Plan, names: list[str]) -> Burst:
    before = stage.simulator.counts("user_text")
    job = Job(
        kind="webhook",
        port=stage.host.port,
        users=names,
        requests=plan.burst_messages,
        connections=CONNECTIONS,
        seconds=ARRIVED_S,
        label="burst",
    )
    meter = stage.meter()
    result = run(job)
    _wait_for_echoes(stage, before.entries["user_text"] + result.requests)
    used = meter.used()
    last_ns = max(entry.at_ns for entry in stage.simulator.entries("user_text", after=before.last))
    return Burst(2 * result.requests * 1e9 / (last_ns - result.first_ns), used, result.doubts())


def _wait_for_echoes(stage: Stage, count: int) -> None:
    def came() -> bool:
        return stage.simulator.counts("user_text").entries["user_text"] >= count

    stage.wait_for(came, "not every echo came back", timeout_s=ARRIVED_S)
