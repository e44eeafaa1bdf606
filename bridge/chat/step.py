"""One step of a chat: what to write down in one commit, and what to do once that is written."""

from __future__ import annotations

import msgspec

from bridge.commands import Command
from bridge.messages import Answer, Ask, UserMessage
from bridge.records import DeadLetter, FlightEntry


class Step(msgspec.Struct, kw_only=True):
    """Filled by the chat's actions. `context`, `dead_letters` and `flight` belong to the commit; the rest follows it.

    `ignored` names events that have no cell; `hush` says that the poll under way is not wanted any more.
    """

    now_ms: int
    context: list[UserMessage] = []
    dead_letters: list[DeadLetter] = []
    flight: list[FlightEntry] = []
    answers: list[tuple[Ask, Answer]] = []
    commands: list[Command] = []
    ignored: list[str] = []
    cancel_poll: bool = False

    @property
    def writes(self) -> bool:
        """Whether there is anything to write down."""
        return bool(self.flight or self.context or self.dead_letters)
