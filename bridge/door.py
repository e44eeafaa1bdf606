"""The one object that the front door is handed: all that an HTTP request may ask of the actors."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from bridge.messages import Answer, ConnectRequest, Provider, UserMessage
from bridge.records import ContextEntry

Posted = Literal["inbox", "context", "repeat"]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether this worker should be given requests, and why not: one sentence a fault."""

    ready: bool
    faults: tuple[str, ...] = ()
    durability: str = "none"
    open_chats: int = 0


class Failures(msgspec.Struct, frozen=True):
    """How often something failed since its window began, and how long that window lasts from now."""

    count: int
    left_s: float


class Door(Protocol):
    """From an HTTP request to the actors. Every call ends in time: by an answer or by a BridgeError."""

    def post(self, message: UserMessage, *, leave: bool = False) -> Posted:
        """Stores what a user (or the bot) said, durably, before it returns; `leave` marks a word that ends the chat.

        Raises StoreUnavailable (say 503: the sender repeats) and MailboxFull (503).
        """

    def connect(self, request: ConnectRequest) -> Answer:
        """Opens a chat and waits for what became of it. Raises StoreUnavailable, AnswerTimeout."""

    def finish(self, user_id: str) -> Answer:
        """Ends the user's chat and waits until that is on record. Raises StoreUnavailable, AnswerTimeout."""

    def context(self, user_id: str) -> list[ContextEntry]:
        """What was said in the last 24 hours outside a chat, oldest first. Raises StoreUnavailable."""

    def count_failure(self, name: str, *, window_s: float) -> Failures:
        """Counts one failure under `name`, in one window for all workers. Raises StoreUnavailable."""

    def register_webhook(self, provider: Provider) -> None:
        """Tells the Integrations API where our webhook is. Raises RemoteError, AnswerTimeout."""

    def remove_webhook(self, provider: Provider) -> None:
        """Tells the Integrations API to forget our webhook. Raises RemoteError, AnswerTimeout."""

    def health(self) -> Health:
        """Asks the registry and the store whether they work. Never raises."""
