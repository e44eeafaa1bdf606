"""What a chat of the simulator is made of: its batches, its transcript, its agent, its held poll, and two refusals."""

from __future__ import annotations

from typing import Any, Literal

import gevent.event
import msgspec

Event = dict[str, Any]

LOST = "Session required but was invalid or not found"


class Refusal(Exception):
    """What Live Agent answers instead of doing it: a status and, for a 400, which properties were wrong."""

    def __init__(self, status: int, text: str, *, properties: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.properties = properties


class NotNow(Exception):
    """The agent cannot do that in the chat's present state."""


class Batch(msgspec.Struct, frozen=True):
    """One poll's answer, kept until it is acked."""

    messages: list[Event]
    sequence: int
    offset: int


class Line(msgspec.Struct, frozen=True):
    """One entry of the transcript, as ChasitorSessionData shows it (liveagent.md, "Reconnect")."""

    type: Literal["Agent", "Chasitor", "OperatorTransferred"]
    name: str
    content: str
    timestamp: int
    sequence: int


class Agent(msgspec.Struct, frozen=True):
    """The person who answers at the desk."""

    name: str
    id: str


class Poll:
    """A held request. `woken` lets it look at its chat; `left` says that its client closed the connection."""

    def __init__(self) -> None:
        self.woken = gevent.event.Event()
        self.left = False
