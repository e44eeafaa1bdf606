"""One chat's long poll: how it begins, when the next one may begin, and how it is ended.

A poll that failed is tried again by `bridge.chat.retries`: after a 409 (another poll is still open at the desk) in
`overlap_pause_s` (SLEEP_LONG_POLLING), after any other failure with back-off.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import gevent

from bridge.actors.protocol import Request, Serve, carry_out

EMPTY_POLL_S = 1.0
EMPTY_POLLS_ALLOWED = 5

Begin = Callable[[Request], gevent.Greenlet]
Clock = Callable[[], float]


def polls_at(serve: Serve) -> Begin:
    """Begins a poll at a desk, each in a greenlet of its own: a long poll must not take a client of a pool."""
    return lambda request: gevent.spawn(carry_out, serve, request)


class Poller:
    """One chat's polls. `now_s` is a monotonic clock; the first poll begins after `first_poll_delay_s`."""

    def __init__(self, begin: Begin, *, first_poll_delay_s: float, now_s: Clock = time.monotonic) -> None:
        self._begin = begin
        self._now_s = now_s
        self._not_before_s = now_s() + first_poll_delay_s
        self._began_s: float | None = None
        self._empty_polls = 0
        self._under_way: gevent.Greenlet | None = None

    @property
    def delay_s(self) -> float:
        """Seconds until a poll may begin; 0 or less when one may begin now."""
        return self._not_before_s - self._now_s()

    @property
    def last_s(self) -> float | None:
        """Seconds since the last poll began."""
        return None if self._began_s is None else round(self._now_s() - self._began_s, 1)

    def begin(self, request: Request) -> None:
        """Begins a poll. It tells its outcome to the actor that the request names."""
        self._began_s = self._now_s()
        self._under_way = self._begin(request)

    def answered(self, *, empty: bool) -> None:
        """Slows down to one poll a second after several polls in a row that were answered empty at once."""
        now_s = self._now_s()
        at_once = empty and self._began_s is not None and now_s - self._began_s < EMPTY_POLL_S
        self._empty_polls = self._empty_polls + 1 if at_once else 0
        if self._empty_polls >= EMPTY_POLLS_ALLOWED:
            self._not_before_s = now_s + EMPTY_POLL_S

    def end(self) -> None:
        """Ends the poll under way. The next poll asks again with the same ack, so nothing is lost."""
        if self._under_way is not None:
            self._under_way.kill(block=False)
            self._under_way = None
