"""Scene: thousands of chats on hold in one worker: their cost, how it grows, and how soon all return after a crash."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from bridge.ops.bench.floors import bare_poll_kib
from bridge.ops.bench.plan import Plan
from bridge.ops.bench.processes import Meter, pss_kib
from bridge.ops.bench.report import Row
from bridge.ops.bench.stage import Stage, users

CHAT_KIB = 60.0
IDLE_SHARE = 0.10
GROWTH = 0.10
BACK_S = 15.0
AT_ONCE = 50
POLLED_S = 60.0


class Crowd(msgspec.Struct):
    """Chats on hold: the worker's memory, and the service's share of a core while nothing happens."""

    chats: int
    pss_kib: int
    share: float


def play(plan: Plan, say: Callable[[str], None]) -> list[Row]:
    """Three rows: the largest crowd, its growth, its recovery."""
    with Stage(f"--hold-s={plan.hold_s}", f"--expiry-s={plan.hold_s + 30}") as stage:
        bare_kib = bare_poll_kib(stage.simulator, plan.bare_polls)
        names = users(plan.crowd[-1])
        _warm_up(stage)
        empty = _look(stage, 0, plan.empty_s)
        crowds: list[Crowd] = []
        for chats in plan.crowd:
            say(f"{chats} chats on hold")
            stage.connect(names[crowds[-1].chats if crowds else 0 : chats], at_once=AT_ONCE)
            stage.settle(chats)
            crowds.append(_look(stage, chats, plan.hold_s))
        say("kill -9 of everything")
        back_s = _recover(stage, names)
    return [_crowd_row(plan, empty, crowds[-1], bare_kib), _growth_row(empty, crowds), _recovery_row(back_s)]


def _warm_up(stage: Stage) -> None:
    """Opens and ends a few chats, so that what is allocated once is not counted for the chats that follow."""
    names = users(AT_ONCE, first=5_215_600_000_000)
    stage.connect(names, at_once=AT_ONCE)
    stage.settle(len(names))
    for name in names:
        stage.simulator.end(name)
    stage.wait_for(lambda: stage.simulator.counts().polled == 0, "chats that ended are still polled", timeout_s=30)


def _look(stage: Stage, chats: int, seconds: float) -> Crowd:
    meter = Meter({"service": lambda: [stage.host.pid, *stage.host.worker_pids]})
    time.sleep(seconds)
    used = meter.used()
    [worker] = stage.host.worker_pids
    return Crowd(chats, pss_kib(worker), used.share("service"))


def _recover(stage: Stage, names: list[str]) -> list[float]:
    """Seconds from the kill until each chat was polled again, sorted."""
    before = stage.simulator.counts().last
    killed_ns = time.monotonic_ns()
    stage.host.lose()
    stage.redis.kill()
    stage.redis.start()
    stage.host.start()
    stage.wait_until_polled(len(names), timeout_s=POLLED_S)
    polled: dict[str, int] = {}
    for entry in stage.simulator.entries("poll_began", after=before):
        if entry.at_ns > killed_ns:
            polled.setdefault(entry.session, entry.at_ns)
    return sorted((at_ns - killed_ns) / 1e9 for at_ns in polled.values())


def _crowd_row(plan: Plan, empty: Crowd, crowd: Crowd, bare_kib: float) -> Row:
    kib = (crowd.pss_kib - empty.pss_kib) / crowd.chats
    return Row(
        what=f"{crowd.chats:,} chats on hold in one worker, {plan.hold_s:g} s polls",
        measured=f"{kib:.1f} KiB (PSS) a chat; idle CPU {crowd.share:.1%} of a core",
        floor=f"{kib / bare_kib:.1f} × a bare greenlet with http.client ({bare_kib:.1f} KiB)\n"
        f"without a chat: {empty.pss_kib / 1024:.0f} MiB, {empty.share:.1%} of a core",
        goal=f"≤ {CHAT_KIB:g} KiB; ≤ {IDLE_SHARE:.0%} of a core",
        reached=kib <= CHAT_KIB and crowd.share <= IDLE_SHARE,
        figures={"kib": round(kib, 1), "bare_kib": round(bare_kib, 1), "share": crowd.share, "empty": empty},
    )


def _growth_row(empty: Crowd, crowds: list[Crowd]) -> Row:
    kib = [(crowd.pss_kib - empty.pss_kib) / crowd.chats for crowd in crowds]
    cpu_us = [(crowd.share - empty.share) / crowd.chats * 1e6 for crowd in crowds]
    sizes = ", ".join(f"{crowd.chats:,}" for crowd in crowds)
    return Row(
        what=f"growth: a chat at {sizes}",
        measured=f"{_list(kib)} KiB; {_list(cpu_us)} µs of CPU a second",
        floor=f"the last is {kib[-1] / kib[0]:.2f} × and {cpu_us[-1] / cpu_us[0]:.2f} × the first",
        goal=f"flat within {GROWTH:.0%}",
        reached=_flat(kib) and _flat(cpu_us),
        figures={"chats": [crowd.chats for crowd in crowds], "kib": kib, "cpu_us_per_s": cpu_us, "crowds": crowds},
    )


def _recovery_row(back_s: list[float]) -> Row:
    return Row(
        what=f"recovery of {len(back_s):,} chats after kill -9 of the service and Redis",
        measured=f"all polled again after {back_s[-1]:.1f} s, half of them after {back_s[len(back_s) // 2]:.1f} s",
        floor=f"the first after {back_s[0]:.1f} s",
        goal=f"≤ {BACK_S:g} s",
        reached=back_s[-1] <= BACK_S,
        figures={"first_s": back_s[0], "half_s": back_s[len(back_s) // 2], "all_s": back_s[-1]},
    )


def _flat(values: list[float]) -> bool:
    """Whether no crowd costs more, a chat, than the first by more than what is allowed."""
    return max(values) <= values[0] * (1 + GROWTH)


def _list(values: list[float]) -> str:
    return " / ".join(f"{value:.1f}" for value in values)
