"""No connection holds a worker or ends it: not by what it sends, not by what it does not send or read."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest
from attack_target import Target, attack, slowest_live_s

# Below Gunicorn's `timeout`, after which the master kills a frozen worker; what is measured is far shorter.
LONGEST_S = 3.0
ENDLESS_S = 6.0
HELD_S = 4.0
FEW_FILES = 1024


@pytest.fixture(scope="module")
def small_target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A service that may open few files, so that a flood of connections reaches its limit at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = Target(tmp_path_factory.mktemp("small"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW_FILES, hard))
    try:
        target.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        target.wait_until_ready()
        yield target
    finally:
        target.stop()


def withstands(target: Target, name: str, seconds: float) -> None:
    before = target.worker_pids()
    with attack(name, target.port, seconds) as attacker:
        slowest_s = slowest_live_s(target, attacker)
    print(f"{name}: slowest /v1/live {slowest_s:.3f} s")
    assert target.worker_pids() == before
    assert slowest_s < LONGEST_S


@pytest.mark.parametrize("name", ["drain-length", "drain-chunk1", "webhook-chunk1", "auth-chunk1"])
def test_a_body_without_end_delays_nobody(target: Target, name: str) -> None:
    withstands(target, name, ENDLESS_S)


@pytest.mark.parametrize("name", ["idle-flood", "slow-heads", "slow-bodies", "slow-readers"])
def test_connections_that_wait_keep_nobody_out(small_target: Target, name: str) -> None:
    withstands(small_target, name, HELD_S)


def test_a_flood_of_connections_leaves_no_line_without_a_level(small_target: Target) -> None:
    """An error of a greenlet is a line of the log like any other: one JSON object."""
    withstands(small_target, "idle-flood", 1.0)
    assert [line for line in small_target.log_text().splitlines() if not line.startswith("{")] == []
