"""When the token is renewed."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from bridge.settings.schedule import parse_schedule

SUNDAY = datetime(2023, 1, 1, 8, 59, 30)


@pytest.mark.parametrize(
    ("line", "next_time"),
    [
        ("@every 59m", SUNDAY + timedelta(minutes=59)),
        ("@every 1h30m", SUNDAY + timedelta(minutes=90)),
        ("@hourly", datetime(2023, 1, 1, 9, 0)),
        ("@daily", datetime(2023, 1, 2, 0, 0)),
        ("0 9 * * *", datetime(2023, 1, 1, 9, 0)),
        ("59 8 * * *", datetime(2023, 1, 2, 8, 59)),
        ("*/20 * * * *", datetime(2023, 1, 1, 9, 0)),
        ("5-10/5,40 9 * * *", datetime(2023, 1, 1, 9, 5)),
        ("0 0 * * mon", datetime(2023, 1, 2, 0, 0)),
        ("0 0 * * 7", datetime(2023, 1, 8, 0, 0)),
        ("0 0 29 2 *", datetime(2024, 2, 29, 0, 0)),
        ("0 0 3 * 2", datetime(2023, 1, 3, 0, 0)),
        ("0 0 15 * 1", datetime(2023, 1, 2, 0, 0)),
        ("0 0 1 JAN *", datetime(2024, 1, 1, 0, 0)),
    ],
)
def test_the_next_time_of_a_schedule(line: str, next_time: datetime) -> None:
    assert parse_schedule(line).seconds_to_next(SUNDAY) == (next_time - SUNDAY).total_seconds()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "often",
        "@every",
        "@every soon",
        "@every 10ms",
        "* * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "5-1 * * * *",
        "*/0 * * * *",
        "x * * * *",
        "0 0 31 2 *",
        "1-x * * * *",
    ],
)
def test_a_line_that_makes_no_sense_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"cron|every|duration|never|often"):
        parse_schedule(line)
