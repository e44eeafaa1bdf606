"""Stops, reloads and recycled workers under load: chats move on, nobody waits for them to end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fault_bench import Bench, CommandHost, Talks, is_alive, now_ms, wait_until

from bridge.ops.endurance.hosts import Host

pytestmark = [pytest.mark.faults, pytest.mark.redis, pytest.mark.timeout(90)]

CHATS = 40
EXIT_S = 10.0
RESUMED_S = 15.0
REQUESTS_A_WORKER = 30


@contextmanager
def under_load(bench: Bench) -> Iterator[Talks]:
    """Chats that talk all the while; afterwards they go on, and nothing was lost, doubled or swapped."""
    talks = bench.talks(CHATS)
    talks.start(each_s=0.8)
    yield talks
    after_ms = now_ms()
    bench.simulator.wait_for(lambda: bench.polled_since(talks, after_ms), RESUMED_S)
    talks.stop()
    talks.must_be_whole()


def _longest_pause_s(bench: Bench, talks: Talks, since_ms: int) -> float:
    """The longest that one of these chats went without a poll since then."""
    pauses = [0]
    for user in talks.users:
        session = bench.simulator.chat(user).id
        began = [entry.at_ms for entry in bench.simulator.entries("poll_began", session)]
        ended = [entry.at_ms for entry in bench.simulator.entries("poll_ended", session)]
        pauses += [start - end for end, start in zip(ended, began[1:], strict=False) if end > since_ms]
    return max(pauses) / 1000


def test_a_host_that_is_stopped_leaves_in_time_and_its_chats_go_on_elsewhere(bench: Bench) -> None:
    host = bench.hosts.all[0]
    with under_load(bench) as talks:
        pids = host.worker_pids
        stopped_ms, stopped_s = now_ms(), time.monotonic()
        assert host.stop(signal.SIGTERM) == 0
        assert time.monotonic() - stopped_s <= EXIT_S
        assert not [pid for pid in pids if is_alive(pid)]
    assert _longest_pause_s(bench, talks, stopped_ms) <= EXIT_S


def test_workers_that_are_told_to_leave_do_so_in_time_and_are_replaced(bench: Bench) -> None:
    host = bench.hosts.all[0]
    with under_load(bench):
        pids = host.worker_pids
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not any(is_alive(pid) for pid in pids), "a worker stayed", timeout_s=EXIT_S)
        host.wait_until_ready()
        assert not set(host.worker_pids) & set(pids)


def test_a_reload_replaces_every_worker_in_time(bench: Bench) -> None:
    host = bench.hosts.all[0]
    with under_load(bench):
        pids, master = host.worker_pids, host.pid
        os.kill(master, signal.SIGHUP)
        wait_until(lambda: not any(is_alive(pid) for pid in pids), "an old worker stayed", timeout_s=EXIT_S + 5)
        # The old workers may be gone before the second new one is forked.
        wait_until(lambda: len(host.worker_pids) == 2, "there were not two new workers", timeout_s=EXIT_S + 5)
        host.wait_until_ready()
        assert host.pid == master


def test_workers_that_end_after_so_many_requests_hand_over(bench: Bench) -> None:
    with _recycling_host(bench) as host, under_load(bench):
        pids = set(host.worker_pids)
        wait_until(lambda: not pids & set(host.worker_pids), "no worker was replaced", timeout_s=30)


@contextmanager
def _recycling_host(bench: Bench) -> Iterator[Host]:
    """A third host, whose workers end after some requests."""
    environ = dict(bench.hosts.all[0].environ)
    host = CommandHost(environ, options=("--max-requests", str(REQUESTS_A_WORKER), "--max-requests-jitter", "10"))
    host.start()
    bench.hosts.all.append(host)
    bench.caller.urls.append(host.url)
    try:
        host.wait_until_ready()
        yield host
    finally:
        bench.caller.urls.remove(host.url)
        bench.hosts.all.remove(host)
        assert host.stop() == 0
