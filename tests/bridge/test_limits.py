"""How fast and how often: back-off, rate limit, circuit breaker."""

from __future__ import annotations

import pytest

from bridge.limits import Breaker, RateLimit, backoff_s

# --- back-off -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tries", "most_s"), [(0, 0.5), (1, 1.0), (4, 8.0), (6, 30.0), (10_000, 30.0)])
def test_a_pause_lies_between_zero_and_a_bound_that_doubles_up_to_a_cap(tries: int, most_s: float) -> None:
    pauses = [backoff_s(tries, base_s=0.5, cap_s=30.0) for _ in range(500)]
    assert 0 <= min(pauses) < 0.1 * most_s
    assert 0.9 * most_s < max(pauses) <= most_s


# --- rate limit -----------------------------------------------------------------------------------------------------


def test_a_burst_of_one_seconds_worth_goes_at_once() -> None:
    limit = RateLimit(20)
    assert [limit.reserve(100.0) for _ in range(20)] == pytest.approx([0.0] * 20, abs=1e-9)
    assert limit.reserve(100.0) == pytest.approx(0.05)


def test_calls_that_wait_get_places_one_after_another() -> None:
    limit = RateLimit(10)
    waits = [limit.reserve(100.0) for _ in range(30)]
    assert waits[10:] == pytest.approx([0.1 * place for place in range(1, 21)])


def test_over_a_long_time_the_rate_is_kept() -> None:
    limit, now_s = RateLimit(20), 100.0
    for _ in range(2_000):
        now_s += limit.reserve(now_s)
    assert 2_000 / (now_s - 100.0) == pytest.approx(20, rel=0.02)


def test_unused_places_are_not_saved_beyond_a_second() -> None:
    limit = RateLimit(5)
    limit.reserve(100.0)
    waits = [limit.reserve(10_000.0) for _ in range(6)]
    assert waits == pytest.approx([0.0] * 5 + [0.2], abs=1e-9)


def test_a_rate_of_zero_limits_nothing() -> None:
    limit = RateLimit(0)
    assert {limit.reserve(0.0) for _ in range(100)} == {0.0}


# --- breaker --------------------------------------------------------------------------------------------------------


def breaker(*calls: bool, at_s: float = 100.0) -> Breaker:
    """A breaker that took in these calls; True is a failure."""
    made = Breaker(least_calls=4, window_s=30.0, probe_every_s=10.0)
    for failed in calls:
        made.note(at_s, failed=failed)
    return made


@pytest.mark.parametrize(("failures", "calls"), [(2, 5), (9, 19), (49, 99)])
def test_it_stays_closed_while_less_than_half_fails(failures: int, calls: int) -> None:
    results = [False] * (calls - failures) + [True] * failures
    assert breaker(*results).pause_s(100.0) == 0.0


def test_it_stays_closed_at_a_third_and_opens_at_a_half() -> None:
    third, half = breaker(*[False, False, True] * 10), breaker(*[False, True] * 10)
    assert (third.pause_s(100.0), half.pause_s(100.0)) == (0.0, pytest.approx(10.0))


def test_it_stays_closed_after_fewer_calls_than_it_needs() -> None:
    assert breaker(True, True, True).pause_s(100.0) == 0.0


def test_it_opens_when_half_of_the_last_calls_failed() -> None:
    assert breaker(False, True, False, True).pause_s(103.0) == pytest.approx(7.0)


def test_a_success_never_opens_it() -> None:
    assert breaker(True, True, True, False).pause_s(100.0) == 0.0


def test_failures_of_long_ago_do_not_count() -> None:
    opened = breaker(True, True, True, at_s=100.0)
    opened.note(131.0, failed=True)
    assert opened.pause_s(131.0) == 0.0


def test_when_open_it_lets_one_probe_through_at_a_time() -> None:
    opened = breaker(True, True, True, True)
    assert opened.pause_s(110.0) == 0.0
    assert opened.pause_s(110.0) == pytest.approx(10.0)
    assert opened.pause_s(120.0) == 0.0


def test_a_probe_that_goes_well_closes_it_and_forgets_the_failures() -> None:
    opened = breaker(True, True, True, True)
    assert opened.pause_s(110.0) == 0.0
    opened.note(110.1, failed=False)
    assert [opened.pause_s(110.2) for _ in range(3)] == [0.0] * 3
    opened.note(110.3, failed=True)
    assert opened.pause_s(110.3) == 0.0


def test_a_probe_that_fails_keeps_it_open() -> None:
    opened = breaker(True, True, True, True)
    assert opened.pause_s(110.0) == 0.0
    opened.note(110.1, failed=True)
    assert opened.pause_s(111.0) == pytest.approx(9.0)
