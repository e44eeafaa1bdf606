"""Requests that failed are tried at once when their remote works again."""

from __future__ import annotations

import pytest

from bridge.actors.outbound.recovery import FAILURES_IN_A_ROW, PROBES, WAKE_EVERY_S, Recovery

NOW_S = 1000.0


def failing(*destinations: str, failures: int = FAILURES_IN_A_ROW) -> Recovery[str]:
    """One request a destination that failed so often and waits."""
    recovery: Recovery[str] = Recovery()
    for name in destinations:
        for _ in range(failures):
            assert recovery.note(name, failed=True, now_s=NOW_S) == []
        recovery.failed(f"chat at {name}", f"request to {name}", name, not_before_s=0.0)
    return recovery


def test_a_success_after_failures_in_a_row_wakes_those_that_wait() -> None:
    recovery = failing("a", "b")
    recovery.failed("other chat", "other request to a", "a", not_before_s=0.0)
    assert recovery.note("a", failed=False, now_s=NOW_S) == ["request to a", "request to b", "other request to a"]
    assert len(recovery) == 0


def test_a_destination_that_still_fails_is_left_alone_when_another_works() -> None:
    recovery = failing("a")
    recovery.note("b", failed=False, now_s=NOW_S - WAKE_EVERY_S)
    recovery = failing("a")
    recovery.note("works", failed=False, now_s=NOW_S)
    recovery.failed("chat at a", "request to a", "a", not_before_s=0.0)
    assert recovery.note("works", failed=False, now_s=NOW_S + WAKE_EVERY_S) == []


@pytest.mark.parametrize("failures", [1, FAILURES_IN_A_ROW - 1])
def test_few_failures_are_no_outage(failures: int) -> None:
    assert failing("a", failures=failures).note("a", failed=False, now_s=NOW_S) == []


def test_a_request_that_always_fails_is_not_woken_at_every_success() -> None:
    recovery = failing("a")
    assert recovery.note("a", failed=False, now_s=NOW_S) == ["request to a"]
    for _ in range(FAILURES_IN_A_ROW):
        recovery.note("a", failed=True, now_s=NOW_S + 1)
    recovery.failed("chat at a", "request to a", "a", not_before_s=0.0)
    assert recovery.note("a", failed=False, now_s=NOW_S + WAKE_EVERY_S - 0.1) == []


def test_a_request_that_is_tried_again_does_not_wait() -> None:
    recovery = failing("a")
    recovery.tried("chat at a")
    assert recovery.note("a", failed=False, now_s=NOW_S) == []


def test_a_retry_after_is_waited_out() -> None:
    recovery = failing("a")
    recovery.failed("patient chat", "patient request", "a", not_before_s=NOW_S + 60)
    assert recovery.note("a", failed=False, now_s=NOW_S) == ["request to a"]
    assert len(recovery) == 1


def test_while_nothing_succeeds_a_few_are_tried_each_of_another_destination() -> None:
    recovery = failing("a", "b", "c", "d", "e", "f")
    recovery.failed("second chat at a", "second request to a", "a", not_before_s=0.0)
    probes = recovery.probes(NOW_S, may_try=lambda name: name != "b")
    assert probes == ["request to a", "request to c", "request to d", "request to e"]
    assert len(probes) == PROBES
    assert recovery.probes(NOW_S, may_try=lambda _: True) == ["request to b", "request to f", "second request to a"]
