"""The store's clock: two hosts that disagree about the time agree about it."""

from __future__ import annotations

import time

import pytest
from actor_parts import Place

from bridge.actors.store.clock import TOLERANCE_MS, StoreClock


class Host:
    """A host whose clock is wrong, and whose time goes on by hand."""

    def __init__(self, ahead_s: float) -> None:
        self.since_boot_s = 1_000.0
        self.clock = StoreClock(lambda: self.since_boot_s, lambda: 1_700_000_000.0 + ahead_s)

    def hears(self, store_ms: int, *, after_ms: int = 0) -> None:
        asked_ms = self.clock.local_ms()
        self.since_boot_s += after_ms / 1000
        self.clock.note(store_ms, asked_ms=asked_ms)


def test_hosts_whose_clocks_differ_agree_once_the_store_has_answered() -> None:
    hosts = [Host(ahead_s) for ahead_s in (0.0, 10.0, -3600.0)]
    for host in hosts:
        host.hears(1_700_000_000_000)
    assert {host.clock.now_ms() for host in hosts} == {1_700_000_000_000}


def test_the_clock_goes_on_between_two_answers() -> None:
    host = Host(0.0)
    host.hears(5_000_000)
    host.since_boot_s += 2.5
    assert host.clock.now_ms() == 5_002_500


def test_half_of_the_way_there_and_back_has_passed_since_the_store_looked() -> None:
    host = Host(0.0)
    host.hears(5_000_000, after_ms=100)
    assert host.clock.now_ms() == 5_000_050


def test_the_jitter_of_the_network_does_not_set_the_clock_back() -> None:
    host = Host(0.0)
    host.hears(5_000_000)
    host.hears(5_000_000 - TOLERANCE_MS, after_ms=2)
    assert host.clock.now_ms() == 5_000_002


def test_a_store_whose_own_clock_was_set_is_followed() -> None:
    host = Host(0.0)
    host.hears(5_000_000)
    host.hears(9_000_000, after_ms=2)
    assert host.clock.now_ms() == 9_000_001


def test_a_heartbeat_sets_the_clock(place: Place) -> None:
    store = place.store()
    store.clock = StoreClock(wall_s=lambda: time.time() + 3600)
    assert store.clock.now_ms() == pytest.approx((time.time() + 3600) * 1000, abs=1000)
    store.living("w1", ttl_ms=60_000)
    assert store.clock.now_ms() == pytest.approx(time.time() * 1000, abs=1000)
