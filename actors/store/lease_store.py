"""Who owns a partition, and which workers live: the store's part of leases and heartbeats."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import msgspec

from bridge.actors.leases import Lease
from bridge.actors.store.clock import StoreClock
from bridge.actors.store.commands import Commands, Script
from bridge.keys import Keys


class Claim(msgspec.Struct, frozen=True):
    """A partition that was taken: its lease's value, and whether its last owner is known to have let go of it."""

    value: str
    released: bool
    steps: int = 0


def script_source(name: str) -> str:
    """The Lua of a script."""
    return files("bridge.actors.store").joinpath("scripts", f"{name}.lua").read_text()


SCRIPTS = {name: Script(script_source(name)) for name in ("claim", "renew", "release", "beat")}


class LeaseStore:
    """Leases and heartbeats of one tenant. Every method raises StoreUnavailable when the store does not answer."""

    def __init__(self, commands: Commands, keys: Keys) -> None:
        self.keys = keys
        self._commands = commands
        self._redis = commands.redis
        self.clock = StoreClock()

    def claim(self, partition: int, worker: str, *, ttl_ms: int) -> Claim | None:
        """Takes a free partition; None when somebody holds it."""
        keys = [self.keys.of(partition, name) for name in ("lease", "epoch", "released", "steps")]
        taken: list[Any] | None = self._run(SCRIPTS["claim"], keys, [worker, ttl_ms])
        return Claim(taken[0].decode(), bool(taken[1]), taken[2]) if taken else None

    def renew(self, lease: Lease, *, ttl_ms: int) -> bool:
        """Keeps a lease; False when it is not ours any more, or when the store went back (`lease.is_stale`)."""
        keys = [self.keys.of(lease.partition, name) for name in ("lease", "steps")]
        kept: int = self._run(SCRIPTS["renew"], keys, [lease.value, ttl_ms, lease.steps])
        if kept < 0:
            lease.give_up(stale=True)
        return kept > 0

    def release(self, lease: Lease) -> None:
        """Gives a lease up."""
        keys = [self.keys.of(lease.partition, name) for name in ("lease", "released")]
        self._run(SCRIPTS["release"], keys, [lease.value])

    def living(self, worker: str, *, ttl_ms: int) -> list[str]:
        """Says that this worker lives, and which do. The clock is set by the answer."""
        asked_ms = self.clock.local_ms()
        now_ms, names = self._run(SCRIPTS["beat"], [self.keys.workers], [worker, ttl_ms])
        self.clock.note(now_ms, asked_ms=asked_ms)
        return sorted(name.decode() for name in names)

    def remove_worker(self, worker: str) -> None:
        """Says that a worker lives no more."""
        self._call(lambda: self._redis.zrem(self.keys.workers, worker))

    def release_all(self, theirs: Callable[[str], bool]) -> int:
        """Gives up every lease of the workers that are meant, and strikes them off; how many leases there were."""
        partitions = range(self.keys.partitions)
        with self._redis.pipeline(transaction=False) as pipe:
            for partition in partitions:
                pipe.get(self.keys.of(partition, "lease"))
            values: list[bytes | None] = self._call(pipe.execute)
        held = [Lease(p, v.decode(), deadline_s=0.0) for p, v in zip(partitions, values, strict=True) if v]
        meant = [lease for lease in held if theirs(lease.value.rpartition(":")[0])]
        for lease in meant:
            self.release(lease)
        for worker in self._call(lambda: self._redis.zrange(self.keys.workers, 0, -1)):
            if theirs(worker.decode()):
                self.remove_worker(worker.decode())
        return len(meant)

    def _run(self, script: Script, keys: list[str], args: list[Any]) -> Any:
        return self._commands.run(script, keys, args)

    def _call(self, command: Callable[[], Any]) -> Any:
        return self._commands.call(command)
