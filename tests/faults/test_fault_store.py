"""A Redis that dies, is full, loses answers, fails over, or is cut off from one host."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import gevent
import pytest
from fault_bench import (
    DESK,
    Bench,
    CommandHost,
    Talks,
    now_ms,
    require_redis,
    wait_until,
)

from bridge.ops.endurance.hosts import Hosts
from bridge.ops.endurance.load import Caller
from bridge.ops.endurance.redis_process import RedisProcess, SentinelCluster
from bridge.ops.endurance.tcp_proxy import TcpProxy
from bridge.ops.service_process import free_port
from bridge.ops.simulator import Simulator
from bridge.ops.simulator.environ import sandbox_environ
from bridge.settings.load import variable_name

pytestmark = [pytest.mark.faults, pytest.mark.redis]

DOWN_S = 3.0
CUT_S = 12.0
# Commands wait; a lease lives for 10 s and is renewed every 2 s.
PAUSE_MS = 4000
BEHIND_S = 2.0
RESUMED_S = 30.0
FAILOVER_S = 15.0


# --- one Redis --------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(90)
def test_a_redis_that_is_killed_and_comes_back_loses_nothing(bench: Bench) -> None:
    talks = bench.talks(20)
    talks.start(each_s=0.5)
    bench.redis.kill()
    try:
        refused = bench.post("5215599999901", "while-it-is-down", "¿hay alguien?")
        gevent.sleep(DOWN_S)
    finally:
        bench.redis.start()
    back_ms = now_ms()
    assert refused.status_code == 503
    assert refused.headers["Retry-After"].isdecimal()
    bench.simulator.wait_for(lambda: bench.polled_since(talks, back_ms), RESUMED_S)
    talks.stop()
    talks.must_be_whole()


@pytest.mark.timeout(90)
def test_a_full_redis_refuses_webhooks_and_recovers_with_nothing_half_written(bench: Bench) -> None:
    talks = bench.talks(20)
    talks.start(each_s=0.5)
    redis = bench.redis.client
    redis.config_set("maxmemory", 1)
    try:
        refused = bench.post("5215599999902", "while-it-is-full", "¿hay sitio?")
        gevent.sleep(DOWN_S)
    finally:
        redis.config_set("maxmemory", 0)
    room_ms = now_ms()
    assert refused.status_code == 503
    assert not redis.keys("*5215599999902*")
    bench.simulator.wait_for(lambda: bench.polled_since(talks, room_ms), RESUMED_S)
    talks.stop()
    talks.must_be_whole()
    assert bench.post("5215599999902", "while-it-is-full", "¿hay sitio?").status_code == 200
    assert redis.keys("*5215599999902*")


@pytest.mark.timeout(90)
def test_a_redis_that_pauses_for_less_than_a_lease_moves_no_chat(bench: Bench) -> None:
    talks = bench.talks(20)
    owners = [bench.owner_of(user) for user in talks.users]
    talks.start(each_s=0.5)
    bench.redis.client.client_pause(PAUSE_MS)
    gevent.sleep(PAUSE_MS / 1000)
    for _ in range(10):
        bench.redis.client.client_pause(300)
        gevent.sleep(0.5)
    talks.stop()
    talks.must_be_whole()
    assert [bench.owner_of(user) for user in talks.users] == owners


# --- answers that are lost --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proxied() -> Iterator[tuple[Bench, TcpProxy]]:
    """One host whose Redis is behind a proxy."""
    require_redis()
    with RedisProcess(durable=True) as redis, TcpProxy(redis.port) as proxy, Simulator(**DESK) as simulator:
        environ = sandbox_environ(simulator.url, redis_address=proxy.address)
        with Hosts(environ, count=1) as hosts:
            bench = Bench(simulator, redis, hosts)
            bench.caller.log_in()
            yield bench, proxy


@pytest.mark.timeout(60)
def test_a_webhook_whose_write_was_not_confirmed_is_stored_once(proxied: tuple[Bench, TcpProxy]) -> None:
    bench, proxy = proxied
    talks = bench.talks()
    [talk] = talks
    text = talks.next_text(talk)
    lost = proxy.lose(b"EVALSHA", text.encode())
    talks.write(talk)
    bench.simulator.wait_for(lambda: text in bench.simulator.agent_texts(talk.user))
    talks.exchange()
    talks.must_be_whole()
    assert lost.hits == 1


@pytest.mark.timeout(60)
def test_context_whose_write_was_not_confirmed_is_one_entry(proxied: tuple[Bench, TcpProxy]) -> None:
    bench, proxy = proxied
    user = "5215599999903"
    lost = proxy.lose(b"EVALSHA", user.encode())
    assert bench.post(user, "once", "una sola vez").status_code == 200
    [key] = bench.redis.client.keys(f"*context:{user}")
    assert (lost.hits, bench.redis.client.zcard(key)) == (1, 1)


@pytest.mark.timeout(60)
def test_scripts_whose_answers_are_lost_again_and_again_take_effect_once(proxied: tuple[Bench, TcpProxy]) -> None:
    bench, proxy = proxied
    talks = bench.talks(10)
    losses = [proxy.lose(b"EVALSHA", skip=skip) for skip in (10, 17, 29, 31, 43, 47)]
    talks.start(each_s=0.3)
    wait_until(lambda: all(loss.hits for loss in losses), "not every answer was lost", timeout_s=20)
    talks.stop()
    talks.must_be_whole()


# --- Sentinels --------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_fail_overs_lose_nothing_that_was_acknowledged() -> None:
    require_redis()
    # Of two replicas either may be promoted: by default both have to confirm.
    with SentinelCluster(replicas=2) as cluster, Simulator(**DESK) as simulator:
        sentinels = {"redis_sentinel_address": cluster.addresses, "redis_master": cluster.MASTER}
        environ = sandbox_environ(simulator.url, **sentinels)
        with Hosts(environ, count=2) as hosts:
            caller = Caller(hosts.urls)
            caller.log_in()
            talks = Talks(simulator, caller, chats=20)
            talks.open()
            talks.start(each_s=0.5)
            _fail_over(cluster, frozen=False)
            _must_talk(talks)
            _fail_over(cluster, frozen=True)
            _must_talk(talks)
            talks.stop()
            talks.must_be_whole()
            assert "Traceback" not in hosts.log_text()


@pytest.mark.timeout(120)
def test_a_replica_that_is_behind_when_it_is_promoted_has_all_that_was_acknowledged() -> None:
    require_redis()
    with SentinelCluster(replicas=1) as cluster, Simulator(**DESK) as simulator:
        sentinels = {"redis_sentinel_address": cluster.addresses, "redis_master": cluster.MASTER}
        with Hosts(sandbox_environ(simulator.url, **sentinels), count=2) as hosts:
            caller = Caller(hosts.urls)
            caller.log_in()
            talks = Talks(simulator, caller, chats=20)
            talks.open()
            talks.start(each_s=0.5)
            [replica] = cluster.replicas
            replica.freeze()
            gevent.sleep(BEHIND_S)
            refused = Bench(simulator, cluster.primary, hosts).post("5215599999905", "behind", "¿me guardas?")
            cluster.primary.kill()
            replica.thaw()
            cluster.wait_for_failover(cluster.primary.port)
            cluster.primary.start()
            cluster.wait_until_whole()
            assert refused.status_code == 503
            _must_talk(talks)
            talks.stop()
            talks.must_be_whole()
            assert "Traceback" not in hosts.log_text()


def _fail_over(cluster: SentinelCluster, *, frozen: bool) -> None:
    """The primary dies, or freezes and comes back when another has taken its place."""
    primary = cluster.server_at(cluster.primary_port())
    if frozen:
        primary.freeze()
    else:
        primary.kill()
    took_s = cluster.wait_for_failover(primary.port)
    if frozen:
        primary.thaw()
    else:
        primary.start()
    cluster.wait_until_whole()
    assert took_s < FAILOVER_S


def _must_talk(talks: Talks) -> None:
    """Every webhook is answered 200 again."""
    before = {talk.user: len(talk.written) for talk in talks}
    wait_until(
        lambda: all(len(talk.written) > before[talk.user] + 1 for talk in talks),
        "not every user is heard again",
        timeout_s=RESUMED_S,
    )


# --- a host that is cut off -------------------------------------------------------------------------------------------


class Link:
    """A cable of our own into a namespace of our own: our end, and the far one."""

    def __init__(self, namespace: str, name: str, net: str) -> None:
        self.here, self.there = f"{net}.1", f"{net}.2"
        self._name = name
        _ip("link", "add", name, "type", "veth", "peer", "name", f"{name}x", "netns", namespace)
        _ip("addr", "add", f"{self.here}/24", "dev", name)
        _ip("-n", namespace, "addr", "add", f"{self.there}/24", "dev", f"{name}x")
        _ip("link", "set", name, "up")
        _ip("-n", namespace, "link", "set", f"{name}x", "up")

    def pull(self) -> None:
        """Nothing passes any more."""
        _ip("link", "set", self._name, "down")

    def plug(self) -> None:
        """It passes again."""
        _ip("link", "set", self._name, "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=10)


@contextmanager
def namespace() -> Iterator[str]:
    """A network of its own; it goes, with all cables into it, whatever happens."""
    name = f"bridge-{os.getpid()}"
    try:
        _ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"there is no making a network namespace here: {error}")
    try:
        _ip("-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        _ip("netns", "del", name)


@pytest.mark.timeout(120)
@pytest.mark.skipif(os.getuid() != 0, reason="only root may cut a network in two")
def test_a_host_that_is_cut_off_from_redis_lets_go_in_time_and_comes_back() -> None:
    require_redis()
    with namespace() as name:
        number = os.getpid() % 200
        to_redis = Link(name, f"bra{os.getpid()}", f"10.213.{number}")
        to_all = Link(name, f"brb{os.getpid()}", f"10.214.{number}")
        port = free_port()
        open_to_us = ("bind 127.0.0.1 " + to_redis.here, "protected-mode no")
        with (
            RedisProcess(*open_to_us, port=port, durable=True) as redis,
            Simulator(to_all.here, **DESK) as simulator,
        ):
            environ = sandbox_environ(simulator.url, redis_address=f"{to_redis.here}:{port}")
            far_host = CommandHost(
                environ | {variable_name("host"): to_all.there}, prefix=("ip", "netns", "exec", name)
            )
            far_host.url = f"http://{to_all.there}:{far_host.port}"
            with Hosts(environ, count=1) as hosts:
                hosts.all.append(far_host)
                far_host.start()
                try:
                    far_host.wait_until_ready()
                    _cut_off(Bench(simulator, redis, hosts), to_redis, far_host)
                finally:
                    far_host.stop()


def _cut_off(bench: Bench, link: Link, far_host: CommandHost) -> None:
    bench.caller.log_in()
    talks = bench.talks(20)
    far_pids, here_pids = far_host.worker_pids, bench.hosts.all[0].worker_pids
    wait_until(lambda: {bench.owner_of(user) for user in talks.users} == {*far_pids, *here_pids}, "one owns all")
    far = [talk for talk in talks if bench.owner_of(talk.user) in far_pids]
    talks.start(each_s=0.5)
    link.pull()
    cut_ms = now_ms()
    try:
        refused = bench.post("5215599999904", "while-cut-off", "¿se oye?", url=far_host.url)
        gevent.sleep(CUT_S)
        assert {bench.owner_of(talk.user) for talk in far} == set(here_pids)
    finally:
        link.plug()
    bench.simulator.wait_for(lambda: bench.polled_since(talks, cut_ms), RESUMED_S)
    assert refused.status_code == 503
    wait_until(lambda: {bench.owner_of(talk.user) for talk in far} == set(far_pids), "not taken back", timeout_s=20)
    talks.stop()
    talks.must_be_whole()
    assert "Traceback" not in bench.hosts.log_text()
