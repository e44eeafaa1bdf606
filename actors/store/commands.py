"""Commands and scripts: how everything that is written to the store gets there, alone or together with others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import redis

from bridge.actors.store.connections import Connections
from bridge.actors.store.pipelining import Pipeline
from bridge.errors import StoreUnavailable


class Script:
    """A Lua script. Redis knows it by the SHA-1 of its source."""

    __slots__ = ("sha", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class EngineScripts(NamedTuple):
    """The Lua that an engine of the inbox adds to the store's scripts, so that both write together or not at all.

    `names` name the engine's keys of a partition. `append` defines `append(keys, user, event, chat)`: it appends an
    event and answers true, or answers false when the engine appends it by itself, after the script.
    `record_position` defines `record_position(keys, position)`: it records which entries a step has taken, and answers
    how many of them were not recorded before.
    """

    names: tuple[str, ...]
    append: str
    record_position: str


class Commands:
    """Runs commands and scripts. Every method raises StoreUnavailable when the store does not answer."""

    def __init__(self, connections: Connections) -> None:
        self.redis = connections.client()
        self._pipeline = Pipeline(self.redis, wait_replicas=connections.wait_replicas)
        self._loaded: set[str] = set()

    def durably(self, script: Script, keys: list[str], args: list[Any]) -> Any:
        """Runs a script together with those of others; answers when the replicas that are promised have it."""
        return self._evalsha(self._pipeline.run, script, keys, args)

    def run(self, script: Script, keys: list[str], args: list[Any]) -> Any:
        """Runs a script at once."""
        return self._evalsha(self.redis.execute_command, script, keys, args)

    def _evalsha(self, execute: Callable[..., Any], script: Script, keys: list[str], args: list[Any]) -> Any:
        def evalsha() -> Any:
            self._load(script)
            try:
                return execute("EVALSHA", script.sha, len(keys), *keys, *args)
            except redis.exceptions.NoScriptError:
                # The server was restarted, or another one took over.
                self._loaded.clear()
                self._load(script)
                return execute("EVALSHA", script.sha, len(keys), *keys, *args)

        return self.call(evalsha)

    def _load(self, script: Script) -> None:
        if script.sha not in self._loaded:
            self.redis.script_load(script.source)
            self._loaded.add(script.sha)

    @staticmethod
    def call(command: Callable[[], Any]) -> Any:
        """What the command gives, with every error of the connection as StoreUnavailable."""
        try:
            return command()
        except (redis.exceptions.RedisError, OSError) as error:
            raise StoreUnavailable(f"the store did not answer: {type(error).__name__}: {error}") from error
