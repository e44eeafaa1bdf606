"""Fixtures of the fault tests: hosts that most of them share, and what has to hold after each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fault_bench import Bench, benches


@pytest.fixture(scope="session")
def pair() -> Iterator[Bench]:
    """Two hosts of two workers on one durable Redis."""
    with benches(hosts=2, workers=2) as bench:
        yield bench


@pytest.fixture
def bench(pair: Bench) -> Iterator[Bench]:
    """The shared hosts, all up; afterwards no poll has overlapped and nothing crashed."""
    pair.clear()
    overlaps, logged = pair.overlaps(), len(pair.hosts.log_text())
    yield pair
    log = pair.hosts.log_text()[logged:]
    print(log[-20_000:])  # pytest shows it where a test failed
    assert "Traceback" not in log
    assert pair.overlaps() == overlaps
    pair.clear()
