"""Which request gets a client next: turns, shares, the rate limit, slow calls."""

from __future__ import annotations

from collections import Counter

import pytest

from bridge.actors.outbound.admission import MOST_DESTINATIONS, SLOW_S, Admission, Ticket

NOW_S = 1000.0


def admitted(admission: Admission[str], now_s: float = NOW_S) -> list[Ticket[str]]:
    """Everything that may be carried out now."""
    return list(iter(lambda: admission.next(now_s), None))


def queue(admission: Admission[str], destination: str, count: int, *, paced: bool = False) -> None:
    for number in range(count):
        admission.add(f"{destination}-{number}", destination, paced=paced)


def by_destination(tickets: list[Ticket[str]]) -> Counter[str]:
    return Counter(ticket.destination for ticket in tickets)


def test_destinations_take_turns_and_each_keeps_its_order() -> None:
    admission: Admission[str] = Admission(size=100)
    for destination, count in (("a", 3), ("b", 1), ("c", 2)):
        queue(admission, destination, count)
    assert [ticket.item for ticket in admitted(admission)] == ["a-0", "b-0", "c-0", "a-1", "c-1", "a-2"]


@pytest.mark.parametrize(("size", "share"), [(1, 1), (2, 1), (4, 2), (32, 16)])
def test_one_destination_holds_at_most_half_of_the_clients(size: int, share: int) -> None:
    admission: Admission[str] = Admission(size=size)
    queue(admission, "a", 100)
    assert len(admitted(admission)) == share
    assert (admission.running, admission.waiting) == (share, 100 - share)


def test_a_new_destination_finds_a_client_while_others_hold_all_that_they_may() -> None:
    admission: Admission[str] = Admission(size=16)
    for destination in ("a", "b", "c"):
        queue(admission, destination, 100)
    admitted(admission)
    queue(admission, "d", 1)
    assert by_destination(admitted(admission)) == {"d": 1}


def test_a_client_that_is_free_again_goes_to_the_next_in_turn() -> None:
    admission: Admission[str] = Admission(size=2)
    queue(admission, "a", 2)
    [first] = admitted(admission)
    assert admitted(admission) == []
    admission.ended(first, failed=False)
    assert [ticket.item for ticket in admitted(admission)] == ["a-1"]


def test_the_rate_limit_holds_paced_items_alone() -> None:
    admission: Admission[str] = Admission(size=100, rate=5)
    queue(admission, "a", 10, paced=True)
    queue(admission, "a", 10)
    assert len(admitted(admission)) == 15
    assert admission.wait_s(NOW_S) == pytest.approx(0.2)
    assert [ticket.item for ticket in admitted(admission, NOW_S + 0.2)] == ["a-5"]


def test_a_full_destination_takes_no_place_of_the_rate_limit() -> None:
    admission: Admission[str] = Admission(size=4, rate=5)
    queue(admission, "hangs", 100, paced=True)
    queue(admission, "works", 2, paced=True)
    assert by_destination(admitted(admission))["works"] >= 1


def test_a_slow_call_does_not_hold_a_client() -> None:
    admission: Admission[str] = Admission(size=2)
    queue(admission, "a", 1)
    queue(admission, "b", 3)
    assert len(admitted(admission)) == 2
    assert admitted(admission) == []
    assert admission.wait_s(NOW_S) == pytest.approx(SLOW_S)
    assert len(admitted(admission, NOW_S + SLOW_S)) == 1


def test_slow_calls_are_bounded() -> None:
    admission: Admission[str] = Admission(size=4)
    for number in range(1000):
        queue(admission, f"hangs-{number}", 1)
    for turn in range(50):
        admitted(admission, NOW_S + turn * 2 * SLOW_S)
    assert admission.running == 16


def test_destinations_whose_last_call_failed_share_a_quarter() -> None:
    admission: Admission[str] = Admission(size=8)
    for number in range(8):
        queue(admission, f"fails-{number}", 1)
    for ticket in admitted(admission):
        admission.ended(ticket, failed=True)
    for number in range(8):
        queue(admission, f"fails-{number}", 1)
    failing = admitted(admission)
    assert len(failing) == 2
    queue(admission, "works", 3)
    assert by_destination(admitted(admission)) == {"works": 3}
    admission.ended(failing[0], failed=False)
    queue(admission, failing[0].destination, 1)
    assert failing[0].destination in by_destination(admitted(admission))


def test_a_call_that_tells_nothing_of_its_destination_changes_nothing() -> None:
    admission: Admission[str] = Admission(size=8)
    queue(admission, "a", 2)
    first, second = admitted(admission)
    admission.ended(first, failed=True)
    admission.ended(second, failed=None)
    assert admission.destination("a").failures == 1


def test_unused_destinations_are_forgotten() -> None:
    admission: Admission[str] = Admission(size=8)
    for number in range(3 * MOST_DESTINATIONS):
        admission.destination(f"host-{number}")
    assert len(admission._destinations) <= MOST_DESTINATIONS
