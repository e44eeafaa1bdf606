"""The seam of the inbox: what every engine keeps, and a second engine that carries whole chats."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gevent
import pytest
from actor_parts import Heard, Place, RedisServer, chat_record, make_settings, said, settle, take, wait_for, wants_chat
from log_inbox import Log, LogInbox

from bridge.actors import system as system_module
from bridge.actors.inbox.engine import InboxEngine
from bridge.actors.inbox.redis import RedisInbox
from bridge.actors.leases import Lease
from bridge.actors.protocol import Entry
from bridge.actors.store.store import Commit, Store
from bridge.actors.system import System
from bridge.errors import Fenced, MailboxFull
from bridge.messages import UserMessage, UserMessageReceived
from bridge.ops.simulator import Simulator
from bridge.records import ChatRecord

USER = "5215573735001"


class Carrier:
    """One engine with a store of its own, and a user with an open chat."""

    def __init__(self, place: Place, make: Callable[[], InboxEngine]) -> None:
        self.place = place
        self.make = make
        self.engine = make()
        self.store = Store(
            place.connections, place.keys, client=place.client, mailbox_limit=5, engine=self.engine.scripts
        )
        self.partition = place.keys.partition(USER)
        self.lease: Lease = take(self.store, self.partition)
        self.record: ChatRecord = chat_record(USER)
        self.store.commit(self.lease, Commit(user_id=USER, record=self.record))
        self._running: list[InboxEngine] = []

    def posts(self, *texts: str) -> list[str]:
        return [self.post(said(text, user=USER)) for text in texts]

    def post(self, message: UserMessage) -> str:
        return self.store.post(message, UserMessageReceived(message), append=self.engine.append)

    def reads(self, heard: Heard, engine: InboxEngine | None = None) -> InboxEngine:
        engine = engine or self.make()
        engine.start(heard.ref)
        self._running.append(engine)
        engine.assigned(self.partition)
        return engine

    def records(self, engine: InboxEngine, *entries: Entry) -> None:
        """The commit of a step that these entries led to, without a change of the chat."""
        ids = [entry.entry_id for entry in entries]
        position = engine.position(self.partition, ids)
        self.store.commit(self.lease, Commit(user_id=USER, position=position))
        engine.recorded(self.partition, ids)

    def stop(self) -> None:
        for engine in self._running:
            engine.stop()


@pytest.fixture(params=["redis", "log"])
def carrier(request: pytest.FixtureRequest, place: Place) -> Iterator[Carrier]:
    log = Log()
    make: dict[str, Callable[[], Any]] = {
        "redis": lambda: RedisInbox(place.connections, place.keys, block_s=0.05),
        "log": lambda: LogInbox(log, place.connections, place.keys),
    }
    carrier = Carrier(place, make[request.param])
    yield carrier
    carrier.stop()


def texts(entries: list[Entry]) -> list[str]:
    return [entry.event.message.text for entry in entries if isinstance(entry.event, UserMessageReceived)]


def heard_texts(heard: Heard, count: int) -> list[str]:
    entries = heard.wait_for(Entry, count)
    settle()
    assert len(heard.of(Entry)) == count
    return texts(entries)


# --- what every engine keeps ------------------------------------------------------------------------------------------


def test_what_is_posted_is_told_in_order_with_the_chat_that_was_open(carrier: Carrier) -> None:
    heard = Heard()
    carrier.posts("1", "2")
    carrier.reads(heard)
    assert carrier.posts("3") == ["inbox"]
    assert heard_texts(heard, 3) == ["1", "2", "3"]
    assert {entry.chat_id for entry in heard.of(Entry)} == {carrier.record.chat_id}


def test_a_message_that_comes_again_is_appended_once(carrier: Carrier) -> None:
    message = said("once", user=USER)
    assert [carrier.post(message) for _ in range(3)] == ["inbox", "repeat", "repeat"]
    assert texts(carrier.engine.read(USER)) == ["once"]


def test_a_mailbox_has_a_limit_with_every_engine(carrier: Carrier) -> None:
    carrier.posts("1", "2", "3", "4", "5")
    with pytest.raises(MailboxFull):
        carrier.posts("6")


def test_what_no_commit_recorded_is_told_to_the_next_reader_and_nothing_else_is(carrier: Carrier) -> None:
    first, second = Heard(), Heard()
    carrier.posts("1", "2", "3", "4")
    engine = carrier.reads(first)
    entries = first.wait_for(Entry, 4)
    carrier.records(engine, entries[0])
    carrier.records(engine, entries[2])
    assert texts(carrier.engine.read(USER)) == ["2", "4"]
    engine.revoked([carrier.partition])
    carrier.reads(second)
    assert heard_texts(second, 2) == ["2", "4"]


def test_a_commit_under_way_does_not_move_the_place_past_an_earlier_entry(carrier: Carrier) -> None:
    heard = Heard()
    carrier.posts("1", "2")
    engine = carrier.reads(heard)
    first, second = heard.wait_for(Entry, 2)
    engine.position(carrier.partition, [first.entry_id])
    carrier.records(engine, second)
    assert texts(carrier.engine.read(USER)) == ["1"], "the first commit was never written"


def test_a_fenced_commit_records_nothing(carrier: Carrier) -> None:
    heard = Heard()
    carrier.posts("1")
    engine = carrier.reads(heard)
    [entry] = heard.wait_for(Entry)
    carrier.store.release(carrier.lease)
    with pytest.raises(Fenced):
        carrier.records(engine, entry)
    assert texts(carrier.engine.read(USER)) == ["1"]


def test_a_partition_that_was_revoked_is_told_no_more(carrier: Carrier) -> None:
    heard = Heard()
    engine = carrier.reads(heard)
    carrier.posts("1")
    heard_texts(heard, 1)
    engine.revoked([carrier.partition])
    carrier.posts("2")
    settle()
    assert texts(heard.of(Entry)) == ["1"]


# --- whole chats through the second engine ----------------------------------------------------------------------------

Run = Callable[..., System]


@pytest.fixture
def run(simulator: Simulator, redis_server: RedisServer) -> Iterator[Run]:
    running: list[System] = []
    log = Log()
    there = {
        "redis_address": redis_server.address,
        "client": f"t-{uuid.uuid4().hex[:8]}",
        "partitions": "8",
        "main_context_time_out": "30",
    }

    def start() -> System:
        running.append(system_module.start(make_settings(simulator.url, **there), partial(LogInbox, log)))
        return running[-1]

    yield start
    for system in running:
        system.stop(3.0)


def open_chats(system: System, simulator: Simulator, users: list[str]) -> None:
    asked = [gevent.spawn(system.door.connect, wants_chat(user)) for user in users]
    gevent.joinall(asked, timeout=40)
    assert {one.get(block=False).code for one in asked} == {"ok"}
    simulator.wait_for(lambda: len(simulator.chats("queued")) == len(users), 20)
    for chat in simulator.chats("queued"):
        simulator.accept(chat.id)


@pytest.mark.redis
def test_a_log_carries_a_chat_from_the_door_to_the_agent_and_to_its_end(run: Run, simulator: Simulator) -> None:
    system = run()
    open_chats(system, simulator, [USER])
    simulator.wait_for(lambda: simulator.agent_texts("last"))
    assert system.door.connect(wants_chat(USER)).code == "exists"
    assert system.door.post(said("¿me ayudan?", user=USER)) == "inbox"
    simulator.wait_for(lambda: "¿me ayudan?" in simulator.agent_texts("last"))
    simulator.say("last", "Claro")
    simulator.wait_for(lambda: "Claro" in simulator.user_texts(USER))
    assert system.door.finish(USER).code == "ok"
    simulator.wait_for(lambda: simulator.bot_states(USER))
    wait_for(lambda: system.store.chat(USER) is None)
    assert system.door.finish(USER).code == "absent"
    assert system.inbox.read(USER) == []


@pytest.mark.redis
def test_a_log_carries_chats_from_one_worker_to_the_next_with_nothing_lost_and_nothing_twice(
    run: Run, simulator: Simulator
) -> None:
    first, users = run(), [f"52155{number:08d}" for number in range(10)]
    open_chats(first, simulator, users)
    second = run()
    for word in ("one", "two", "three"):
        for user in users:
            assert (first if word == "one" else second).door.post(said(f"{word} {user}", user=user)) == "inbox"
        if word == "two":
            first.hand_over(5.0)
    simulator.wait_for(lambda: all(f"three {user}" in simulator.agent_texts() for user in users), 20)
    for user in users:
        mine = [text for text in simulator.agent_texts() if text.endswith(user)]
        assert mine == [f"{word} {user}" for word in ("one", "two", "three")]
    assert simulator.overlapping_polls() == 0
    wait_for(lambda: all(second.inbox.read(user) == [] for user in users))
