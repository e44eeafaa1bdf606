"""Every test here is an attack, and the service is the same for all of one file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attack_target import Target

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.attacks)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with Target(tmp_path_factory.mktemp("target")) as running:
        yield running
