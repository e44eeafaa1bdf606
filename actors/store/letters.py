"""The dead letters of all partitions: what an operator reads and removes."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from bridge.actors.store.commands import Commands
from bridge.keys import Keys
from bridge.records import DeadLetter


class Letters:
    """Reads and removes. A letter's name is its partition and its id. Every method raises StoreUnavailable."""

    def __init__(self, commands: Commands, keys: Keys) -> None:
        self._commands = commands
        self._keys = keys

    def all(self) -> list[tuple[str, DeadLetter]]:
        """Every dead letter with its name, partition by partition, the oldest first."""
        found: list[tuple[str, DeadLetter]] = []
        for partition in range(self._keys.partitions):
            dead = self._keys.of(partition, "dead")
            raw: Any = self._commands.call(partial(self._commands.redis.xrange, dead))
            for name, fields in raw:
                letter = msgspec.json.decode(fields[b"letter"], type=DeadLetter)
                found.append((f"{partition}/{name.decode()}", letter))
        return found

    def remove(self, name: str) -> bool:
        """Removes a letter; whether it was there."""
        partition, _, entry_id = name.partition("/")
        dead = self._keys.of(int(partition), "dead")
        return bool(self._commands.call(lambda: self._commands.redis.xdel(dead, entry_id)))

    def exists(self, name: str) -> bool:
        """Whether the letter is still there."""
        partition, _, entry_id = name.partition("/")
        dead = self._keys.of(int(partition), "dead")
        return bool(self._commands.call(lambda: self._commands.redis.xrange(dead, entry_id, entry_id)))
