"""Fixtures of the tests of interconnections."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from actor_parts import (
    Place,
)
from chat_bench import House, Line

from bridge.actors.chats import journal


@pytest.fixture
def line(embedded: Place) -> Line:
    return Line(embedded)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "backoff_s", lambda *_, **__: 0.005)


@pytest.fixture
def house(place: Place) -> Iterator[House]:
    house = House(place)
    yield house
    house.feed.stop()
