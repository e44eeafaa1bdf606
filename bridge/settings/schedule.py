"""When something recurs: `@every 59m`, or a cron line of five fields. The caller says what time it is."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Protocol

import msgspec
from cronsim import CronSim, CronSimError

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h|d))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)")


def parse_duration_s(text: str | float) -> float:
    """Seconds from `3s`, `1m30s`, `500ms` or a plain number of seconds. Raises ValueError."""
    seconds = _duration_s(str(text).strip().replace(" ", ""))
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError("is not a duration of 0 or more (as 3s, 1m30s, or a number of seconds)")
    return seconds


def _duration_s(text: str) -> float:
    if _DURATION.fullmatch(text):
        return sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))
    try:
        return float(text)
    except ValueError:
        return math.nan


class Schedule(Protocol):
    """Tells when something happens next."""

    def seconds_to_next(self, now: datetime) -> float:
        """How long from `now` until the next time; more than 0."""


class Every(msgspec.Struct, frozen=True):
    """Again and again after the same pause."""

    pause_s: float

    def seconds_to_next(self, now: datetime) -> float:
        """The pause."""
        return self.pause_s


class Cron(msgspec.Struct, frozen=True):
    """A cron line of five fields."""

    line: str

    def seconds_to_next(self, now: datetime) -> float:
        """To the start of the next minute that matches, in `now`'s time zone. Raises ValueError without one."""
        try:
            return (next(CronSim(self.line, now)) - now).total_seconds()
        except (CronSimError, StopIteration) as error:
            raise ValueError(f"is a cron line that is wrong or never comes: {error}".rstrip(": ")) from None


_SHORTHANDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS = 5


def parse_schedule(text: str) -> Schedule:
    """The schedule that `@every 59m`, `@hourly` or `0 9 * * *` means. Raises ValueError."""
    line = text.strip().lower()
    if line.startswith("@every "):
        return _every(line.removeprefix("@every "))
    line = _SHORTHANDS.get(line, line).replace("?", "*")
    if len(line.split()) != _FIELDS:
        raise ValueError("is neither '@every <duration>' nor a cron line of five fields")
    cron = Cron(line)
    cron.seconds_to_next(datetime(2000, 1, 1))
    return cron


def _every(duration: str) -> Every:
    pause_s = parse_duration_s(duration)
    if pause_s < 1:
        raise ValueError("recurs more often than once a second")
    return Every(pause_s)
