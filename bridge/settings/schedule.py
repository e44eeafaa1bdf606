"""When something recurs: `@every 59m`, or a cron line of five fields. The caller says what time it is."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

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
    """Something that recurs."""

    def seconds_to_next(self, now: datetime) -> float:
        """How long from `now` until the next time; more than 0."""


class Every(msgspec.Struct, frozen=True):
    """Again and again after the same pause."""

    pause_s: float

    def seconds_to_next(self, now: datetime) -> float:
        """The pause."""
        return self.pause_s


class Cron(msgspec.Struct, frozen=True):
    """A five-field cron line, each field as the set of values that it allows."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day_will_do: bool

    def seconds_to_next(self, now: datetime) -> float:
        """To the start of the next minute that matches, in `now`'s own time zone."""
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        for offset in range(_LONGEST_GAP_DAYS):
            candidate = day + timedelta(days=offset)
            if self._matches_day(candidate) and (found := self._first_after(candidate, now)):
                return (found - now).total_seconds()
        raise ValueError("this cron line never comes")

    def _first_after(self, day: datetime, now: datetime) -> datetime | None:
        times = (
            day.replace(hour=hour, minute=minute) for hour in sorted(self.hours) for minute in sorted(self.minutes)
        )
        return next((time for time in times if time > now), None)

    def _matches_day(self, day: datetime) -> bool:
        if day.month not in self.months:
            return False
        by_date, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return by_date or by_weekday if self.any_day_will_do else by_date and by_weekday


# From one 29 February to the next there are at most eight years (1896-1904, 2096-2104).
_LONGEST_GAP_DAYS = 8 * 366 + 1

_SHORTHANDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_WEEKDAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_RANGES: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, _MONTHS),
    (0, 7, _WEEKDAYS),
)


def parse_schedule(text: str) -> Schedule:
    """The schedule that `@every 59m`, `@hourly` or `0 9 * * *` means. Raises ValueError."""
    line = text.strip().lower()
    if line.startswith("@every "):
        return _every(line.removeprefix("@every "))
    fields = _SHORTHANDS.get(line, line).split()
    if len(fields) != len(_RANGES):
        raise ValueError("is neither '@every <duration>' nor a cron line of five fields")
    return _cron(fields)


def _every(duration: str) -> Every:
    pause_s = parse_duration_s(duration)
    if pause_s < 1:
        raise ValueError("recurs more often than once a second")
    return Every(pause_s)


def _cron(fields: list[str]) -> Cron:
    minutes, hours, days, months, weekdays = (
        _values(field, low, high, names) for field, (low, high, names) in zip(fields, _RANGES, strict=True)
    )
    # As in every cron: when both days are restricted, either is enough.
    either = not fields[2].startswith("*") and not fields[4].startswith("*")
    weekdays = frozenset(weekday % 7 for weekday in weekdays)
    cron = Cron(minutes, hours, days, months, weekdays, either)
    cron.seconds_to_next(datetime(2000, 1, 1))
    return cron


def _values(field: str, low: int, high: int, names: dict[str, int]) -> frozenset[int]:
    return frozenset(value for part in field.split(",") for value in _part_values(part, low, high, names))


def _part_values(part: str, low: int, high: int, names: dict[str, int]) -> range:
    span, _, step_text = part.partition("/")
    first_text, dash, last_text = span.partition("-")
    try:
        step = int(step_text or 1)
        first = low if span in ("*", "?") else names.get(first_text) or int(names.get(first_text, first_text))
        last = high if span in ("*", "?") else int(names.get(last_text, last_text)) if dash else first
    except ValueError:
        raise ValueError(f"has the cron field {part!r}, which is not understood") from None
    last = high if step_text and not dash else last
    if not (low <= first <= last <= high and step > 0):
        raise ValueError(f"has the cron field {part!r}, which is outside {low}-{high}")
    return range(first, last + 1, step)
