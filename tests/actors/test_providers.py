"""One id at two providers is two users: what one of them says never reaches the other's chat."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from actor_parts import RedisServer, active_chat, make_settings, said, take, wait_for, wants_chat

from bridge.actors import system as system_module
from bridge.actors.store.store import Commit
from bridge.actors.system import System
from bridge.messages import ConnectRequest, Provider, user_key
from bridge.ops.simulator import Simulator
from bridge.records import ChatState

pytestmark = pytest.mark.redis
USER = "5215573735001"
MESSENGER = user_key(USER, "facebook")


@pytest.fixture
def there(redis_server: RedisServer) -> dict[str, str]:
    return {
        "redis_address": redis_server.address,
        "client": f"t-{uuid.uuid4().hex[:8]}",
        "partitions": "8",
        "main_context_time_out": "30",
    }


@pytest.fixture
def system(simulator: Simulator, there: dict[str, str]) -> Iterator[System]:
    system = system_module.start(make_settings(simulator.url, **there))
    yield system
    system.stop(3.0)


def asks(provider: Provider) -> ConnectRequest:
    return msgspec.structs.replace(wants_chat(USER), provider=provider, email=f"{provider}@example.com")


def open_chat(system: System, simulator: Simulator, provider: Provider) -> str:
    """The id of the chat at the desk."""
    assert system.door.connect(asks(provider)).code == "ok"
    chat = simulator.wait_for(lambda: simulator.chats("queued"))[0]
    simulator.accept(chat.id)
    wait_for(lambda: (record := system.store.chat(user_key(USER, provider))) and record.state is ChatState.ACTIVE)
    return chat.id


def test_one_id_at_two_providers_has_two_chats_and_each_agent_reads_its_own(
    system: System, simulator: Simulator
) -> None:
    chats = {provider: open_chat(system, simulator, provider) for provider in ("whatsapp", "facebook")}
    for provider in ("whatsapp", "facebook"):
        assert system.door.post(said(f"de {provider}", user=USER, provider=provider)) == "inbox"
    for provider, chat_id in chats.items():
        simulator.wait_for(lambda chat_id=chat_id, text=f"de {provider}": text in simulator.agent_texts(chat_id))
    assert "de facebook" not in simulator.agent_texts(chats["whatsapp"])
    assert "de whatsapp" not in simulator.agent_texts(chats["facebook"])
    assert system.door.finish(USER).code == "ok"
    wait_for(lambda: system.store.chat(USER) is None and system.store.chat(MESSENGER) is None, 15)
    assert system.door.finish(USER).code == "absent"


def test_what_a_user_of_another_provider_says_is_context_of_that_user(system: System, simulator: Simulator) -> None:
    chat_id = open_chat(system, simulator, "whatsapp")
    assert system.door.post(said("ajeno", user=USER, provider="facebook")) == "context"
    system.door.post(said("propio", user=USER))
    simulator.wait_for(lambda: "propio" in simulator.agent_texts(chat_id))
    assert "ajeno" not in simulator.agent_texts(chat_id)
    assert [entry.text for entry in system.door.context(USER)] == ["ajeno"]
    assert system.store.context(USER) == []


def test_a_messenger_chat_of_an_earlier_version_is_found_and_moves_to_its_own_key(
    simulator: Simulator, there: dict[str, str]
) -> None:
    settings = make_settings(simulator.url, **there)
    first = system_module.System(settings)
    store = first.store
    record = active_chat(USER)
    record.request = asks("facebook")
    lease = take(store, USER)
    store.commit(lease, Commit(user_id=USER, record=record))
    raw: Any = store._redis
    raw.hdel(store.keys.of(lease.partition, "versions"), USER)
    assert first.door.post(said("en el cambio", user=USER, provider="facebook")) == "inbox"
    store.release(lease)
    second = system_module.start(settings)
    try:
        wait_for(lambda: second.store.chat(MESSENGER))
        assert second.store.chat(USER) is None
        wait_for(lambda: second.inbox.read(MESSENGER) == [])
        assert [entry.text for entry in second.store.context(USER)] == []
    finally:
        second.stop(3.0)
