"""How often something failed lately, counted in the store: one window for all workers."""

from __future__ import annotations

from bridge.actors.store.commands import Commands
from bridge.actors.store.connections import Connections
from bridge.door import Failures
from bridge.keys import Keys


class FailureCounts:
    """Counts failures by name. A counter expires with its window, so that a full one is never dropped before."""

    def __init__(self, connections: Connections, keys: Keys) -> None:
        self._redis = connections.client()
        self._keys = keys

    def add(self, name: str, *, window_s: float) -> Failures:
        """Counts one failure under `name`. Raises StoreUnavailable."""
        key = self._keys.failures(name)
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(key, 0, px=int(window_s * 1000), nx=True)
            pipe.incr(key)
            pipe.pttl(key)
            _, count, left_ms = Commands.call(pipe.execute)
        return Failures(count, left_ms / 1000)
