"""How the store is reached: Redis by address, Redis by Sentinel, or the embedded one; never with hidden repeats."""

from __future__ import annotations

from typing import Any

import fakeredis
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from bridge.settings.load import Settings

SOCKET_TIMEOUT_S = 2.0
# redis-py's own limit is 100, and past it these two pools fail at once instead of waiting as the one by address does.
EMBEDDED_CONNECTIONS = 100_000
SENTINEL_CONNECTIONS = 1_000


class Connections:
    """Gives clients of one store. `durability` says in a word what a stop of the store would leave."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._embedded = fakeredis.FakeServer() if is_embedded(settings) else None
        self.durability = "none" if self._embedded else "redis"
        # None: every replica that is connected.
        self.wait_replicas = settings.redis_wait_replicas

    def client(self, *, blocking_s: float = 0.0) -> redis.Redis:
        """A client for short commands, or for reads that block up to `blocking_s`: those need one of their own."""
        # redis-py would repeat a write up to ten times by itself, and an XADD repeated is a message doubled.
        options: dict[str, Any] = {
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": SOCKET_TIMEOUT_S + blocking_s,
            "socket_connect_timeout": SOCKET_TIMEOUT_S,
            "decode_responses": False,
        }
        if self._embedded is not None:
            return fakeredis.FakeStrictRedis(server=self._embedded, max_connections=EMBEDDED_CONNECTIONS)
        if self._settings.redis_address:
            return _by_address(self._settings, options)
        return _by_sentinel(self._settings, options)


def is_embedded(settings: Settings) -> bool:
    """Whether no Redis is set, neither by address nor by Sentinel."""
    return not settings.redis_address and not settings.redis_sentinel_address


def _password(settings: Settings) -> dict[str, str]:
    password = settings.redis_password.get_secret_value()
    return {"password": password} if password else {}


def _by_address(settings: Settings, options: dict[str, Any]) -> redis.Redis:
    address = settings.redis_address
    url = address if "://" in address else f"redis://{address}"
    pool = redis.BlockingConnectionPool.from_url(
        url, max_connections=32, timeout=SOCKET_TIMEOUT_S, **options, **_password(settings)
    )
    return redis.Redis(connection_pool=pool)


def _by_sentinel(settings: Settings, options: dict[str, Any]) -> redis.Redis:
    pairs = [address.rpartition(":") for address in settings.redis_sentinel_address]
    sentinel = Sentinel(
        [(host, int(port)) for host, _, port in pairs],
        sentinel_kwargs={"socket_timeout": SOCKET_TIMEOUT_S, "retry": Retry(NoBackoff(), 0)},
    )
    client: redis.Redis = sentinel.master_for(
        settings.redis_master, max_connections=SENTINEL_CONNECTIONS, **options, **_password(settings)
    )
    return client
