"""What an interconnection has under way: one command a lane, with its tries and its timer."""

from __future__ import annotations

import itertools
from collections.abc import Set

import gevent

from bridge.chat.retries import Attempt
from bridge.commands import Lane, lane_of


class InFlight:
    """A command under way. `token` tells its outcome from a late one of an earlier command."""

    __slots__ = ("attempt", "lane", "timer", "token", "waiting")

    def __init__(self, attempt: Attempt, token: int) -> None:
        self.attempt = attempt
        self.lane = lane_of(attempt.command)
        self.token = token
        self.timer: gevent.Greenlet | None = None
        self.waiting = False

    def wait(self, timer: gevent.Greenlet) -> None:
        """It waits for a timer, not for a remote."""
        self.timer, self.waiting = timer, True

    def stop_waiting(self) -> None:
        """Its wait is over, by its timer or before."""
        self.waiting = False
        if self.timer is not None:
            self.timer.kill(block=False)


class Lanes:
    """The commands under way, by lane."""

    def __init__(self) -> None:
        self.in_flight: dict[Lane, InFlight] = {}
        self._tokens = itertools.count(1)

    @property
    def busy(self) -> Set[Lane]:
        """The lanes that carry a command."""
        return self.in_flight.keys()

    def begin(self, attempt: Attempt) -> InFlight:
        """Takes the lane of the attempt's command."""
        in_flight = InFlight(attempt, next(self._tokens))
        self.in_flight[in_flight.lane] = in_flight
        return in_flight

    def get(self, lane: Lane, token: int) -> InFlight | None:
        """The command that this token names, if it is still under way."""
        in_flight = self.in_flight.get(lane)
        return in_flight if in_flight is not None and in_flight.token == token else None

    def finish(self, lane: Lane, token: int) -> InFlight | None:
        """Frees the lane of the command that this token names; None when it is not under way any more."""
        in_flight = self.get(lane, token)
        if in_flight is not None:
            del self.in_flight[lane]
        return in_flight

    def drop(self, lane: Lane) -> None:
        """Frees a lane. An outcome that still comes is late."""
        in_flight = self.in_flight.pop(lane, None)
        if in_flight is not None and in_flight.timer is not None:
            in_flight.timer.kill(block=False)

    def drop_waiting(self, *lanes: Lane) -> None:
        """Frees these lanes, or all, where the command waits for its timer."""
        for lane, in_flight in list(self.in_flight.items()):
            if in_flight.waiting and (lane in lanes or not lanes):
                self.drop(lane)

    def clear(self) -> None:
        """Frees every lane. Tokens go on counting, so that a late outcome fits no later command."""
        self.cancel_timers()
        self.in_flight.clear()

    def cancel_timers(self) -> None:
        """Cancels every timer."""
        for in_flight in self.in_flight.values():
            if in_flight.timer is not None:
                in_flight.timer.kill(block=False)
