"""Writes of many at once: each stands for itself, and leaves with those that came meanwhile."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import gevent
import pytest
import redis
from actor_parts import Place, Proxy, RedisServer, require_redis, wait_for

from bridge.actors.store.pipelining import LARGE_BYTES, MOST, Pipeline, connected_replicas
from bridge.errors import StoreUnavailable


@pytest.fixture
def batches(place: Place) -> Pipeline:
    return Pipeline(place.raw, wait_replicas=0)


def at_once(batches: Pipeline, *commands: tuple[Any, ...]) -> list[Any]:
    """Each one's answer, or its error."""

    def one(command: tuple[Any, ...]) -> Any:
        try:
            return batches.run(*command)
        except Exception as error:
            return error

    asked = [gevent.spawn(one, command) for command in commands]
    gevent.joinall(asked)
    return [greenlet.value for greenlet in asked]


def test_each_gets_its_own_answer(batches: Pipeline, place: Place) -> None:
    answers = at_once(batches, *(("ECHO", str(number)) for number in range(3 * MOST)))
    assert answers == [str(number).encode() for number in range(3 * MOST)]


def test_one_that_is_refused_harms_no_other(batches: Pipeline, place: Place) -> None:
    key = place.keys.of(0, "batches")
    ok, refused, count = at_once(batches, ("SET", key, "word"), ("INCR", key), ("STRLEN", key))
    assert isinstance(refused, redis.exceptions.ResponseError)
    assert (bool(ok), count) == (True, 4)


class Counting(redis.Redis):
    """Counts how often something is sent."""

    sent = 0

    def pipeline(self, *args: Any, **kwargs: Any) -> Any:
        self.sent += 1
        return super().pipeline(*args, **kwargs)


@pytest.mark.redis
def test_what_is_wanted_at_once_leaves_as_one(redis_server: RedisServer) -> None:
    client = Counting(port=redis_server.port)
    at_once(Pipeline(client, wait_replicas=0), *(("ECHO", str(number)) for number in range(MOST)))
    assert client.sent == 1


@pytest.mark.redis
def test_a_large_command_goes_alone(redis_server: RedisServer) -> None:
    client = Counting(port=redis_server.port)
    small = [("ECHO", str(number)) for number in range(10)]
    at_once(Pipeline(client, wait_replicas=0), *small, ("ECHO", "x" * (LARGE_BYTES + 1)), *small)
    assert client.sent == 2


@pytest.mark.redis
def test_a_line_that_breaks_fails_all_who_wait_and_the_next_go_through(redis_server: RedisServer) -> None:
    proxy = Proxy(redis_server.port)
    batches = Pipeline(redis.Redis(port=proxy.port, socket_timeout=0.3), wait_replicas=0)
    batches.run("PING")
    proxy.silent = True
    answers = at_once(batches, *(("ECHO", str(number)) for number in range(2 * MOST)))
    assert all(isinstance(answer, StoreUnavailable) for answer in answers)
    proxy.silent = False
    proxy.cut()
    wait_for(lambda: at_once(batches, ("ECHO", "again")) == [b"again"])
    proxy.close()


@pytest.mark.redis
def test_without_the_replicas_that_are_promised_nobody_is_told_that_it_is_written(redis_server: RedisServer) -> None:
    batches = Pipeline(redis.Redis(port=redis_server.port), wait_replicas=1)
    answers = at_once(batches, ("SET", "a", "1"), ("SET", "b", "2"))
    assert [str(answer) for answer in answers] == ["only 0 of 1 replicas confirmed"] * 2


@pytest.mark.redis
def test_every_replica_that_is_connected_has_to_confirm_because_any_may_be_promoted(tmp_path: Path) -> None:
    require_redis()
    for name in ("primary", "first", "second"):
        (tmp_path / name).mkdir()
    primary = RedisServer(tmp_path / "primary")
    batches = Pipeline(redis.Redis(port=primary.port), wait_replicas=None)
    assert str(at_once(batches, ("SET", "a", "1"))[0]) == "only 0 of 1 replicas confirmed"
    of = ("--replicaof", "127.0.0.1", str(primary.port))
    replicas = [RedisServer(tmp_path / name, *of) for name in ("first", "second")]
    try:
        wait_for(lambda: connected_replicas(primary.client().info("replication")) == 2, 20)
        wait_for(lambda: at_once(batches, ("SET", "a", "1")) == [True])
        os.kill(replicas[1].process.pid, signal.SIGSTOP)
        assert str(at_once(batches, ("SET", "a", "2"))[0]) == "only 1 of 2 replicas confirmed"
        os.kill(replicas[1].process.pid, signal.SIGCONT)
        wait_for(lambda: at_once(batches, ("SET", "a", "3")) == [True])
        replicas[1].stop()
        wait_for(lambda: at_once(batches, ("SET", "a", "4")) == [True])
    finally:
        for server in (*replicas, primary):
            server.stop()


def test_a_replica_that_confirmed_nothing_for_long_is_not_waited_for() -> None:
    info = {"role": "master", "connected_slaves": 3, "slave_expires_fullscan": 0}
    replicas = {"slave0": _replica(lag=0), "slave1": _replica(lag=60), "slave2": _replica(lag=0, state="wait_bgsave")}
    assert connected_replicas(info | replicas) == 1


def _replica(*, lag: int, state: str = "online") -> dict[str, Any]:
    return {"ip": "127.0.0.1", "port": 6379, "state": state, "offset": 1, "lag": lag}
