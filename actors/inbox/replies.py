"""Replies to asks: the greenlet that asked through the inbox waits here, by correlation id."""

from __future__ import annotations

import logging
import uuid
from typing import Any

import gevent
import gevent.event
import msgspec
import redis

from bridge.actors.store.clock import StoreClock
from bridge.errors import AnswerTimeout
from bridge.messages import Answer, Ask

log = logging.getLogger("bridge.replies")

BLOCK_MS = 500


class Replies:
    """One greenlet a worker reads the worker's reply stream, on a connection of its own."""

    def __init__(self, client: redis.Redis, stream: str, *, clock: StoreClock | None = None) -> None:
        self._clock = clock or StoreClock()
        self._redis = client
        self._stream = stream
        self._waiting: dict[str, gevent.event.AsyncResult] = {}
        self._last = "0-0"
        self._greenlet: gevent.Greenlet | None = None
        self._stopping = False

    def start(self) -> None:
        """Begins to read."""
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """Ends after the read under way."""
        self._stopping = True
        if self._greenlet is not None:
            self._greenlet.join(timeout=BLOCK_MS / 1000 + 3)

    def expect(self) -> Ask:
        """A new ask. Call `wait` or `drop` for each one, or it stays in memory."""
        ask = Ask(self._stream, uuid.uuid4().hex, self._clock.now_ms())
        self._waiting[ask.correlation_id] = gevent.event.AsyncResult()
        return ask

    def wait(self, ask: Ask, *, timeout_s: float) -> Answer:
        """The answer. Raises AnswerTimeout."""
        try:
            answer: Answer = self._waiting[ask.correlation_id].get(timeout=timeout_s)
        except gevent.Timeout:
            raise AnswerTimeout(f"no answer within {timeout_s:g} s") from None
        finally:
            self.drop(ask)
        return answer

    def drop(self, ask: Ask) -> None:
        """Waits for this one no more."""
        self._waiting.pop(ask.correlation_id, None)

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._round()
            except (redis.exceptions.RedisError, OSError) as error:
                log.warning("cannot read the replies: %s: %s", type(error).__name__, error)
                # A store that failed over may give smaller ids than before; an answer that nobody waits for is skipped.
                self._last = "0-0"
                gevent.sleep(0.5)
            except Exception:
                log.exception("the replies' round failed")
                gevent.sleep(0.5)

    def _round(self) -> None:
        answer: Any = self._redis.xread({self._stream: self._last}, count=500, block=BLOCK_MS) or []
        found = answer.items() if isinstance(answer, dict) else answer
        for _, entries in found:
            for name, fields in entries:
                self._last = name.decode()
                self._give(fields[b"id"].decode(), fields[b"answer"])

    def _give(self, correlation_id: str, raw: bytes) -> None:
        waiting = self._waiting.get(correlation_id)
        if waiting is not None:
            waiting.set(msgspec.json.decode(raw, type=Answer))
