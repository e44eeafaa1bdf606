"""One chat's listening: the poll under way, when the next may begin, and how to end it."""

from __future__ import annotations

import time
from collections.abc import Callable

import gevent

from bridge.actors.protocol import Request

EMPTY_POLL_S = 1.0
EMPTY_POLLS_ALLOWED = 5


class Poller:
    """Starts polls, never before the guard is over, and knows how long ago the last one began."""

    def __init__(self, poll: Callable[[Request], gevent.Greenlet], *, first_poll_delay_s: float) -> None:
        self._poll = poll
        self._not_before_s = time.monotonic() + first_poll_delay_s
        self._began_s: float | None = None
        self._empty_polls = 0
        self._under_way: gevent.Greenlet | None = None

    @property
    def delay_s(self) -> float:
        """Seconds until a poll may begin; not above 0 when one may begin now."""
        return self._not_before_s - time.monotonic()

    @property
    def last_s(self) -> float | None:
        """Seconds since the last poll began."""
        return None if self._began_s is None else round(time.monotonic() - self._began_s, 1)

    def begin(self, request: Request) -> None:
        """Begins a poll; it tells its outcome to whom the request names."""
        self._began_s = time.monotonic()
        self._under_way = self._poll(request)

    def answered(self, *, quiet: bool) -> None:
        """A desk that answers "nothing new" at once, again and again, is asked once a second."""
        now_s = time.monotonic()
        hasty = quiet and self._began_s is not None and now_s - self._began_s < EMPTY_POLL_S
        self._empty_polls = self._empty_polls + 1 if hasty else 0
        if self._empty_polls >= EMPTY_POLLS_ALLOWED:
            self._not_before_s = now_s + EMPTY_POLL_S

    def end(self) -> None:
        """Ends the poll under way; what it would still bring is asked for again, with the same ack."""
        if self._under_way is not None:
            self._under_way.kill(block=False)
            self._under_way = None
