"""The world of the model: one user, one partition, two workers, a store that can lose its last writes."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import fakeredis

from bridge.actors.inbox.redis import RedisInbox
from bridge.actors.store.commands import Commands
from bridge.actors.store.connections import Connections
from bridge.actors.store.letters import Letters
from bridge.actors.store.store import Store
from bridge.chat.policy import ChatPolicy
from bridge.commands import Poll, SendToAgent
from bridge.errors import BridgeError
from bridge.keys import Keys
from bridge.messages import ConnectRequest, ConnectRequested, FinishRequested, UserMessage, UserMessageReceived
from bridge.ops.model.remotes import DeskChat, Remotes, accept, write
from bridge.ops.model.worker import Sent, Worker
from bridge.ops.simulator.environ import sandbox_environ
from bridge.settings.load import load_settings
from bridge.texts import Messages, Texts

USER = "5217330000001"
_START_MS = time.time_ns() // 1_000_000
_SETTINGS = load_settings(sandbox_environ("http://127.0.0.1:9", partitions="1"))
_POLICY = ChatPolicy(
    texts=Texts(Messages(), ZoneInfo("UTC"), longest_text={"whatsapp": 4_096, "facebook": 2_000}),
    bot_delay_s={"blocked": 0.0, "timeout": 0.0, "success": 0.0},
    connect_s=3_600.0,
    delivery_s=36_000.0,
    session_s=36_000.0,
)
_REQUEST = ConnectRequest(
    user_id=USER, bot_slug="bot", bot_id="1", name="Ana", provider="whatsapp", email="ana@example.com"
)


_CALM = ("a claims", "a renews", "a reads", "arrive", "a hears", "arrive last", "a hears", "accept")


class Posted(NamedTuple):
    """A text that was answered 200, and the chat that was open then."""

    text: str
    chat_id: str


class World:
    """Takes one action at a time, by name. Each action is whole: a crash lies between two of them.

    `mended` False is a service that neither binds entries to their chat nor notices that the store went back. `excuse`
    False does not excuse texts that were written in a chat after the store had lost writes of it.
    """

    def __init__(self, *, mended: bool = True, excuse: bool = True) -> None:
        self._excuse = excuse
        connections = Connections(_SETTINGS)
        self._redis = connections.client()
        self._server: fakeredis.FakeServer = self._redis.connection_pool.connection_kwargs["server"]
        keys = Keys("model", 1)
        self._keys = keys
        self._stores = [self._store(connections, keys) for _ in range(2)]
        self._inbox = RedisInbox(connections, keys)
        self._letters = Letters(Commands(connections), keys)
        self.remotes = Remotes()
        self.workers = [
            Worker(name, store, self._inbox, USER, _POLICY) for name, store in zip("ab", self._stores, strict=True)
        ]
        for worker in self.workers:
            worker.mended = mended
        self.network: list[Sent] = []
        self.posted: list[Posted] = []
        self.finished: set[str] = set()
        self.orphans: set[str] = set()
        self.repeatable: set[str] = set()
        self.in_doubt: set[str] = set()
        self.excused: set[str] = set()
        self.lost_writes = 0
        self.crashes = 0
        self._count = 0
        self._past: list[tuple[bytes, int]] = []
        self._last = self._data()
        self.actions: dict[str, Callable[[], None]] = self._actions()

    @staticmethod
    def _store(connections: Connections, keys: Keys) -> Store:
        return Store(connections, keys, client="model", mailbox_limit=1_000, engine=RedisInbox.scripts)

    def _actions(self) -> dict[str, Callable[[], None]]:
        actions: dict[str, Callable[[], None]] = {
            "connect": lambda: self._inbox.append(ConnectRequested(_REQUEST)),
            "say": self._say,
            "finish": self._finish,
            "accept": lambda: self._at_desk(accept),
            "agent says": self._agent_says,
            "agent ends": lambda: self._at_desk(DeskChat.end),
            "arrive": lambda: self._arrive(0),
            "arrive last": lambda: self._arrive(-1),
            "lose 1 write": lambda: self._lose_writes(1),
            "lose 3 writes": lambda: self._lose_writes(3),
        }
        for index, worker in enumerate(self.workers):
            actions |= {
                f"{worker.name} claims": worker.claim,
                f"{worker.name} renews": worker.renew,
                f"{worker.name} reads": worker.read,
                f"{worker.name} hears": lambda index=index: self._hear(index),  # type: ignore[misc]
                f"{worker.name} crashes": lambda index=index: self._crash(index),  # type: ignore[misc]
                f"{worker.name} expires": lambda index=index: self._expire(index),  # type: ignore[misc]
            }
        return actions

    def do(self, name: str) -> None:
        """Carries out one action; one that is not possible now changes nothing."""
        before, posts = self._last, len(self.posted)
        self.actions[name]()
        self._collect()
        self._last = self._data()
        if not name.startswith("lose") and self._last != before:
            self._past.append((before, posts))

    # --- who does what ----------------------------------------------------------------------------------------------

    def _say(self) -> None:
        self._count += 1
        text = f"text {self._count}"
        message = UserMessage(
            message_id=text, user_id=USER, provider="whatsapp", sent_at_ms=_START_MS + self._count, text=text
        )
        store = self._stores[0]
        chat_id = store.open_chat_id(USER)
        store.post(message, UserMessageReceived(message))
        self.posted.append(Posted(text, chat_id))
        if self._excuse and chat_id in self.in_doubt:
            self.excused.add(text)

    def _finish(self) -> None:
        chat_id = self._stores[0].open_chat_id(USER)
        self.finished.add(chat_id)
        self._inbox.append(FinishRequested(USER), chat_id)

    def _at_desk(self, act: Callable[[DeskChat], None]) -> None:
        for chat in self.remotes.chats.values():
            if chat.taken and not chat.ended:
                act(chat)

    def _agent_says(self) -> None:
        self._count += 1
        self._at_desk(lambda chat: write(chat, f"agent {self._count}"))

    def _collect(self) -> None:
        under_way = {id(sent) for sent in self.network}
        for worker in self.workers:
            self.network += [sent for sent in worker.in_flight.values() if id(sent) not in under_way]
        self.network = [sent for sent in self.network if not sent.answered or sent.worker.in_flight]

    def _arrive(self, index: int) -> None:
        waiting = [sent for sent in self.network if not sent.answered]
        if not waiting:
            return
        sent = waiting[index]
        try:
            sent.events = self.remotes.serve(sent.attempt.command)
        except BridgeError as error:
            sent.error = error

    def _hear(self, index: int) -> None:
        worker = self.workers[index]
        answered = [sent for sent in worker.in_flight.values() if sent.answered]
        if answered:
            worker.hear(answered[0])

    # --- what goes wrong --------------------------------------------------------------------------------------------

    def _crash(self, index: int) -> None:
        self.crashes += 1
        self.workers[index].forget()
        self._free(index)

    def _expire(self, index: int) -> None:
        """The lease runs out. Its holder has stopped by its own clock before; what it has sent may still arrive."""
        if self.workers[index].lease is not None:
            self.workers[index].forget()
        self._free(index)

    def _free(self, index: int) -> None:
        key = self._keys.of(0, "lease")
        value: Any = self._redis.get(key)
        if value is not None and value.startswith(self.workers[index].name.encode() + b":"):
            self._redis.delete(key)

    def _lose_writes(self, count: int) -> None:
        """The store loses its last writes.

        What only they held is excused: texts posted by them, agents' texts that were confirmed by them, and sessions
        that no record names any more (those expire at the desk).
        """
        if len(self._past) < count:
            return
        data, posts = self._past[-count]
        del self._past[-count:]
        self._restore(data)
        self.lost_writes += count
        self.excused |= {posted.text for posted in self.posted[posts:]}
        # The desk knows only its last number. Where it is ahead by more than one, a text comes twice, or a text that
        # was written after the loss is dropped for a number that was used before.
        self.repeatable |= {text for chat in self.remotes.chats.values() for text in chat.texts} | self._being_sent()
        self.in_doubt |= {chat.chat_id for chat in self.remotes.chats.values()}
        known = {record.session.id for record in self._stores[0].chats(0) if record.session}
        for chat in self.remotes.chats.values():
            if chat.session_id in known:
                self.excused |= set(chat.confirmed_texts) | self._being_confirmed(chat)
            else:
                self.orphans.add(chat.session_id)

    def _being_confirmed(self, chat: DeskChat) -> set[str]:
        """Agents' texts that a poll on its way will confirm."""
        commands = [sent.attempt.command for sent in self.network if not sent.answered]
        polls = [command for command in commands if isinstance(command, Poll) and command.session.id == chat.session_id]
        return {text for poll in polls for text in chat.texts_until(poll.session)}

    def _being_sent(self) -> set[str]:
        commands = [sent.attempt.command for sent in self.network if not sent.answered]
        return {command.delivery.text for command in commands if isinstance(command, SendToAgent)}

    def _data(self) -> bytes:
        return pickle.dumps({number: dict(db._dict) for number, db in self._server.dbs.items()})

    def _restore(self, data: bytes) -> None:
        held = pickle.loads(data)
        for number, db in self._server.dbs.items():
            db._dict.clear()
            db._dict.update(held.get(number, {}))

    # --- the end ----------------------------------------------------------------------------------------------------

    def settle(self, *, rounds: int = 60) -> None:
        """Lets everything come to its end without further faults: one worker, an agent who accepts and then ends."""
        for index in range(2):
            self._crash(index)
        for number in range(rounds):
            for name in _CALM:
                self.actions[name]()
                self._collect()
            if number == rounds // 2:
                self.actions["agent ends"]()

    def context(self) -> list[str]:
        """The texts that are kept as context."""
        return [entry.text for entry in self._stores[0].context(USER)]

    def dead_letters(self) -> list[str]:
        """The texts that were given up."""
        return [letter.delivery.text for _, letter in self._letters.all()]

    def open_chats(self) -> int:
        """How many chats are on record."""
        return len(self._stores[0].chats(0))
