"""The seam: a third channel, known to nothing outside this folder, carries a whole chat."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from collections.abc import Iterator
from typing import Any

import falcon.testing
import pytest
from cloud_channel import CloudChannel
from graph_api import TOKEN, GraphApi

from bridge.actors import system as system_module
from bridge.actors.system import System
from bridge.channels.channel import Channels
from bridge.channels.table import channels as channels_of
from bridge.errors import RemoteRefused
from bridge.http.app import create_app
from bridge.messages import ConnectRequest
from bridge.ops.simulator import Simulator
from bridge.ops.simulator.environ import sandbox_environ
from bridge.settings.load import Settings, load_settings

USER = "5215512345678"
SECRET, VERIFY = "app-secret", "verify-me"
WEBHOOK = "/v1/integrations/whatsapp/webhook"


@pytest.fixture
def graph() -> Iterator[GraphApi]:
    graph = GraphApi()
    yield graph
    graph.close()


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(hold_s=2) as simulator:
        yield simulator


@pytest.fixture
def settings(simulator: Simulator) -> Settings:
    return load_settings(sandbox_environ(simulator.url, client=f"t-{uuid.uuid4().hex[:8]}"))


@pytest.fixture
def channels(settings: Settings, graph: GraphApi) -> Channels:
    cloud = CloudChannel(graph.url, number_id="123", token=TOKEN, app_secret=SECRET, verify_token=VERIFY)
    return {**channels_of(settings), "whatsapp": cloud}


@pytest.fixture
def system(settings: Settings, channels: Channels) -> Iterator[System]:
    system = system_module.start(settings, channels=channels)
    yield system
    system.stop(3.0)


@pytest.fixture
def client(system: System, settings: Settings, channels: Channels) -> falcon.testing.TestClient:
    return falcon.testing.TestClient(create_app(system.door, settings, channels))


def deliver(client: falcon.testing.TestClient, message: dict[str, Any], *, secret: str = SECRET) -> int:
    entry = {"changes": [{"value": {"messages": [{"from": USER, "timestamp": "1764000000", **message}]}}]}
    body = json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()
    signature = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    status: int = client.simulate_post(WEBHOOK, body=body, headers={"X-Hub-Signature-256": signature}).status_code
    return status


def test_the_sender_checks_the_url_by_a_challenge(client: falcon.testing.TestClient) -> None:
    query = {"hub.mode": "subscribe", "hub.verify_token": VERIFY, "hub.challenge": "1158201444"}
    given = client.simulate_get(WEBHOOK, params=query)
    assert (given.status_code, given.text) == (200, "1158201444")
    assert client.simulate_get(WEBHOOK, params={**query, "hub.verify_token": "other"}).status_code == 403
    assert client.simulate_get(WEBHOOK).status_code == 403


def test_a_channel_without_a_challenge_answers_a_get_as_before(client: falcon.testing.TestClient) -> None:
    assert client.simulate_get("/v1/integrations/facebook/webhook").status_code == 405


def test_only_the_apps_secret_signs_a_webhook(client: falcon.testing.TestClient) -> None:
    text = {"id": "wamid.a", "type": "text", "text": {"body": "Hola"}}
    assert deliver(client, text, secret="other") == 403
    assert client.simulate_post(WEBHOOK, json={}).status_code == 403
    assert deliver(client, text) == 200


def test_a_webhook_that_only_a_person_can_register_says_so(system: System) -> None:
    with pytest.raises(RemoteRefused, match="dashboard"):
        system.door.register_webhook("whatsapp")


def test_a_chat_runs_over_the_third_channel(
    simulator: Simulator, graph: GraphApi, system: System, client: falcon.testing.TestClient
) -> None:
    request = ConnectRequest(
        user_id=USER, bot_slug="shop", bot_id="1", name="Ana", provider="whatsapp", email="ana@example.com"
    )
    assert system.door.connect(request).code == "ok"
    chat = simulator.wait_for(lambda: simulator.chats("queued"))[0]
    simulator.accept(chat.id)

    assert deliver(client, {"id": "wamid.1", "type": "text", "text": {"body": "¿Dónde está mi pedido?"}}) == 200
    simulator.wait_for(lambda: "¿Dónde está mi pedido?" in simulator.agent_texts(chat.id))

    simulator.say(chat.id, "x" * 5000)
    simulator.wait_for(lambda: [len(sent["text"]["body"]) for sent in graph.sent][-2:] == [4096, 904])
    assert {sent["to"] for sent in graph.sent} == {f"+{USER}"}

    graph.files["media-7"] = b"\xff\xd8jpeg"
    image = {"id": "media-7", "mime_type": "image/jpeg", "sha256": "x"}
    assert deliver(client, {"id": "wamid.2", "type": "image", "image": image}) == 200
    [version] = simulator.wait_for(lambda: simulator.records("ContentVersion"))
    assert version["PathOnClient"].endswith(".jpg")
