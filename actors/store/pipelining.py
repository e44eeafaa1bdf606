"""Writes of many at once: what greenlets want written while a batch is under way leaves together, as the next one."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import gevent
import gevent.event
import redis

from bridge.errors import StoreUnavailable

log = logging.getLogger("bridge.batches")

MOST = 128
WAIT_MS = 500


class _Waiting(NamedTuple):
    """A command, and whoever waits for its answer."""

    command: tuple[Any, ...]
    answer: gevent.event.AsyncResult


class Pipeline:
    """Each command stands for itself: it succeeds or fails alone, and its answer is there before `run` returns.

    With `wait_replicas`, one WAIT on the same connection ends a batch, and nobody in it is answered before that.
    """

    def __init__(self, client: redis.Redis, *, wait_replicas: int) -> None:
        self._redis = client
        self._wait_replicas = wait_replicas
        self._waiting: list[_Waiting] = []
        self._under_way = False

    def run(self, *command: Any) -> Any:
        """The command's answer. Raises RedisError, OSError, StoreUnavailable."""
        waiting = _Waiting(command, gevent.event.AsyncResult())
        self._waiting.append(waiting)
        if not self._under_way:
            self._under_way = True
            gevent.spawn(self._send_all)
        answer = waiting.answer.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

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
        with self._redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            if not self._wait_replicas:
                return pipe.execute(raise_on_error=False)
            pipe.execute_command("WAIT", self._wait_replicas, WAIT_MS)
            *answers, replicas = pipe.execute(raise_on_error=False)
        return [answer if isinstance(answer, Exception) else self._confirmed(answer, replicas) for answer in answers]

    def _confirmed(self, answer: Any, replicas: Any) -> Any:
        if isinstance(replicas, int) and replicas >= self._wait_replicas:
            return answer
        return StoreUnavailable(f"only {replicas} of {self._wait_replicas} replicas confirmed")
