"""A worker's whole system against the simulator: from the door to the neighbours, and to a stop in time."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pykka
import pytest
from actor_parts import RedisServer, chat_record, make_settings, said, take, wait_for, wants_chat

from bridge.actors import system as system_module
from bridge.actors.store.store import Commit
from bridge.actors.system import System
from bridge.codecs.liveagent.session import read
from bridge.errors import AnswerTimeout, RemoteError, SettingsError
from bridge.messages import ConnectRequest
from bridge.ops.simulator import Simulator
from bridge.records import ChatState

QUICK = {
    "saleforce_chan_rate_limit": "100000",
    "integration_chan_rate_limit": "100000",
    "main_context_time_out": "30",
    "sleep_long_polling_s": "0.2",
}
Run = Callable[..., System]


@pytest.fixture
def run(simulator: Simulator) -> Iterator[Run]:
    running: list[System] = []

    def start(**overrides: str) -> System:
        settings = make_settings(simulator.url, **{"client": f"t-{uuid.uuid4().hex[:8]}", **QUICK, **overrides})
        running.append(system_module.start(settings))
        return running[-1]

    yield start
    for system in running:
        system.stop(3.0)


def who(number: int) -> str:
    return f"52155{number:08d}"


def connect_all(system: System, count: int) -> list[str]:
    """The users whose chats were opened, all at the same time."""
    users = [who(number) for number in range(count)]
    asked = [gevent.spawn(system.door.connect, request_of(user)) for user in users]
    gevent.joinall(asked, timeout=40)
    assert {one.get(block=False).code for one in asked} == {"ok"}
    return users


def request_of(user: str) -> ConnectRequest:
    return wants_chat(user)


def accept_all(simulator: Simulator, count: int) -> None:
    simulator.wait_for(lambda: len(simulator.chats("queued")) + len(simulator.chats("active")) == count, 20)
    for chat in simulator.chats("queued"):
        simulator.accept(chat.id)


def in_state(system: System, state: ChatState) -> int:
    chats: list[dict[str, Any]] = system.snapshot()["interconnections"]
    return sum(chat["state"] == state.value for chat in chats)


# --- from the door to the neighbours ----------------------------------------------------------------------------------


def test_a_chat_from_the_door_to_the_agent_and_back_to_the_bot(simulator: Simulator, run: Run) -> None:
    system, user = run(), who(1)
    assert system.door.health().ready
    assert system.door.connect(request_of(user)).code == "ok"
    simulator.accept(simulator.wait_for_chat())
    assert system.door.post(said("¿me ayudan?", user=user)) == "inbox"
    simulator.wait_for(lambda: "¿me ayudan?" in simulator.agent_texts("last"))
    assert system.door.connect(request_of(user)).code == "exists"
    simulator.say("last", "Claro")
    simulator.wait_for(lambda: "Claro" in simulator.user_texts(user))
    assert system.door.finish(user).code == "ok"
    simulator.wait_for(lambda: simulator.bot_states(user))
    wait_for(lambda: system.store.chat(user) is None)
    assert system.door.finish(user).code == "absent"
    assert system.door.post(said("¿sigues?", user=user)) == "context"
    assert [entry.text for entry in system.door.context(user)] == ["¿sigues?"]
    wait_for(lambda: system.snapshot()["registry"]["interconnections"] == 0)


def test_a_repeat_at_the_door_reaches_the_agent_once(simulator: Simulator, run: Run) -> None:
    system, user = run(), who(1)
    system.door.connect(request_of(user))
    simulator.accept(simulator.wait_for_chat())
    message, last = said("una vez", user=user), said("fin", user=user)
    posted = [gevent.spawn(system.door.post, message) for _ in range(20)]
    gevent.joinall(posted)
    assert sorted(one.get() for one in posted) == ["inbox"] + ["repeat"] * 19
    system.door.post(last)
    simulator.wait_for(lambda: "fin" in simulator.agent_texts())
    assert simulator.agent_texts().count("una vez") == 1


def test_nobody_waits_for_ever_at_the_door(simulator: Simulator, run: Run) -> None:
    # Salesforce answers later than the chat's own deadline, so the chat itself has nothing to answer with.
    system = run(main_context_time_out="1")
    simulator.add_fault("/salesforce/*", delay_s=8.0, times=0)
    began_s = time.monotonic()
    with pytest.raises(AnswerTimeout):
        system.door.connect(request_of(who(1)))
    assert time.monotonic() - began_s < 7


def test_webhooks_are_registered_and_refused_as_the_neighbour_says(simulator: Simulator, run: Run) -> None:
    system = run()
    system.door.register_webhook("whatsapp")
    system.door.remove_webhook("whatsapp")
    simulator.add_fault("/integrations/*", status=400, body="no such bot")
    with pytest.raises(RemoteError):
        system.door.register_webhook("facebook")


@pytest.mark.redis
def test_a_host_whose_clock_is_wrong_opens_chats_all_the_same(
    redis_server: RedisServer, simulator: Simulator, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {"redis_address": redis_server.address, "client": f"t-{uuid.uuid4().hex[:8]}"}
    owner = run(**there)
    real = time.time
    for ahead_s in (-3600.0, 3600.0):
        monkeypatch.setattr(time, "time", lambda ahead_s=ahead_s: real() + ahead_s)
        asker = run(**there)
        monkeypatch.undo()
        user = who(int(abs(ahead_s)) + (ahead_s > 0))
        assert asker.door.connect(request_of(user)).code == "ok"
    assert owner.door.health().ready


# --- starting ---------------------------------------------------------------------------------------------------------


def test_a_system_that_started_owns_everything_and_is_ready(run: Run) -> None:
    system = run(partitions="16")
    snapshot = system.snapshot()
    assert snapshot["worker"]["partitions"] == 16
    assert snapshot["worker"]["durability"] == "none"
    assert snapshot["registry"]["interconnections"] == 0
    assert [pool["busy"] for pool in snapshot["pools"]] == [0] * 6
    health = system.door.health()
    assert (health.ready, health.faults, health.durability) == (True, (), "none")


@pytest.mark.redis
def test_another_number_of_partitions_than_at_first_is_refused(redis_server: RedisServer, run: Run) -> None:
    there = {"redis_address": redis_server.address, "client": f"t-{uuid.uuid4().hex[:8]}"}
    run(partitions="8", **there)
    with pytest.raises(SettingsError, match="PARTITIONS is 16, but this store was first used with 8"):
        run(partitions="16", **there)


@pytest.mark.redis
def test_a_store_that_another_deployment_uses_is_refused(redis_server: RedisServer, run: Run) -> None:
    there = {"redis_address": redis_server.address, "client": f"t-{uuid.uuid4().hex[:8]}"}
    run(**there)
    with pytest.raises(SettingsError, match=r"SFC_DEPLOYMENT_ID is '572other' here and '.+' there.* CLIENT"):
        run(sfc_deployment_id="572other", **there)
    with pytest.raises(SettingsError, match="ENVIRONMENT is 'staging' here and 'dev' there"):
        run(environment="staging", webhook_without_signature="true", **there)
    run(**there)


@pytest.mark.redis
def test_records_of_a_newer_version_are_refused_at_the_start(redis_server: RedisServer, run: Run) -> None:
    there = {"redis_address": redis_server.address, "client": f"t-{uuid.uuid4().hex[:8]}", "partitions": "8"}
    first = run(**there)
    first.stop(3.0)
    store = first.store
    lease = take(store, who(1))
    store.commit(lease, Commit(user_id=who(1), record=chat_record(who(1), version=99)))
    store.release(lease)
    with pytest.raises(SettingsError, match="a newer version of this service wrote: start that version"):
        run(**there)


# --- being asked ------------------------------------------------------------------------------------------------------


def test_the_snapshot_shows_every_chat_and_no_secret(simulator: Simulator, run: Run) -> None:
    system = run()
    users = connect_all(system, 5)
    accept_all(simulator, 5)
    wait_for(lambda: in_state(system, ChatState.ACTIVE) == 5)
    snapshot = system.snapshot()
    assert sorted(chat["user"] for chat in snapshot["interconnections"]) == users
    pools = {"desk control", "desk", "salesforce", "files", "user channel", "bot flow"}
    assert {pool["name"] for pool in snapshot["pools"]} == pools
    keys = [read(system.store.chat(user).session).key for user in users]  # type: ignore[union-attr,arg-type]
    assert not [key for key in keys if key in str(snapshot)]


def test_a_snapshot_is_taken_in_time_though_actors_do_not_answer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_module, "SNAPSHOT_S", 1.0)
    system = run()
    users = connect_all(system, 5)
    gone = gevent.event.Event()
    monkeypatch.setattr(system.store, "commit", lambda *_: gone.wait())
    for user in users:
        system.door.post(said(user=user))
    wait_for(lambda: len(system.snapshot()["interconnections"]) == 0)
    began_s = time.monotonic()
    assert system.snapshot()["registry"]["interconnections"] == 5
    assert time.monotonic() - began_s < 4
    gone.set()


# --- stopping ---------------------------------------------------------------------------------------------------------


def test_an_idle_system_stops_at_once(run: Run) -> None:
    system = run()
    began_s = time.monotonic()
    system.stop(30.0)
    assert time.monotonic() - began_s < 10
    assert pykka.ActorRegistry.get_all() == []
    assert not system.door.health().ready


def test_a_hundred_open_chats_stop_within_the_deadline_and_nothing_is_lost(simulator: Simulator, run: Run) -> None:
    system = run()
    users = connect_all(system, 100)
    accept_all(simulator, 100)
    wait_for(lambda: in_state(system, ChatState.ACTIVE) == 100, 40)
    for user in users:
        system.door.post(said(f"de {user}", user=user))
    began_s = time.monotonic()
    system.stop(15.0)
    assert time.monotonic() - began_s < 15
    assert pykka.ActorRegistry.get_all() == []
    assert simulator.overlapping_polls() == 0
    read = simulator.agent_texts()
    for user in users:
        record = system.store.chat(user)
        assert record is not None
        owed = [delivery.text for delivery in record.to_agent]
        waiting = system.inbox.read(user)
        accounted = read.count(f"de {user}") + owed.count(f"de {user}") + len(waiting)
        assert accounted == 1, f"{user}: read {read.count(f'de {user}')}, owed {owed}, in the inbox {len(waiting)}"
    wait_for(lambda: not [chat for chat in simulator.chats("active") if chat.poll is not None])


def test_whoever_stops_waits_for_the_hand_over_under_way(simulator: Simulator, run: Run) -> None:
    system = run()
    users = connect_all(system, 3)
    accept_all(simulator, 3)
    simulator.wait_for(lambda: len(simulator.agent_texts()) == 3)
    fault = simulator.add_fault("/liveagent/chat/rest/Chasitor/ChatMessage", delay_s=0.5, times=0)
    system.door.post(said("slowly", user=users[0]))
    simulator.wait_for(lambda: fault.hits)
    handing_over = gevent.spawn(system.hand_over, 5.0)
    gevent.sleep(0)
    system.stop(5.0)
    assert handing_over.ready()
    assert handing_over.successful()
    record = system.store.chat(users[0])
    assert record is not None
    assert simulator.agent_texts().count("slowly") == 1
    assert "slowly" not in [owed.text for owed in record.to_agent], "it was taken, and that is not on record"


@pytest.mark.redis
def test_a_bot_state_in_flight_is_told_once_though_its_partition_moves(
    redis_server: RedisServer, simulator: Simulator, run: Run
) -> None:
    there = {"redis_address": redis_server.address, "client": f"t-{uuid.uuid4().hex[:8]}", "partitions": "8"}
    first = run(**there)
    users = connect_all(first, 8)
    accept_all(simulator, 8)
    wait_for(lambda: in_state(first, ChatState.ACTIVE) == 8, 20)
    slow = simulator.add_fault("/botrunner/*", delay_s=5.0, times=0)
    for user in users:
        assert first.door.finish(user).code == "ok"
    simulator.wait_for(lambda: slow.hits >= 8, 10)
    second = run(**there)
    first.stop(16.0)
    simulator.wait_for(lambda: all(simulator.bot_states(user) for user in users), 15)
    wait_for(lambda: all(second.store.chat(user) is None for user in users), 15)
    assert [len(simulator.bot_states(user)) for user in users] == [1] * 8


@pytest.mark.redis
def test_chats_go_on_at_another_worker_with_nothing_lost_and_nothing_twice(
    redis_server: RedisServer, simulator: Simulator, run: Run
) -> None:
    there = {"redis_address": redis_server.address, "client": f"t-{uuid.uuid4().hex[:8]}", "partitions": "16"}
    first = run(**there)
    users = connect_all(first, 30)
    accept_all(simulator, 30)
    wait_for(lambda: in_state(first, ChatState.ACTIVE) == 30, 20)
    talk(first, simulator, users, "one")
    second = run(**there)
    wait_for(lambda: in_state(first, ChatState.ACTIVE) + in_state(second, ChatState.ACTIVE) == 30, 10)
    wait_for(lambda: in_state(second, ChatState.ACTIVE) > 0, 10)
    talk(second, simulator, users, "two")
    first.hand_over(5.0)
    talk(first, simulator, users, "three")
    wait_for(lambda: in_state(second, ChatState.ACTIVE) == 30, 10)
    talk(second, simulator, users, "four")
    for user in users:
        mine = [text for text in simulator.agent_texts() if text.endswith(user)]
        assert mine == [f"{word} {user}" for word in ("one", "two", "three", "four")]
        heard = [text for text in simulator.user_texts(user, repeats=True) if text.endswith(user)]
        assert heard == [f"re {word} {user}" for word in ("one", "two", "three", "four")]
    assert simulator.overlapping_polls() == 0


def talk(system: System, simulator: Simulator, users: list[str], word: str) -> None:
    """Each user says the word, and each agent answers it."""
    for user in users:
        assert system.door.post(said(f"{word} {user}", user=user)) == "inbox"
        simulator.say(f"{user}@example.com", f"re {word} {user}")
    simulator.wait_for(lambda: all(f"{word} {user}" in simulator.agent_texts() for user in users), 15)
    simulator.wait_for(lambda: all(f"re {word} {user}" in simulator.user_texts(user) for user in users), 15)
