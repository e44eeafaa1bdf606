"""Who workers are, and clearing up behind those that died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from actor_parts import Place, RedisServer, make_settings, take, wait_for

from bridge.actors.inbox.dead_workers import free_leases_of, free_leases_of_the_dead, worker_name
from bridge.actors.store.store import Store
from bridge.settings.load import Settings

NAME = "from bridge.actors.inbox.dead_workers import worker_name; print(worker_name(), flush=True); input()"


class Neighbour:
    """Another process of this host, with a worker's name."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", NAME]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.name = self.process.stdout.readline().strip()

    def kill(self) -> None:
        """Kills it; until somebody asks, nobody has noticed."""
        os.kill(self.process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def neighbour() -> Iterator[Neighbour]:
    neighbour = Neighbour()
    yield neighbour
    neighbour.end()


@pytest.fixture
def there(redis_server: RedisServer) -> tuple[Settings, Store]:
    place = Place(redis_server.address)
    settings = make_settings(redis_address=redis_server.address, client=place.client, partitions="8")
    return settings, place.store()


There = tuple[Settings, Store]


def free(store: Store) -> set[int]:
    """The partitions that somebody could take."""
    claims = {p: store.claim(p, "probe", ttl_ms=1) for p in range(store.keys.partitions)}
    return {partition for partition, claim in claims.items() if claim is not None}


def test_a_worker_has_a_name_that_no_other_has_or_had() -> None:
    assert worker_name() != worker_name()
    assert f"/{os.getpid()}/" in worker_name()
    assert ":" not in worker_name().rpartition("/")[2], "a lease's value ends with a colon and the epoch"


@pytest.mark.redis
def test_what_a_dead_worker_held_is_free_and_nobody_elses_is(there: There, neighbour: Neighbour) -> None:
    settings, store = there
    take(store, 1, neighbour.name)
    take(store, 2, worker_name())
    take(store, 3, neighbour.name.replace(f"/{neighbour.process.pid}/", f"/{neighbour.process.pid}1/"))
    store.living(neighbour.name, ttl_ms=60_000)
    free_leases_of(settings, neighbour.process.pid)
    assert free(store) == {0, 1, 4, 5, 6, 7}
    assert store.living("probe", ttl_ms=60_000) == ["probe"]


@pytest.mark.redis
def test_a_start_frees_what_the_dead_of_this_host_held_and_nothing_of_the_living(there: There) -> None:
    settings, store = there
    dead, alive = Neighbour(), Neighbour()
    try:
        for partition, name in ((1, dead.name), (2, alive.name), (3, "elsewhere.1/99999999/abc"), (4, "odd")):
            take(store, partition, name)
        dead.kill()
        free_leases_of_the_dead(settings)
        assert free(store) == {0, 1, 5, 6, 7}, "a process that nobody has buried yet is as dead"
        alive.end()
        free_leases_of_the_dead(settings)
        wait_for(lambda: 2 in free(store))
    finally:
        dead.end()
        alive.end()


def test_on_the_embedded_store_no_lease_is_freed_and_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    free_leases_of(make_settings(), 1)
    free_leases_of_the_dead(make_settings())
    assert caplog.records == []


def test_without_redis_it_is_logged_that_the_leases_expire_by_themselves(caplog: pytest.LogCaptureFixture) -> None:
    settings = make_settings(redis_address="127.0.0.1:1")
    free_leases_of(settings, 1)
    free_leases_of_the_dead(settings)
    warnings = [record.getMessage() for record in caplog.records if record.name == "bridge.workers"]
    assert [line.split(";")[0] for line in warnings] == ["worker 1 is gone", "starting"]
