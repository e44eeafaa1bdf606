"""Fixtures of the actors' tests: each store test runs on the embedded store and on a redis-server of our own."""

from __future__ import annotations

from collections.abc import Iterator

import pykka
import pytest
from actor_parts import Place, RedisServer, require_redis

from bridge.actors.inbox import replies
from bridge.actors.inbox.redis import RedisInbox
from bridge.actors.store.store import Store
from bridge.ops.simulator import Simulator


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    require_redis()
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(params=["embedded", pytest.param("redis", marks=pytest.mark.redis)])
def place(request: pytest.FixtureRequest) -> Place:
    """A store of each engine."""
    if request.param == "embedded":
        return Place()
    server: RedisServer = request.getfixturevalue("redis_server")
    return Place(server.address)


@pytest.fixture
def store(place: Place) -> Store:
    return place.store()


@pytest.fixture
def engine(place: Place) -> RedisInbox:
    return place.engine()


@pytest.fixture
def embedded() -> Place:
    """The embedded store, where the engine does not matter."""
    return Place()


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(hold_s=2) as simulator:
        yield simulator


@pytest.fixture(autouse=True)
def _short_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    # A stop waits for the read under way; what is read, and when, is not changed by it.
    monkeypatch.setattr(replies, "BLOCK_MS", 50)


@pytest.fixture(autouse=True)
def _no_actor_outlives_its_test() -> Iterator[None]:
    yield
    stopping = [ref.stop(block=False) for ref in pykka.ActorRegistry.get_all()]
    for stopped in stopping:
        stopped.get(timeout=5)
