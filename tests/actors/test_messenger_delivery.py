"""One Messenger delivery with the events of several users, through the front door into a real store."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import falcon.testing
import msgspec
import pytest
from actor_parts import make_settings, wants_chat

from bridge.actors import system as system_module
from bridge.actors.system import System
from bridge.http.app import create_app
from bridge.ops.simulator import Simulator

WEBHOOK = "/v1/integrations/facebook/webhook"
BUSY, OTHER = "5018811078134037", "5018811078134099"


@pytest.fixture
def system(simulator: Simulator) -> Iterator[System]:
    system = system_module.start(make_settings(simulator.url, client=f"t-{uuid.uuid4().hex[:8]}", mailbox_limit="2"))
    yield system
    system.stop(3.0)


@pytest.fixture
def client(system: System, simulator: Simulator) -> falcon.testing.TestClient:
    return falcon.testing.TestClient(create_app(system.door, make_settings(simulator.url)))


def deliver(client: falcon.testing.TestClient, *said: tuple[str, str]) -> int:
    events: list[dict[str, Any]] = [
        {"sender": {"id": user}, "timestamp": 1_764_000_000_000, "message": {"mid": f"m-{user}-{text}", "text": text}}
        for user, text in said
    ]
    status: int = client.simulate_post(WEBHOOK, json={"message": {"entry": [{"messaging": events}]}}).status_code
    return status


def test_a_full_chat_costs_the_other_users_of_a_delivery_nothing(
    system: System, client: falcon.testing.TestClient
) -> None:
    request = msgspec.structs.replace(wants_chat(BUSY), provider="facebook")
    assert system.door.connect(request).code == "ok"
    assert deliver(client, (BUSY, "1"), (BUSY, "2")) == 200
    assert deliver(client, (BUSY, "3"), (OTHER, "hola"), (BUSY, "4")) == 503
    assert [entry.text for entry in system.door.context(OTHER)] == ["hola"]
    assert deliver(client, (OTHER, "hola")) == 200
    assert [entry.text for entry in system.door.context(OTHER)] == ["hola"]
