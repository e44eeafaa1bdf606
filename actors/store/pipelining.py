"""Pipelining: the commands that greenlets run while a batch is under way leave together, as the next batch."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import gevent
import gevent.event
import redis

from bridge.errors import StoreUnavailable

log = logging.getLogger("bridge.batches")

MOST = 128
# A command with more bytes goes alone, so that the others do not wait for it.
LARGE_BYTES = 256 * 1024
WAIT_MS = 500
# A replica that confirmed nothing for so long is not waited for: a frozen one would stop every write.
LAG_ALLOWED_S = 5


class _Waiting(NamedTuple):
    """A command, and whoever waits for its answer."""

    command: tuple[Any, ...]
    answer: gevent.event.AsyncResult


class Pipeline:
    """Each command stands for itself: it succeeds or fails alone, and its answer is there before `run` returns.

    With `wait_replicas`, one WAIT on the same connection ends a batch, and nobody in it is answered before that. None
    stands for every replica that is connected, and at least one: any of them may be promoted.
    """

    def __init__(self, client: redis.Redis, *, wait_replicas: int | None) -> None:
        self._redis = client
        self._wait_replicas = wait_replicas
        # As many as were connected after the last batch; 0 before the first.
        self._connected = 0
        self._waiting: list[_Waiting] = []
        self._under_way = False

    def run(self, *command: Any) -> Any:
        """The command's answer. Raises RedisError, OSError, StoreUnavailable."""
        answer = self._alone(command) if _size(command) > LARGE_BYTES else self._together(command)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _alone(self, command: tuple[Any, ...]) -> Any:
        [answer] = self._exchange([command])
        return answer

    def _together(self, command: tuple[Any, ...]) -> Any:
        waiting = _Waiting(command, gevent.event.AsyncResult())
        self._waiting.append(waiting)
        if not self._under_way:
            self._under_way = True
            gevent.spawn(self._send_all)
        return waiting.answer.get()

    def _send_all(self) -> None:
        try:
            while self._waiting:
                self._send_some()
        finally:
            self._under_way = False

    def _send_some(self) -> None:
        batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        try:
            answers = self._exchange([waiting.command for waiting in batch])
        except Exception as error:
            if not isinstance(error, redis.exceptions.RedisError | OSError):
                log.exception("a batch could not be sent")
            # Who queued up meanwhile would only wait as long again: they may try themselves.
            batch, self._waiting = batch + self._waiting, []
            answers = [StoreUnavailable(f"the store did not answer: {type(error).__name__}: {error}") for _ in batch]
        for waiting, answer in zip(batch, answers, strict=True):
            waiting.answer.set(answer)

    def _exchange(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        if self._wait_replicas is None and not self._connected:
            self._connected = max(1, connected_replicas(self._redis.info("replication")))
        with self._redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            if self._wait_replicas == 0:
                return pipe.execute(raise_on_error=False)
            pipe.execute_command("WAIT", self._wait_replicas or self._connected, WAIT_MS)
            pipe.execute_command("INFO", "replication")
            *answers, confirmed, replication = pipe.execute(raise_on_error=False)
        wanted = self._wait_replicas or max(1, connected_replicas(replication))
        # WAIT may have returned before a replica confirmed that came while the batch was under way: then nobody in the
        # batch is told that it is written, and whoever tries again waits for that replica as well.
        self._connected = wanted
        return [
            answer if isinstance(answer, Exception) else _confirmed(answer, confirmed, wanted) for answer in answers
        ]


def _size(command: tuple[Any, ...]) -> int:
    return sum(len(part) for part in command if isinstance(part, bytes | str))


def connected_replicas(replication: Any) -> int:
    """How many replicas follow the primary, of what INFO says about replication."""
    if not isinstance(replication, dict):
        return 0
    replicas = (replica for name, replica in replication.items() if name.startswith("slave") and name[5:].isdigit())
    return sum(replica["state"] == "online" and int(replica["lag"]) <= LAG_ALLOWED_S for replica in replicas)


def _confirmed(answer: Any, confirmed: Any, wanted: int) -> Any:
    if isinstance(confirmed, int) and confirmed >= wanted:
        return answer
    return StoreUnavailable(f"only {confirmed} of {wanted} replicas confirmed")
