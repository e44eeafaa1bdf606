"""Scene: both sides of many chats talk at a steady rate, and the simulator's ledger has the time of each text."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from bridge.ops.bench.histogram import Histogram
from bridge.ops.bench.job import Generator, Job, Kind, Result, run, soon_ns
from bridge.ops.bench.plan import Plan
from bridge.ops.bench.processes import Used
from bridge.ops.bench.report import Row
from bridge.ops.bench.stage import TEXTS, LedgerEntry, Stage, users

P50_S, P99_S = 0.005, 0.025
PER_CPU_S = 400
CONNECTIONS = 64
ARRIVED_S = 30.0
FLOOR_S = 5.0


class Talk(msgspec.Struct):
    """The results of the steady load: the generators', the ledger's, and the CPU of all processes."""

    written: Result
    said: Result
    used: Used
    entries: dict[str, list[LedgerEntry]]

    def reached_agent(self) -> Histogram:
        """From the moment that a webhook was due to its text at the desk."""
        came = {entry.text: entry.at_ns for entry in self.entries["agent_text"]}
        return Histogram.of((came[sent.text] - sent.due_ns) / 1e9 for sent in self.written.sent if sent.text in came)

    def reached_user(self) -> Histogram:
        """From the moment that a poll was answered with a text to the text at the Integrations API."""
        came = {entry.text: entry.at_ns for entry in self.entries["user_text"]}
        answered = _batches(self.entries["poll_ended"])
        waits = [
            (came[said.text] - _first_after(answered[said.session], said.at_ns)) / 1e9
            for said in self.entries["agent_said"]
            if said.text in came
        ]
        return Histogram.of(waits)

    def reached_user_since_due(self) -> Histogram:
        """As above, from the moment that the agent was due to speak: waiting for a poll is part of it."""
        came = {entry.text: entry.at_ns for entry in self.entries["user_text"]}
        return Histogram.of((came[sent.text] - sent.due_ns) / 1e9 for sent in self.said.sent if sent.text in came)


def play(plan: Plan) -> list[Row]:
    """Three rows: towards the agent, towards the user, and what both cost."""
    with Stage("--auto-accept") as stage:
        names = users(plan.relay_chats)
        stage.connect(names, at_once=50)
        stage.settle(len(names))
        floor = _floor(stage, names)
        talk = _talk(stage, plan, names)
    return [
        _latency_row(plan, "user → agent", talk.reached_agent(), floor, talk.written, {}),
        _latency_row(plan, "agent → user", talk.reached_user(), floor, talk.said, _since_due(talk)),
        _cost_row(plan, talk),
    ]


def _floor(stage: Stage, names: list[str]) -> Histogram:
    """One direct POST at a time over a connection that is kept alive: from its time to its entry in the ledger."""
    before = stage.simulator.counts().last
    job = _job("deliver", stage.simulator.port, names, rate=50.0, label="direct", seconds=FLOOR_S)
    job.connections, job.token = 1, "sandbox-wa-jwt"
    result = run(job)
    came = {entry.text: entry.at_ns for entry in stage.simulator.entries("user_text", after=before)}
    return Histogram.of((came[sent.text] - sent.due_ns) / 1e9 for sent in result.sent if sent.text in came)


def _talk(stage: Stage, plan: Plan, names: list[str]) -> Talk:
    before = stage.simulator.counts(*TEXTS)
    start_ns = soon_ns()
    webhooks = _job("webhook", stage.host.port, names, rate=plan.relay_rate, label="written", seconds=plan.relay_s)
    agents = _job("say", stage.simulator.port, names, rate=plan.relay_rate, label="said", seconds=plan.relay_s)
    webhooks.start_ns = agents.start_ns = start_ns
    with Generator(webhooks) as writing, Generator(agents) as saying:
        time.sleep(max((start_ns - time.monotonic_ns()) / 1e9, 0.0))
        meter = stage.meter()
        written, said = writing.result(), saying.result()
        used = meter.used()
    agent, user = (before.entries[kind] for kind in TEXTS)
    _wait_for_texts(stage, agent=agent + written.requests, user=user + said.requests)
    kinds = (*TEXTS, "agent_said", "poll_ended")
    return Talk(written, said, used, {kind: stage.simulator.entries(kind, after=before.last) for kind in kinds})


def _job(kind: Kind, port: int, names: list[str], *, rate: float, label: str, seconds: float) -> Job:
    job = Job(kind=kind, port=port, users=names, connections=CONNECTIONS, seconds=seconds, label=label)
    job.rate = rate
    return job


def _wait_for_texts(stage: Stage, *, agent: int, user: int) -> None:
    def came() -> bool:
        entries = stage.simulator.counts(*TEXTS).entries
        return entries["agent_text"] >= agent and entries["user_text"] >= user

    stage.wait_for(came, "not every text arrived", timeout_s=ARRIVED_S)


def _batches(ended: Sequence[LedgerEntry]) -> Mapping[str, list[int]]:
    """When polls were answered with something, by session, in order."""
    answered: defaultdict[str, list[int]] = defaultdict(list)
    for entry in ended:
        if entry.text == "batch":
            answered[entry.session].append(entry.at_ns)
    return answered


def _first_after(times: Sequence[int], at_ns: int) -> int:
    return times[min(bisect_left(times, at_ns), len(times) - 1)]


def _since_due(talk: Talk) -> dict[str, object]:
    return {"since_due_ms": talk.reached_user_since_due().summary_ms()}


def _latency_row(
    plan: Plan, way: str, found: Histogram, floor: Histogram, result: Result, more: dict[str, object]
) -> Row:
    p50_s, p99_s = found.at(0.5), found.at(0.99)
    missing = result.requests - found.count
    return Row(
        what=f"relay {way}, {plan.relay_rate:g}/s each way over {plan.relay_chats} chats",
        measured=f"p50 {p50_s * 1000:.1f} ms, p99 {p99_s * 1000:.1f} ms",
        floor=f"{p50_s / max(floor.at(0.5), 1e-6):.1f} × one direct POST\n"
        f"(p50 {floor.at(0.5) * 1000:.1f} ms, p99 {floor.at(0.99) * 1000:.1f} ms)",
        goal=f"p50 ≤ {P50_S * 1000:g} ms, p99 ≤ {P99_S * 1000:g} ms",
        reached=p50_s <= P50_S and p99_s <= P99_S and not missing,
        figures={
            "latency_ms": found.summary_ms(),
            "buckets": found.buckets,
            "direct_post_ms": floor.summary_ms(),
            "generator_busy": round(result.busy, 3),
            "generator_late_ms": result.lateness.summary_ms(),
            **more,
        },
        doubts=result.doubts() + ([f"{missing} texts are missing"] if missing else []),
    )


def _cost_row(plan: Plan, talk: Talk) -> Row:
    messages = sum(len(talk.entries[kind]) for kind in TEXTS)
    per_cpu_s = messages / talk.used.cpu_s["service"]
    shares = talk.used.shares()
    return Row(
        what="relayed messages per CPU-second of the service",
        measured=f"{per_cpu_s:,.0f}; the service used {shares['service']:.0%} of a core",
        floor=f"Redis {shares['redis']:.0%}, simulator {shares['simulator']:.0%} of a core",
        goal=f"≥ {PER_CPU_S}",
        reached=per_cpu_s >= PER_CPU_S,
        figures={"messages": messages, "cpu_s": talk.used.cpu_s, "shares": shares, "wall_s": talk.used.wall_s},
    )
