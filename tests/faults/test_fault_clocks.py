"""Clocks that differ between hosts, and clocks that jump: of Redis, whose leases follow it, and of a host."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from clocks import Clock
from fault_bench import DESK, Bench, now_ms, require_redis

from bridge.ops.endurance.hosts import Host, Hosts
from bridge.ops.endurance.redis_process import RedisProcess
from bridge.ops.simulator import Simulator
from bridge.ops.simulator.environ import sandbox_environ

pytestmark = [pytest.mark.faults, pytest.mark.redis, pytest.mark.timeout(180)]

RESUMED_S = 40.0


class ClockRedis(RedisProcess):
    """A Redis with a clock of its own."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(durable=True)
        self._clock = clock

    def start(self) -> RedisProcess:
        """Starts it with that clock."""
        before = {name: os.environ.get(name) for name in self._clock.environ}
        os.environ.update(self._clock.environ)
        try:
            return super().start()
        finally:
            for name, text in before.items():
                os.environ.pop(name) if text is None else os.environ.update({name: text})


@contextmanager
def two_hosts(redis: RedisProcess, clock: Clock | None = None) -> Iterator[Bench]:
    """One host with the true time, one with `clock`."""
    with Simulator(**DESK) as simulator:
        environ = sandbox_environ(simulator.url, redis_address=redis.address)
        with Hosts(environ, count=1) as hosts:
            other = Host({**environ, **(clock.environ if clock else {})})
            hosts.all.append(other)
            other.start()
            try:
                other.wait_until_ready()
                bench = Bench(simulator, redis, hosts)
                bench.caller.log_in()
                yield bench
                assert "Traceback" not in hosts.log_text()
                assert bench.overlaps() == 0
            finally:
                other.stop()


@pytest.mark.parametrize("seconds", [10, -10])
def test_hosts_whose_clocks_differ_open_chats_for_each_other(tmp_path: Path, seconds: int) -> None:
    require_redis()
    clock = Clock(tmp_path)
    clock.shift(seconds)
    with RedisProcess(durable=True) as redis, two_hosts(redis, clock) as bench:
        talks = bench.talks(16)
        talks.exchange()
        talks.must_be_whole()
        assert not any(bench.simulator.bot_states(user) for user in talks.users)


def test_a_host_whose_clock_jumps_goes_on(tmp_path: Path) -> None:
    require_redis()
    clock = Clock(tmp_path)
    with RedisProcess(durable=True) as redis, two_hosts(redis, clock) as bench:
        talks = bench.talks(10)
        talks.start(each_s=0.5)
        for seconds in (3600, -3600, 0):
            clock.shift(seconds)
            jumped_ms = now_ms()
            before = {talk.user: len(talk.written) for talk in talks}
            bench.simulator.wait_for(
                lambda before=before: all(len(talk.written) > before[talk.user] + 2 for talk in talks), RESUMED_S
            )
            bench.simulator.wait_for(lambda at=jumped_ms: bench.polled_since(talks, at), RESUMED_S)
        talks.stop()
        talks.must_be_whole()


@pytest.mark.parametrize("seconds", [60, -600])
def test_a_redis_whose_clock_jumps_lets_no_two_workers_own_a_chat(tmp_path: Path, seconds: int) -> None:
    require_redis()
    clock = Clock(tmp_path)
    with ClockRedis(clock) as redis, two_hosts(redis) as bench:
        talks = bench.talks(10)
        talks.start(each_s=0.5)
        clock.shift(seconds)
        jumped_ms = now_ms()
        bench.simulator.wait_for(lambda: bench.polled_since(talks, jumped_ms), RESUMED_S)
        bench.kill_owner(talks.users[0])
        killed_ms = now_ms()
        bench.simulator.wait_for(lambda: bench.polled_since(talks, killed_ms), RESUMED_S)
        talks.stop()
        talks.must_be_whole()
