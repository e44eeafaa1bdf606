"""What an operator decides about chats: words, delays, limits; the chat reads it, settings fill it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from bridge.messages import BotState, Media, Provider
from bridge.records import ContextEntry


class Words(Protocol):
    """Every sentence that a chat says to a user or an agent."""

    @property
    def wait(self) -> str:
        """To the user, once the request is queued."""

    @property
    def agent_left(self) -> str:
        """To the user, when the agent's connection dropped."""

    @property
    def file_from_agent(self) -> str:
        """To the user, when the agent used a file that this channel cannot carry."""

    @property
    def transfer_began(self) -> str:
        """To the user, when the chat is on its way to another agent."""

    @property
    def undelivered(self) -> str:
        """To the user, when the desk would not take what the user wrote."""

    def transferred(self, agent_name: str) -> str:
        """To the user, when another agent took over."""

    def queue(self, position: int | None, wait_s: float | None) -> str:
        """To the user, when the place in the queue moved; empty where there is nothing to say."""

    def context(self, entries: Sequence[ContextEntry]) -> str:
        """To the agent, first of all: what was said before."""

    def welcome(self, name: str) -> str:
        """To the agent, in the user's name."""

    def file_sent(self, media: Media, name: str) -> str:
        """To the agent: a file lies at the case."""

    def file_failed(self, media: Media) -> str:
        """To the user: the file did not go through."""

    def parts(self, provider: Provider, text: str) -> list[str]:
        """The text in pieces that the channel takes, in order."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's choices. Times in seconds.

    A caller waits `connect_s` for a chat. 0 switches off `max_wait_s` and `queue_update_interval_s`.
    """

    words: Words
    bot_delay_s: dict[BotState, float]
    connect_s: float = 10.0
    max_wait_s: float = 0.0
    queue_update_interval_s: float = 60.0
