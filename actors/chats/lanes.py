"""What an interconnection has under way: one command a lane, with its tries and its timer."""

from __future__ import annotations

import itertools

import gevent
import msgspec

from bridge.commands import LANES, Command, Lane, OpenCase


class InFlight:
    """A command under way. `token` tells its outcome from a late one of an earlier command."""

    __slots__ = ("command", "lane", "since_ms", "timer", "token", "tries")

    def __init__(self, command: Command, token: int, since_ms: int) -> None:
        self.command = command
        self.since_ms = since_ms
        self.lane = LANES[type(command)]
        self.token = token
        self.tries = 0
        self.timer: gevent.Greenlet | None = None

    def tried(self) -> InFlight:
        """Counts a try that failed; a case that may have been opened by it has to be looked for."""
        self.tries += 1
        if isinstance(self.command, OpenCase):
            self.command = msgspec.structs.replace(self.command, again=True)
        return self


class Lanes:
    """The commands under way, by lane."""

    def __init__(self) -> None:
        self.states: dict[Lane, InFlight] = {}
        self._tokens = itertools.count(1)

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""
        return bool(self.states)

    def begin(self, command: Command, *, since_ms: int) -> InFlight:
        """Takes the command's lane for it; patience with it is counted from `since_ms`."""
        state = InFlight(command, next(self._tokens), since_ms)
        self.states[state.lane] = state
        return state

    def get(self, lane: Lane, token: int) -> InFlight | None:
        """The command that this token names, if it is still under way."""
        state = self.states.get(lane)
        return state if state is not None and state.token == token else None

    def finish(self, lane: Lane, token: int) -> InFlight | None:
        """Frees the lane of the command that this token names; None when it is not under way any more."""
        state = self.get(lane, token)
        if state is not None:
            del self.states[lane]
        return state

    def drop(self, lane: Lane) -> None:
        """Frees a lane, whatever is in it; an outcome that still comes is late."""
        state = self.states.pop(lane, None)
        if state is not None and state.timer is not None:
            state.timer.kill(block=False)

    def drop_waiting(self) -> None:
        """Frees every lane whose command waits for a timer rather than for a neighbour."""
        for lane, state in list(self.states.items()):
            if state.timer is not None and not state.timer.ready():
                self.drop(lane)

    def clear(self) -> None:
        """Frees every lane. Tokens go on counting, so that nothing late is taken for what comes next."""
        self.cancel_timers()
        self.states.clear()

    def cancel_timers(self) -> None:
        """Lets nothing become due any more."""
        for state in self.states.values():
            if state.timer is not None:
                state.timer.kill(block=False)
