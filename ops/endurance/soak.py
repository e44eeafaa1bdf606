"""The soak: chats talk for minutes while processes are killed or frozen and remote services fail; then one table."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import gevent
from rich.console import Console
from rich.table import Table

from bridge.ops.endurance.blows import FROZEN_S, TROUBLES, Blows
from bridge.ops.endurance.gaps import FELT_MS, delays_s, longest_silence_s, percentile, takeovers_s
from bridge.ops.endurance.hosts import Hosts
from bridge.ops.endurance.load import Caller, Load, Talk
from bridge.ops.endurance.redis_process import SentinelCluster
from bridge.ops.endurance.turnover import Turnover
from bridge.ops.endurance.verdict import Verdict, judge, settle
from bridge.ops.simulator import Simulator
from bridge.ops.simulator.environ import sandbox_environ

HOSTS = 2
WORKERS = 2
BETWEEN_BLOWS_S = 5.0
# Both ways together. The default rate limits let one host alone carry it.
MESSAGES_A_SECOND = 40.0
# The share of the chats that are finished and opened again all the time.
TURNOVER_SHARE = 0.2
# A text that comes too soon after another is answered 200 and lost.
DESK: dict[str, Any] = {"auto_accept": True, "burst_gap_s": 0.05, "ledger_limit": 10_000_000}


class Soak:
    """Two hosts of two workers on a primary with a replica. Some chats stay open, the others end and begin again."""

    def __init__(self, simulator: Simulator, blows: Blows, caller: Caller, *, chats: int, console: Console) -> None:
        self.simulator = simulator
        self.blows = blows
        self._console = console
        turnover = max(int(chats * TURNOVER_SHARE), 1)
        self.steady = Load(simulator, caller, chats=chats - turnover, providers=("whatsapp", "facebook"), large=0.02)
        self.turnover = Turnover(simulator, caller, chats=turnover, first_user=5_215_501_000_000)
        self.calm_ms = (0, 0)

    def run(self, *, minutes: float) -> None:
        """Talks and strikes for so long, then waits until everything has arrived."""
        each_s = 2 * (len(self.steady.talks) + len(self.turnover.talks)) / MESSAGES_A_SECOND
        self.steady.open()
        began_ms = time.time_ns() // 1_000_000
        self.steady.start(each_s=each_s)
        self.turnover.start(each_s=min(each_s, 2.0))
        end_s = time.monotonic() + minutes * 60
        gevent.sleep(2 * BETWEEN_BLOWS_S)
        self.calm_ms = (began_ms, time.time_ns() // 1_000_000)
        while time.monotonic() < end_s:
            self._tell(self.blows.strike().kind)
            gevent.sleep(BETWEEN_BLOWS_S)
        self._console.print("waiting until everything has arrived…")
        self.turnover.stop()
        self.steady.stop()
        for load in (self.steady, self.turnover):
            settle(self.simulator, load)

    def _tell(self, kind: str) -> None:
        messages = self.steady.messages + self.turnover.messages
        self._console.print(f"{len(self.blows.done):3} blows, {messages:6} messages, last: {kind}")

    def delay_of_others_s(self) -> dict[str, float]:
        """For each kind of trouble: the longest delay of a text that it should not have touched."""
        longest: dict[str, float] = {}
        for blow in (blow for blow in self.blows.done if blow.kind in TROUBLES):
            for direction, talks in self._untouched(blow.kind):
                delays = delays_s(self.simulator, talks, blow.at_ms, blow.until_ms, direction=direction)
                longest[blow.kind] = max(longest.get(blow.kind, 0.0), *delays[-1:], 0.0)
        return longest

    def calm_delays_s(self) -> list[float]:
        """The delays of all texts before the first blow, sorted."""
        talks, (since_ms, until_ms) = self.steady.talks, self.calm_ms
        return sorted(
            delay
            for direction in ("user", "agent")
            for delay in delays_s(self.simulator, talks, since_ms, until_ms, direction=direction)
        )

    def _untouched(self, kind: str) -> Iterator[tuple[str, list[Talk]]]:
        trouble = TROUBLES[kind]
        for direction in ("user", "agent"):
            if direction != trouble.direction:
                yield direction, self.steady.talks
            elif trouble.provider:
                yield direction, [talk for talk in self.steady.talks if talk.provider != trouble.provider]


def report(soak: Soak, steady: Verdict, turnover: Verdict) -> Table:
    """The results, one line each."""
    table = Table(title="Soak", show_header=False)
    ends = soak.turnover.ends
    rows: list[tuple[str, object]] = [
        ("messages", steady.messages + turnover.messages),
        ("chats finished while the agent wrote", ends.finished),
        *((f"blows: {kind}", count) for kind, count in Counter(blow.kind for blow in soak.blows.done).items()),
        ("lost", steady.lost + turnover.lost),
        ("of these: not read before an end", turnover.lost),
        ("twice", steady.twice + turnover.twice),
        ("twice at Messenger, which has no ids", steady.twice_without_id + turnover.twice_without_id),
        ("out of order", steady.out_of_order + turnover.out_of_order),
        ("overlapping polls", steady.overlapping_polls),
        ("repeated under the same id (dropped by the channel)", steady.repeated + turnover.repeated),
        ("chats that did not open / did not end", f"{ends.not_opened} / {ends.not_ended}"),
        ("chats whose bot was not told / told twice", f"{ends.not_told} / {ends.told_twice}"),
        ("longest time without a poll, s", f"{longest_silence_s(soak.simulator):.2f}"),
        *_times(soak),
    ]
    for name, value in rows:
        table.add_row(name, str(value))
    return table


def _times(soak: Soak) -> Iterator[tuple[str, object]]:
    # A frozen worker's polls end when Gunicorn kills it.
    for kind, felt_ms in (("worker killed", FELT_MS), ("worker frozen", int(FROZEN_S * 1000)), ("host lost", FELT_MS)):
        times = takeovers_s(soak.simulator, soak.blows.done, kind, felt_ms=felt_ms)
        yield f"takeover after: {kind}, p50 / p99 / max, s", _spread(times)
    yield "delay of a text before the first blow, p50 / p99 / max, s", _spread(soak.calm_delays_s())
    for kind, longest_s in soak.delay_of_others_s().items():
        yield f"longest delay of any other text while: {kind}, s", f"{longest_s:.2f}"


def _spread(times: list[float]) -> str:
    shown = (percentile(times, 0.5), percentile(times, 0.99), times[-1] if times else 0.0)
    return " / ".join(f"{value:.2f}" for value in shown) + f"  ({len(times)})"


def main(minutes: float = 2.0, chats: int = 60) -> None:
    """Runs the soak; ends with 1 if a text was lost, doubled or out of order, if polls overlapped, or an end failed."""
    console = Console()
    with SentinelCluster(replicas=1) as cluster, Simulator(**DESK) as simulator:
        environ = sandbox_environ(
            simulator.url,
            redis_sentinel_address=cluster.addresses,
            redis_master=cluster.MASTER,
            redis_wait_replicas="1",
            workers=str(WORKERS),
            log_level="WARNING",
        )
        with Hosts(environ, count=HOSTS) as hosts:
            caller = Caller(hosts.urls)
            caller.log_in()
            soak = Soak(simulator, Blows(simulator, hosts, cluster), caller, chats=chats, console=console)
            console.print(f"{HOSTS} hosts of {WORKERS} workers, {chats} chats, {minutes:g} minutes")
            soak.run(minutes=minutes)
            verdicts = [judge(simulator, load) for load in (soak.steady, soak.turnover)]
            console.print(report(soak, *verdicts))
            for offence in [offence for verdict in verdicts for offence in verdict.offences][:20]:
                console.print(offence)
    sys.exit(0 if all(verdict.clean for verdict in verdicts) and soak.turnover.ends.clean else 1)
