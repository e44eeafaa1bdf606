"""A chat at a desk that is not Live Agent: the real interconnection, rules, record and store serve it unchanged."""

from __future__ import annotations

import ast
from pathlib import Path

import gevent
import pytest
from actor_parts import Heard, Place, make_settings, received, take, wait_for, wants_chat
from chat_bench import USER

import bridge.chat
from bridge.actors.base import Ref
from bridge.actors.chats.interconnection import ChatContext, Interconnection
from bridge.actors.chats.polling import polls_at
from bridge.actors.protocol import Idle, Request, Resume, Snapshot, carry_out
from bridge.chat.policy import ChatPolicy
from bridge.commands import TERMS, Command, EnsureContact, OpenCase, Pool, SendToUser, TellBot
from bridge.desk import Desk
from bridge.events import BotTold, CaseOpened, ContactReady, DeliveredToUser, Event
from bridge.messages import ConnectRequested, FinishRequested, InboxEvent
from bridge.settings import wiring

from memory_desk import MemoryDesk  # isort: skip


class Others:
    """Salesforce's records, the user's channel and the bot flow: each does what it is asked."""

    def __init__(self) -> None:
        self.user_read: list[str] = []
        self.bot_states: list[str] = []

    def serve(self, command: Command) -> tuple[Event, ...]:
        match command:
            case EnsureContact():
                return (ContactReady("003"),)
            case OpenCase():
                return (CaseOpened("500"),)
            case SendToUser(_, delivery):
                self.user_read.append(delivery.text)
                return (DeliveredToUser(delivery.id),)
            case TellBot(_, state):
                self.bot_states.append(state)
                return (BotTold(),)
            case _:
                raise NotImplementedError(type(command).__name__)


class Talk:
    """One user, whose chat is at the memory desk."""

    def __init__(self, place: Place) -> None:
        self.desk, self.others = MemoryDesk(), Others()
        self.store, self.inbox, self.registry = place.store(), place.engine(), Heard()
        texts = wiring.texts(make_settings(), {"whatsapp": 4096, "facebook": 2000})
        policy = ChatPolicy(texts=texts, bot_delay_s={"blocked": 0.0, "timeout": 0.0, "success": 0.0})
        desk: Desk = self.desk
        self.context = ChatContext(self.store, policy, self.send, polls_at(desk.serve), desk.describe, self.inbox)
        self.lease = take(self.store, USER)
        self.begin()

    def begin(self) -> None:
        record = self.store.chat(USER)
        self.ref: Ref = Interconnection.start(
            self.context, USER, self.lease, registry=self.registry.ref, record=record, first_poll_delay_s=0.0
        )
        if record is not None:
            self.ref.tell(Resume())

    def send(self, request: Request) -> None:
        at_desk = TERMS[type(request.command)].pool in (Pool.DESK, Pool.CONTROL)
        gevent.spawn(carry_out, self.desk.serve if at_desk else self.others.serve, request)

    def happens(self, event: InboxEvent) -> None:
        self.inbox.append(event)
        self.ref.tell(self.inbox.read(USER)[-1])

    @property
    def agent_read(self) -> list[str]:
        return list(self.desk.received.values())


@pytest.fixture
def talk(embedded: Place) -> Talk:
    return Talk(embedded)


def talking(talk: Talk) -> None:
    """A chat with an agent, who has read the welcome."""
    talk.happens(ConnectRequested(wants_chat(USER)))
    wait_for(lambda: talk.others.user_read == ["Esperando un agente"])
    talk.desk.accepts("Luz")
    wait_for(lambda: len(talk.agent_read) == 1)


def test_a_whole_chat_is_held_at_another_desk(talk: Talk) -> None:
    talking(talk)
    talk.happens(received("hola"))
    wait_for(lambda: talk.agent_read[1:] == ["hola"])
    talk.desk.writes("¿en qué puedo ayudar?")
    talk.desk.ends()
    talk.registry.wait_for(Idle)
    assert talk.others.user_read[1:] == ["¿en qué puedo ayudar?"]
    assert talk.others.bot_states == ["success"]
    assert talk.store.chat(USER) is None


def test_a_session_of_another_desk_is_repaired_and_nothing_is_lost(talk: Talk) -> None:
    talking(talk)
    talk.desk.moves()
    talk.happens(received("uno"))
    talk.happens(received("dos"))
    wait_for(lambda: talk.agent_read[1:] == ["uno", "dos"])
    talk.desk.writes("sí")
    wait_for(lambda: talk.others.user_read[1:] == ["sí"])


def test_a_chat_at_another_desk_is_restored_from_its_record(talk: Talk) -> None:
    talking(talk)
    talk.desk.writes("uno")
    wait_for(lambda: talk.others.user_read[1:] == ["uno"])
    talk.ref.stop()
    talk.begin()
    talk.desk.writes("dos")
    wait_for(lambda: talk.others.user_read[1:] == ["uno", "dos"])
    snapshot = talk.ref.ask(Snapshot(), timeout=5)
    assert isinstance(snapshot, dict)
    assert snapshot["at_desk"] == {"last_event": 4}
    talk.happens(FinishRequested(USER))
    wait_for(lambda: talk.desk.left)


def test_the_rules_import_no_desk() -> None:
    folder = Path(bridge.chat.__file__).parent
    imported = {
        node.module
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module
    }
    assert not [name for name in imported if name.startswith("bridge.codecs")]
