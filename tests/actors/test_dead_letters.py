"""Dead letters sent again: each once, and removed by the step that takes it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from actor_parts import RedisServer, make_settings, said, wait_for, wants_chat

from bridge.actors import system as system_module
from bridge.actors.system import System
from bridge.errors import BridgeError
from bridge.ops.dead_letters import DeadLetterOffice
from bridge.ops.simulator import Simulator
from bridge.settings.load import Settings

pytestmark = pytest.mark.redis
USER = "5215573735001"


@pytest.fixture
def settings(redis_server: RedisServer, simulator: Simulator) -> Settings:
    return make_settings(
        simulator.url,
        redis_address=redis_server.address,
        client=f"t-{uuid.uuid4().hex[:8]}",
        partitions="8",
        main_context_time_out="30",
    )


@pytest.fixture
def system(settings: Settings) -> Iterator[System]:
    system = system_module.start(settings)
    yield system
    system.stop(3.0)


def refuse_one(system: System, simulator: Simulator, office: DeadLetterOffice, text: str) -> str:
    """A text that the desk refused; the name of its letter."""
    simulator.add_fault("/liveagent/chat/rest/Chasitor/ChatMessage", status=400, times=1)
    assert system.door.post(said(text, user=USER)) == "inbox"
    [(name, _)] = wait_for(office.letters, 10)
    return name


def open_chat(system: System, simulator: Simulator) -> None:
    assert system.door.connect(wants_chat(USER)).code == "ok"
    simulator.accept(simulator.wait_for_chat())
    simulator.wait_for(lambda: simulator.agent_texts())


def test_a_letter_that_is_sent_again_reaches_the_agent_of_the_same_chat_once(
    settings: Settings, system: System, simulator: Simulator
) -> None:
    office = DeadLetterOffice(settings)
    open_chat(system, simulator)
    name = refuse_one(system, simulator, office, "muy importante")
    [(_, letter)] = office.letters()
    office.send(name, letter)
    office.send(name, letter) if office.letters([name]) else None
    simulator.wait_for(lambda: "muy importante" in simulator.agent_texts())
    wait_for(lambda: office.letters() == [])
    system.door.post(said("fin", user=USER))
    simulator.wait_for(lambda: "fin" in simulator.agent_texts())
    assert simulator.agent_texts().count("muy importante") == 1
    with pytest.raises(BridgeError, match="sent or dropped meanwhile"):
        office.send(name, letter)


def test_a_letter_that_is_sent_again_without_a_chat_becomes_context(
    settings: Settings, system: System, simulator: Simulator
) -> None:
    office = DeadLetterOffice(settings)
    open_chat(system, simulator)
    name = refuse_one(system, simulator, office, "muy importante")
    [(_, letter)] = office.letters()
    assert system.door.finish(USER).code == "ok"
    wait_for(lambda: system.store.chat(USER) is None, 10)
    office.send(name, letter)
    wait_for(lambda: office.letters() == [])
    assert [entry.text for entry in system.door.context(USER)] == ["muy importante"]


def test_a_letter_stays_until_a_chat_has_taken_it(settings: Settings, system: System, simulator: Simulator) -> None:
    office = DeadLetterOffice(settings)
    open_chat(system, simulator)
    name = refuse_one(system, simulator, office, "muy importante")
    system.stop(3.0)
    [(_, letter)] = office.letters()
    office.send(name, letter)
    assert [name for name, _ in office.letters()] == [name]
