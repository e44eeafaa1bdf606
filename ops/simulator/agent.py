"""The scripted agent: everything that an agent can do at the console, one method each, on a chat found by name."""

from __future__ import annotations

from typing import Any

from bridge.ops.simulator.chat_parts import Agent
from bridge.ops.simulator.chats import Chat
from bridge.ops.simulator.desk import FIRST_AGENT, Desk

SECOND_AGENT = Agent("Luis", "0055f000001LuiS")


class ScriptedAgent:
    """`who` is a session id, a visitor's name, a case or contact id, the contact's e-mail or phone, or `last`.

    Every method raises NoSuchChat when no chat has that name, and NotNow when the chat's state does not allow it.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def chat(self, who: str = "last") -> Chat:
        """The chat itself."""
        return self._desk.find(who)

    def chats(self, status: str = "") -> list[Chat]:
        """All chats, oldest first, or those that are `created`, `queued`, `active` or `ended`."""
        return self._desk.chats(status)

    def accept(self, who: str = "last", *, name: str = FIRST_AGENT.name, user_id: str = FIRST_AGENT.id) -> None:
        """Takes a waiting chat: ChatEstablished, or ChatTransferred when another agent had it before."""
        self.chat(who).accept(Agent(name, user_id))

    def say(self, who: str, text: str) -> None:
        """Writes to the visitor."""
        self.chat(who).say(text)

    def types(self, who: str = "last", *, stops: bool = False) -> None:
        """Begins, or stops, typing."""
        self.chat(who).types(stops=stops)

    def transfer(
        self,
        who: str = "last",
        *,
        name: str = SECOND_AGENT.name,
        user_id: str = SECOND_AGENT.id,
        to_queue: bool = False,
    ) -> None:
        """Hands the chat to another agent, or back to a queue, from where it has to be accepted."""
        self.chat(who).transfer(None if to_queue else Agent(name, user_id))

    def disconnect(self, who: str = "last") -> None:
        """Loses the agent's connection: AgentDisconnect; the chat lives on."""
        self.chat(who).disconnect()

    def end(self, who: str = "last", *, reason: str = "agent") -> None:
        """Ends the chat: ChatEnded with any reason of liveagent.md, "End reasons"."""
        self.chat(who).end(reason)

    def fail(self, who: str = "last", *, reason: str = "Unavailable") -> None:
        """ChatRequestFail, in the queue or in the middle of a talk."""
        self.chat(who).end(reason, event="ChatRequestFail")

    def queue_update(self, who: str = "last", *, position: int, wait_s: float = -1) -> None:
        """Moves the visitor in the queue."""
        self.chat(who).update_queue(position, wait_s)

    def send_event(self, who: str, type: str, message: dict[str, Any] | None = None) -> None:
        """Sends any event, also one that Live Agent does not have."""
        self.chat(who).push(type, message)

    def request_file(self, who: str = "last") -> str:
        """Asks the visitor for a file; the token that the upload must carry."""
        return self.chat(who).request_file()

    def cancel_file(self, who: str = "last") -> None:
        """Cancels the request for a file."""
        self.chat(who).settle_file("Canceled")

    def break_session(self, who: str = "last") -> None:
        """Loses the session's server: 503 to every call until it is reconnected (liveagent.md, "Reconnect")."""
        self.chat(who).break_off()

    def lose_session(self, who: str = "last") -> None:
        """Forgets the session at once: 403 to everything, as after too long without a poll."""
        self.chat(who).expire()
