"""Fixtures of the front door's tests."""

from __future__ import annotations

import pytest
from front_door import FrontDoorClient, RecordingDoor


@pytest.fixture
def door() -> RecordingDoor:
    return RecordingDoor()


@pytest.fixture
def client(door: RecordingDoor) -> FrontDoorClient:
    return FrontDoorClient(door)
