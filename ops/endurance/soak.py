"""The soak: chats talk for minutes while processes are killed and frozen; one table shows the result."""

from __future__ import annotations

import random
import sys
import time

import gevent
import typer
from rich.console import Console
from rich.table import Table

from bridge.ops.endurance.gaps import Blow, longest_silence_s, percentile, takeovers_s
from bridge.ops.endurance.hosts import Host, Hosts
from bridge.ops.endurance.load import Caller, Load
from bridge.ops.endurance.redis_process import RedisProcess
from bridge.ops.endurance.verdict import Verdict, judge, settle
from bridge.ops.simulator import Simulator
from bridge.ops.simulator.environ import sandbox_environ

HOSTS = 2
WORKERS = 2
BETWEEN_KILLS_S = 5.0
HOST_EVERY = 8
HOST_DOWN_S = 16.0
MESSAGES_A_SECOND = 80.0
LEDGER_LIMIT = 10_000_000


class Soak:
    """Two hosts of two workers on one Redis. Every few seconds one worker dies, every eighth time a host."""

    def __init__(self, simulator: Simulator, hosts: Hosts, load: Load, *, console: Console) -> None:
        self._simulator = simulator
        self._hosts = hosts
        self._load = load
        self._console = console
        self.blows: list[Blow] = []

    def run(self, *, minutes: float) -> Verdict:
        """Talks and kills for so long, then waits until all has arrived."""
        self._load.open()
        self._load.start(each_s=2 * len(self._load.talks) / MESSAGES_A_SECOND)
        end_s = time.monotonic() + minutes * 60
        while time.monotonic() < end_s:
            gevent.sleep(BETWEEN_KILLS_S)
            self._remove()
        gevent.sleep(BETWEEN_KILLS_S)
        self._load.stop()
        self._console.print("waiting until everything has arrived…")
        settle(self._simulator, self._load)
        return judge(self._simulator, self._load)

    def _remove(self) -> None:
        host = random.choice(self._hosts.all)
        if (len(self.blows) + 1) % HOST_EVERY:
            self._note("worker")
            host.kill_worker(random.randrange(WORKERS))
        else:
            self._note("host")
            self._lose(host)
        self._console.print(f"{len(self.blows):3} kills, {self._load.messages:6} messages, last: {self.blows[-1].kind}")

    def _lose(self, host: Host) -> None:
        host.lose()
        gevent.sleep(HOST_DOWN_S)
        host.start()
        host.wait_until_ready()

    def _note(self, kind: str) -> None:
        self.blows.append(Blow(int(time.time() * 1000), kind))


def report(simulator: Simulator, soak: Soak, verdict: Verdict) -> Table:
    """What the soak found, one line a thing."""
    table = Table(title="Soak", show_header=False)
    rows: list[tuple[str, object]] = [
        ("messages", verdict.messages),
        ("kills of workers", sum(blow.kind == "worker" for blow in soak.blows)),
        ("losses of whole hosts", sum(blow.kind == "host" for blow in soak.blows)),
        ("lost", verdict.lost),
        ("twice", verdict.twice),
        ("out of order", verdict.out_of_order),
        ("overlapping polls", verdict.overlapping_polls),
        ("repeated under the same id (dropped by the channel)", verdict.repeated),
        ("longest time without a poll, s", f"{longest_silence_s(simulator):.2f}"),
    ]
    for kind in ("worker", "host"):
        times = takeovers_s(simulator, soak.blows, kind)
        rows.append((f"takeover after loss of a {kind}, p50 / p99 / max, s", _spread(times)))
    for name, value in rows:
        table.add_row(name, str(value))
    return table


def _spread(times: list[float]) -> str:
    shown = (percentile(times, 0.5), percentile(times, 0.99), times[-1] if times else 0.0)
    return " / ".join(f"{value:.2f}" for value in shown) + f"  ({len(times)} chats)"


def main(minutes: float = 2.0, chats: int = 60) -> None:
    """Runs the soak; ends with 1 if anything was lost, came twice or out of order, or if polls overlapped."""
    console = Console()
    with RedisProcess(durable=True) as redis, Simulator(auto_accept=True, ledger_limit=LEDGER_LIMIT) as simulator:
        environ = sandbox_environ(
            simulator.url,
            redis_address=redis.address,
            workers=str(WORKERS),
            integration_chan_rate_limit="1000",
            saleforce_chan_rate_limit="1000",
            log_level="WARNING",
        )
        with Hosts(environ, count=HOSTS) as hosts:
            caller = Caller(hosts.urls)
            caller.log_in()
            soak = Soak(simulator, hosts, Load(simulator, caller, chats=chats), console=console)
            console.print(f"{HOSTS} hosts of {WORKERS} workers, {chats} chats, {minutes:g} minutes")
            verdict = soak.run(minutes=minutes)
            console.print(report(simulator, soak, verdict))
            for offence in verdict.offences[:20]:
                console.print(offence)
    sys.exit(0 if verdict.clean else 1)


if __name__ == "__main__":
    typer.run(main)
