"""A store that lost its last writes: it is noticed, and every chat goes on from what is on record."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from actor_parts import RedisServer, make_settings, said, wait_for, wants_chat
from gevent.event import Event

from bridge.actors import system as system_module
from bridge.actors.system import System
from bridge.messages import UserMessageReceived
from bridge.ops.simulator import Simulator
from bridge.records import ChatState

pytestmark = pytest.mark.redis
USER = "5215573735001"


class Past:
    """Everything of one tenant as it was at one moment, as a replica that was promoted has it."""

    def __init__(self, server: RedisServer, client: str) -> None:
        self._redis = server.client()
        self._names = f"bridge:{client}:*"
        self._dumps = {
            name: (self._redis.dump(name), max(self._redis.pttl(name), 0))  # type: ignore[type-var]
            for name in self._redis.scan_iter(match=self._names)
        }

    def returns(self) -> None:
        """The store is again as it was; leases go on, because they run by time."""
        with self._redis.pipeline(transaction=True) as pipe:
            for name in self._redis.scan_iter(match=self._names):
                pipe.delete(name)
            for name, (dump, ttl_ms) in self._dumps.items():
                pipe.restore(name, int(ttl_ms), dump)  # type: ignore[arg-type]
            pipe.execute()


class Worker:
    """A worker whose commits can be held back."""

    def __init__(self, simulator: Simulator, server: RedisServer) -> None:
        self.client = f"t-{uuid.uuid4().hex[:8]}"
        self.server = server
        self.simulator = simulator
        settings = make_settings(
            simulator.url, redis_address=server.address, client=self.client, partitions="8", main_context_time_out="30"
        )
        self.system: System = system_module.start(settings)
        self.door = self.system.door
        self._commit = self.system.store.commit
        self._gate = Event()
        self._gate.set()
        self.system.store.commit = self._when_open  # type: ignore[method-assign]

    def _when_open(self, *args: Any) -> None:
        self._gate.wait()
        self._commit(*args)

    def open_chat(self) -> None:
        assert self.door.connect(wants_chat(USER)).code == "ok"
        self.accept_last()
        wait_for(lambda: self.state is ChatState.ACTIVE)
        wait_for(self._nothing_owed)

    def accept_last(self) -> None:
        chat = self.simulator.wait_for(lambda: self.simulator.chats("queued"))[-1]
        self.simulator.accept(chat.id)

    @property
    def state(self) -> ChatState | None:
        record = self.system.store.chat(USER)
        return record.state if record else None

    def _nothing_owed(self) -> bool:
        record = self.system.store.chat(USER)
        return record is not None and not record.to_agent

    def before_the_commits_of(self, act: Callable[[], None], *, entries: int) -> Past:
        """What a replica has that got these entries and not the commits that they led to."""
        self._gate.clear()
        act()
        wait_for(lambda: len(self.system.inbox.read(USER)) == entries)
        past = Past(self.server, self.client)
        self._gate.set()
        return past


@pytest.fixture
def worker(simulator: Simulator, redis_server: RedisServer) -> Iterator[Worker]:
    worker = Worker(simulator, redis_server)
    yield worker
    worker.system.stop(3.0)


def says(worker: Worker, text: str) -> None:
    message = said(text, user=USER)
    assert worker.door.post(message) == "inbox"


def test_a_message_whose_commit_was_lost_is_applied_again_and_the_agent_reads_it_once(
    worker: Worker, simulator: Simulator
) -> None:
    worker.open_chat()
    past = worker.before_the_commits_of(lambda: says(worker, "uno"), entries=1)
    simulator.wait_for(lambda: "uno" in simulator.agent_texts())
    wait_for(lambda: worker.system.inbox.read(USER) == [])
    past.returns()
    says(worker, "dos")
    simulator.wait_for(lambda: "dos" in simulator.agent_texts(), 10)
    wait_for(lambda: worker.system.inbox.read(USER) == [])
    assert [text for text in simulator.agent_texts() if text in ("uno", "dos")] == ["uno", "dos"]


def test_a_store_that_went_back_is_noticed_though_nobody_writes(worker: Worker, simulator: Simulator) -> None:
    worker.open_chat()
    past = worker.before_the_commits_of(lambda: says(worker, "uno"), entries=1)
    simulator.wait_for(lambda: "uno" in simulator.agent_texts())
    wait_for(lambda: worker.system.inbox.read(USER) == [])
    past.returns()
    assert len(worker.system.inbox.read(USER)) == 1
    wait_for(lambda: worker.system.inbox.read(USER) == [], 10)


def test_entries_that_come_back_after_their_chat_ended_never_reach_the_next_chat(
    worker: Worker, simulator: Simulator
) -> None:
    def write_and_finish() -> None:
        says(worker, "mi pedido")
        finishing.append(gevent.spawn(worker.door.finish, USER))

    finishing: list[gevent.Greenlet] = []
    worker.open_chat()
    past = worker.before_the_commits_of(write_and_finish, entries=2)
    assert finishing[0].get(timeout=10).code == "ok"
    wait_for(lambda: worker.state is None, 10)
    past.returns()
    assert worker.state is ChatState.ACTIVE
    wait_for(lambda: worker.state is None, 15)
    assert worker.system.inbox.read(USER) == []
    worker.open_chat()
    says(worker, "otra cosa")
    simulator.wait_for(lambda: "otra cosa" in simulator.agent_texts("last"), 10)
    assert "mi pedido" not in simulator.agent_texts("last")
    assert worker.state is ChatState.ACTIVE


def test_a_chat_that_begins_before_the_loss_is_noticed_does_not_replace_the_one_on_record(
    worker: Worker, simulator: Simulator
) -> None:
    worker.open_chat()
    past = worker.before_the_commits_of(lambda: says(worker, "uno"), entries=1)
    assert worker.door.finish(USER).code == "ok"
    wait_for(lambda: worker.state is None, 10)
    past.returns()
    answer = worker.door.connect(wants_chat(USER))
    assert answer.code in ("exists", "ok")
    assert len(simulator.chats("queued")) == (1 if answer.code == "ok" else 0)


# --- entries of another chat ------------------------------------------------------------------------------------------


def test_a_message_that_was_posted_in_a_chat_that_is_over_becomes_context_in_the_next(
    worker: Worker, simulator: Simulator
) -> None:
    worker.open_chat()
    message = said("de antes", user=USER)
    worker.system.inbox.append(UserMessageReceived(message), "an-earlier-chat")
    wait_for(lambda: worker.system.inbox.read(USER) == [])
    says(worker, "de ahora")
    simulator.wait_for(lambda: "de ahora" in simulator.agent_texts())
    assert "de antes" not in simulator.agent_texts()
    assert [entry.text for entry in worker.door.context(USER)] == ["de antes"]
