"""Failures are counted by name, for all workers, until their window ends."""

from __future__ import annotations

from actor_parts import Place, wait_for

from bridge.actors.store.failures import FailureCounts


def test_failures_are_counted_by_name_for_all_workers(place: Place) -> None:
    workers = [FailureCounts(place.connections, place.keys) for _ in range(2)]
    counts = [worker.add("a", window_s=60).count for worker in workers * 2]
    other = workers[0].add("b", window_s=60)
    assert (counts, other.count) == ([1, 2, 3, 4], 1)
    assert 0 < other.left_s <= 60


def test_a_window_begins_with_its_first_failure_and_ends_by_itself(place: Place) -> None:
    failures = FailureCounts(place.connections, place.keys)
    assert [failures.add("a", window_s=2).count for _ in range(2)] == [1, 2]
    wait_for(lambda: not place.raw.exists(place.keys.failures("a")))
    assert failures.add("a", window_s=2).count == 1


def test_no_name_of_a_stranger_stands_in_a_key(place: Place) -> None:
    FailureCounts(place.connections, place.keys).add("login 203.0.113.5 someone", window_s=60)
    (key,) = place.everything()
    assert "someone" not in key
