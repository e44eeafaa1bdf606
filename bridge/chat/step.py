"""One step of a chat: what the actions read, what to write down in one commit, and what to do after that."""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec

from bridge.chat.policy import ChatPolicy
from bridge.commands import Command, Lane
from bridge.messages import Answer, Ask, UserMessage
from bridge.records import ChatRecord, DeadLetter, FlightEntry


class Step(msgspec.Struct, kw_only=True):
    """Given to each action, which reads and fills it.

    `stored` is the record, None while there is no chat. `busy` are the lanes that carry a command. The commit writes
    the record, `context`, `dead_letters` and `flight`, and removes `sent_letters`; the rest follows the commit.
    `ignored` names the events that have no cell; `cancel_poll` and `cancel_bot` say that what is under way there is not
    wanted any more.
    """

    now_ms: int
    policy: ChatPolicy
    stored: ChatRecord | None
    busy: Collection[Lane]
    new_id: Callable[[], str]
    context: list[UserMessage] = []
    dead_letters: list[DeadLetter] = []
    sent_letters: list[str] = []
    flight: list[FlightEntry] = []
    answers: list[tuple[Ask, Answer]] = []
    commands: list[Command] = []
    ignored: list[str] = []
    cancel_poll: bool = False
    cancel_bot: bool = False

    @property
    def record(self) -> ChatRecord:
        """The record of a chat that exists."""
        if self.stored is None:
            raise LookupError("there is no chat")
        return self.stored

    @property
    def agent_busy(self) -> bool:
        """Whether a text or a file is on its way to the agent."""
        return Lane.DESK in self.busy or Lane.FILE in self.busy

    @property
    def writes(self) -> bool:
        """Whether there is anything to write down."""
        return bool(self.flight or self.context or self.dead_letters)
