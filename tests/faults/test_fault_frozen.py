"""What runs no more but is not dead: a worker whose loop is blocked, a whole host that is frozen and comes back."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from fault_bench import DESK, Bench, CommandHost, benches, is_alive, now_ms, require_redis, wait_until

from bridge.ops.endurance.hosts import Hosts
from bridge.ops.endurance.redis_process import RedisProcess
from bridge.ops.endurance.verdict import judge, settle
from bridge.ops.simulator import Simulator
from bridge.ops.simulator.environ import sandbox_environ

pytestmark = [pytest.mark.faults, pytest.mark.redis, pytest.mark.timeout(180)]

BLOCKING = str(Path(__file__).with_name("blocking_conf.py"))
# Gunicorn's timeout, and some seconds in which it looks.
KILLED_S = 20.0
FROZEN_S = 20.0
RESUMED_S = 40.0


# --- a blocked loop ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def blockable() -> Iterator[Bench]:
    """One host of two workers that a signal can block."""
    require_redis()
    with RedisProcess(durable=True) as redis, Simulator(**DESK) as simulator, Hosts({}, count=0) as hosts:
        environ = sandbox_environ(simulator.url, redis_address=redis.address, workers="2")
        host = CommandHost(environ, options=("-c", BLOCKING))
        hosts.all.append(host)
        host.start()
        try:
            host.wait_until_ready()
            bench = Bench(simulator, redis, hosts)
            bench.caller.log_in()
            yield bench
            assert bench.overlaps() == 0
        finally:
            host.stop()


@pytest.mark.parametrize("how", [signal.SIGUSR2, signal.SIGURG], ids=["in C", "in Python"])
def test_a_worker_whose_loop_is_blocked_is_killed_and_its_chats_go_on(blockable: Bench, how: signal.Signals) -> None:
    talks = blockable.talks(10)
    talks.start(each_s=0.5)
    pid = blockable.owner_of(talks.users[0])
    blocked_ms = now_ms()
    os.kill(pid, how)
    wait_until(lambda: not is_alive(pid), "the blocked worker is still there", timeout_s=KILLED_S)
    blockable.simulator.wait_for(lambda: blockable.polled_since(talks, blocked_ms), RESUMED_S)
    talks.stop()
    talks.must_be_whole()


# --- a frozen host ----------------------------------------------------------------------------------------------------


def test_a_frozen_host_loses_its_chats_to_the_others_and_changes_nothing_when_it_comes_back() -> None:
    # Its sockets stay open meanwhile: the desk sees two polls of a session, and here it tolerates that.
    with benches(hosts=2, workers=1, simulator={"second_poll": "tolerate"}) as bench:
        talks = bench.talks(10)
        talks.exchange()
        frozen = bench.hosts.all[0]
        pids = frozen.freeze()
        frozen_ms = now_ms()
        try:
            gevent.sleep(FROZEN_S)
            bench.simulator.wait_for(lambda: bench.polled_since(talks, frozen_ms), RESUMED_S)
        finally:
            frozen.thaw(pids)
        talks.exchange(rounds=3)
        settle(bench.simulator, talks, timeout_s=RESUMED_S)
        verdict = judge(bench.simulator, talks)
        assert (verdict.lost, verdict.twice, verdict.out_of_order) == (0, 0, 0), f"{verdict}"
        assert {bench.simulator.chat(user).status for user in talks.users} == {"active"}
        assert "Traceback" not in bench.hosts.log_text()
