"""Live Agent's events (liveagent.md, "Events"), read into desk-neutral ones. No input breaks it."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from bridge.codecs.liveagent.session import LiveAgentSession
from bridge.events import (
    AgentLeft,
    AgentTyped,
    AgentWrote,
    ChatEnded,
    ChatEstablished,
    ChatQueued,
    ChatRefused,
    ChatTransferred,
    Event,
    FileRequested,
    QueueMoved,
    TextFound,
    TransferBegan,
)

# Ends for want of an agent, not after a talk (liveagent.md, "End reasons").
_UNSERVED = {"agentpushtimeout", "agentsunavailable", "nopost"}

# Known, and of no consequence to a chat.
_SILENT = {"NewVisitorBreadcrumb", "SensitiveDataRules", "AsyncResult", "CustomEvent", "ChasitorChatMessage"}


# A place in a queue, or a wait in seconds, that no queue has.
_SENSELESS = 1e9


def _text(message: dict[str, Any], name: str) -> str:
    value = message.get(name)
    return value if isinstance(value, str) else ""


def _number(message: dict[str, Any], *names: str) -> float | None:
    for name in names:
        value = message.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _SENSELESS:
            return value
    return None


def _place(message: dict[str, Any]) -> tuple[int | None, float | None]:
    position = _number(message, "position", "queuePosition")
    return (None if position is None else int(position)), _number(message, "estimatedWaitTime")


def _ended(message: dict[str, Any]) -> Event:
    reason = _text(message, "reason") or "unknown"
    return ChatEnded(reason, reason.lower() not in _UNSERVED)


def _file(message: dict[str, Any]) -> Event | None:
    return FileRequested() if message.get("type") == "Requested" else None


_EVENTS: dict[str, Callable[[dict[str, Any]], Event | None]] = {
    "ChatRequestSuccess": lambda m: ChatQueued(*_place(m)),
    "QueueUpdate": lambda m: QueueMoved(*_place(m)),
    "ChatRequestFail": lambda m: ChatRefused(f"Event [ChatRequestFail] : [{_text(m, 'reason') or 'Unknown'}]"),
    "ChatEstablished": lambda m: ChatEstablished(_text(m, "name")),
    "ChatTransferred": lambda m: ChatTransferred(_text(m, "name")),
    "TransferToButtonInitiated": lambda m: TransferBegan(),
    "AgentDisconnect": lambda m: AgentLeft(),
    "AgentTyping": lambda m: AgentTyped(True),
    "AgentNotTyping": lambda m: AgentTyped(False),
    "ChatEnded": _ended,
    "FileTransfer": _file,
}


class EventReader:
    """Reads the messages of one poll, keeping the session's count of what the agent said."""

    def __init__(self, session: LiveAgentSession) -> None:
        self.session = session
        self._unknown: list[str] = []

    def read(self, messages: Iterable[Any]) -> tuple[tuple[Event, ...], tuple[str, ...]]:
        """The events in order, and the names of the messages that were not understood."""
        events = [event for message in messages for event in self._read_one(message)]
        if AgentTyped(False) in events:
            # Both may come in one batch, in the wrong order (liveagent.md, "Events").
            events = [event for event in events if event != AgentTyped(True)]
        return tuple(events), tuple(self._unknown)

    def _read_one(self, envelope: Any) -> list[Event]:
        kind = envelope.get("type") if isinstance(envelope, dict) else None
        body = envelope.get("message") if isinstance(envelope, dict) else None
        message: dict[str, Any] = body if isinstance(body, dict) else {}
        if kind == "ChatMessage":
            return self._agent_wrote([_text(message, "text")])
        if kind == "ChasitorSessionData":
            return self._restored(message)
        read = _EVENTS.get(kind) if isinstance(kind, str) else None
        if read is None:
            self._note_unknown(kind)
            return []
        event = read(message)
        return [] if event is None else [event]

    def _note_unknown(self, kind: Any) -> None:
        if not isinstance(kind, str):
            self._unknown.append("a message without a type")
        elif kind not in _SILENT:
            self._unknown.append(kind[:60])

    def _agent_wrote(self, texts: list[str]) -> list[Event]:
        self.session = msgspec.structs.replace(self.session, heard=self.session.heard + len(texts))
        return [AgentWrote(text) for text in texts if text]

    def _restored(self, message: dict[str, Any]) -> list[Event]:
        """The transcript after a repair: the agent's texts beyond `heard` are new, the user's texts are counted."""
        transcript = message.get("chatMessages")
        entries = [entry for entry in transcript if isinstance(entry, dict)] if isinstance(transcript, list) else []
        from_agent = [_text(entry, "content") for entry in entries if entry.get("type") == "Agent"]
        from_user = [_text(entry, "content") for entry in entries if entry.get("type") == "Chasitor"]
        found: list[Event] = []
        if len(from_user) > self.session.said + self.session.found:
            found.append(TextFound(html.unescape(from_user[-1])))
            self.session = msgspec.structs.replace(self.session, found=len(from_user) - self.session.said)
        if from_agent:
            # The desk does not repeat the ChatEstablished event after a repair.
            speakers = [_text(entry, "name") for entry in entries if entry.get("type") == "Agent"]
            found.append(ChatEstablished(speakers[-1]))
        return found + self._agent_wrote(from_agent[self.session.heard :])
