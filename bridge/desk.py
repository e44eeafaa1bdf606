"""What a driver of a desk has to offer. A second desk is a second driver; the chat's rules stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from bridge.commands import Command
from bridge.events import Event
from bridge.messages import DeskSession


class Desk(Protocol):
    """Where agents work."""

    def serve(self, command: Command) -> tuple[Event, ...]:
        """Carries out OpenSession, RequestChat, Poll, SendToAgent, RepairSession or LeaveDesk; gives the events.

        Raises RemoteError; DeskError where the answer says something about the session.
        """

    def server(self, session: DeskSession) -> str:
        """The server that holds a session. Servers fail alone: each has a share of the clients and a breaker."""

    def describe(self, session: DeskSession) -> Mapping[str, str | int | float]:
        """What an operator may see of a session. It holds no secret."""
