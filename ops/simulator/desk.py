"""All Live Agent sessions: opening them, finding them by a name, and sending chats to queues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import gevent

from bridge.ops.simulator.chat_parts import LOST, Agent, NotNow, Refusal
from bridge.ops.simulator.chats import Chat
from bridge.ops.simulator.ledger import Ledger
from bridge.ops.simulator.settings import SimulatorSettings

FIRST_AGENT = Agent("Ana", "0055f000001AnaA")


class NoSuchChat(KeyError):
    """No chat has that name."""


class Desk:
    """The desk. `aliases` gives the further names of a chat, from its prechat details."""

    def __init__(
        self,
        settings: SimulatorSettings,
        ledger: Ledger,
        *,
        aliases: Callable[[list[dict[str, Any]]], list[str]] = lambda details: [],
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._aliases = aliases
        self._chats: dict[str, Chat] = {}
        self._named: dict[str, Chat] = {}
        self._waiting: Counter[str] = Counter()

    def open(self, base_url: str) -> Chat:
        """A new session; `base_url` is where its visitor reached us."""
        chat = Chat(self._settings, self._ledger, base_url=base_url)
        self._chats[chat.id] = chat
        self._ledger.record("session_opened", session=chat.id)
        return chat

    def by_key(self, key: str | None) -> Chat:
        """The session that the key opens. Raises Refusal 403."""
        chat = self.known((key or "").split("!")[0])
        if chat is None or chat.key != key:
            raise Refusal(403, LOST)
        return chat

    def known(self, session_id: str) -> Chat | None:
        """The session with that id, or None."""
        return self._chats.get(session_id)

    def find(self, who: str) -> Chat:
        """By session id, visitor's name, case or contact id, the contact's e-mail or phone, or `last`."""
        chat = self.named(who)
        if chat is None:
            raise NoSuchChat(who)
        return chat

    def named(self, who: str) -> Chat | None:
        """As `find`, but None when no chat has that name."""
        return self.known(who) or self._named.get(who)

    def chats(self, status: str = "") -> list[Chat]:
        """Every session, oldest first, or those in one state."""
        return [chat for chat in self._chats.values() if status in ("", chat.status)]

    def note_503(self, key: str) -> None:
        """A fault answered 503 to this session, so it may reconnect now."""
        chat = self.known(key.split("!")[0])
        if chat is not None:
            chat.was_503 = True

    # --- routing ----------------------------------------------------------------------------------------------------

    def request(self, chat: Chat, request: dict[str, Any]) -> None:
        """Puts the chat into the queue, or refuses it by an event. ChasitorInit is valid already."""
        self._ledger.record("chat_requested", session=chat.id, user=request["visitorName"], details=request)
        for name in ("last", request["visitorName"], *self._aliases(request["prechatDetails"])):
            self._named[name] = chat
        button = request.get("buttonId", "")
        chat.enqueue(request, self._waiting[button])
        self._waiting[button] += 1
        chat.on_dequeue = lambda: self._waiting.subtract([button])
        failure = self._failure(request)
        if failure:
            # A request that fails gets no ChatRequestSuccess before.
            chat.pending.clear()
            chat.end(failure, event="ChatRequestFail")
        elif self._settings.auto_accept:
            self._accept_later(chat)

    def _failure(self, request: dict[str, Any]) -> str:
        if not request.get("isPost"):
            return "NoPost"
        closed = not self._settings.agents_online or request.get("buttonId") in self._settings.closed_buttons
        return "Unavailable" if closed else ""

    def _accept_later(self, chat: Chat) -> None:
        if self._settings.auto_accept_s:
            gevent.spawn_later(self._settings.auto_accept_s, self._accept_if_waiting, chat)
        else:
            self._accept_if_waiting(chat)

    def _accept_if_waiting(self, chat: Chat) -> None:
        try:
            chat.accept(FIRST_AGENT)
        except NotNow:
            return
