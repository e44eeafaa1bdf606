"""What a visitor may POST: the sequence rule, a shape for every noun, and what each does.

Choices where the sources are silent: only what was done uses up its number (a 400 or 500 does not); the last number
again is answered `OK` and not done again (`repeated_number: refuse` makes that a 409 too); any other is 409 with the
last number taken as "Actual" (liveagent.md, "Sequence numbers"); without the header a POST is done, unprotected;
between ReconnectSession and ChasitorResyncState every other noun is 500, and so is ChasitorResyncState before the
session's data was polled; ChasitorResyncState itself carries no number.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import msgspec

from bridge.ops.simulator.chat_parts import LOST, Refusal
from bridge.ops.simulator.chats import Chat
from bridge.ops.simulator.desk import Desk
from bridge.ops.simulator.prechat import ChasitorInit, check
from bridge.ops.simulator.settings import SimulatorSettings

_FIELD = re.compile(r"`\$\.([^`]+)`|field `([^`]+)`")


class Nothing(msgspec.Struct):
    """No body, or one that does not matter."""


class Text(msgspec.Struct, forbid_unknown_fields=True):
    """ChatMessage."""

    text: str


class End(msgspec.Struct):
    """ChatEnd; one client adds a `type`."""

    reason: str


class SneakPeek(msgspec.Struct, forbid_unknown_fields=True):
    """ChasitorSneakPeek."""

    position: int
    text: str


class Custom(msgspec.Struct, forbid_unknown_fields=True):
    """CustomEvent."""

    type: str
    data: str


class Resync(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """ChasitorResyncState."""

    organization_id: str


class IdleWarning(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """ChasitorIdleTimeoutWarningEvent."""

    idle_timeout_warning_event: str


class Rules(msgspec.Struct, forbid_unknown_fields=True):
    """SensitiveDataRuleTriggered."""

    rules: list[dict[str, Any]]


class Noun(msgspec.Struct, forbid_unknown_fields=True):
    """One part of a MultiNoun."""

    prefix: str
    noun: str
    object: dict[str, Any] = {}


class Nouns(msgspec.Struct, forbid_unknown_fields=True):
    """MultiNoun."""

    nouns: list[Noun]


class Chasitor:
    """Does what a visitor posts. Every refusal leaves the chat as it was."""

    def __init__(self, settings: SimulatorSettings, desk: Desk) -> None:
        self._settings = settings
        self._desk = desk
        self._nouns: dict[str, tuple[type, Callable[[Chat, Any, int | None], None]]] = {
            "ChasitorInit": (ChasitorInit, self._init),
            "ChatMessage": (Text, self._chat_message),
            "ChatEnd": (End, self._chat_end),
            "ChasitorTyping": (Nothing, self._typing),
            "ChasitorNotTyping": (Nothing, self._typing),
            "ChasitorSneakPeek": (SneakPeek, self._sneak_peek),
            "CustomEvent": (Custom, self._custom_event),
            "ChasitorResyncState": (Resync, self._resync),
            "ChasitorIdleTimeoutWarningEvent": (IdleWarning, self._noticed),
            "SensitiveDataRuleTriggered": (Rules, self._noticed),
        }

    def post(self, chat: Chat, noun: str, body: bytes, number: int | None) -> None:
        """One POST of a live session. Raises Refusal: 400, 403, 404, 409, 500."""
        if noun not in self._nouns and noun != "MultiNoun":
            raise Refusal(404, "Not Found")
        if chat.status == "ended":
            raise Refusal(403, LOST)
        if chat.repair and noun != "ChasitorResyncState":
            raise Refusal(500, "Internal Server Error")
        if number is None or self._next(chat, number, body):
            self._do(chat, noun, body, number)
            chat.number, chat.last_post = (chat.number, b"") if number is None else (number, body)

    def _next(self, chat: Chat, number: int, body: bytes) -> bool:
        """Whether the number is the next one; False for the last one again."""
        if number == chat.number + 1:
            return True
        if number == chat.number and self._settings.repeated_number == "accept":
            details = {"number": number, "same_body": body == chat.last_post}
            chat.ledger.record("post_repeated", session=chat.id, user=chat.visitor, details=details)
            return False
        chat.ledger.record("post_out_of_sync", session=chat.id, user=chat.visitor, details={"number": number})
        raise Refusal(409, f"Out of sync Ack. Expected {number}. Actual {chat.number}")

    def _do(self, chat: Chat, noun: str, body: bytes, number: int | None) -> None:
        if noun == "MultiNoun":
            self._multi_noun(chat, understood("MultiNoun", body or b"{}", Nouns), number)
            return
        shape, act = self._nouns[noun]
        act(chat, understood(noun, body or b"{}", shape), number)

    def _multi_noun(self, chat: Chat, batch: Nouns, number: int | None) -> None:
        """All are understood before the first is done; one number covers the batch."""
        for part in batch.nouns:
            if part.prefix != "Chasitor" or part.noun not in self._nouns:
                raise Refusal(400, f"Request is not a valid MultiNoun - {part.prefix}/{part.noun} is no noun")
            understood(part.noun, msgspec.json.encode(part.object), self._nouns[part.noun][0])
        for part in batch.nouns:
            self._do(chat, part.noun, msgspec.json.encode(part.object), number)

    # --- the nouns --------------------------------------------------------------------------------------------------

    def _init(self, chat: Chat, init: ChasitorInit, number: int | None) -> None:
        if chat.status != "created":
            raise Refusal(400, "Request is not a valid ChasitorInit - the chat was requested before")
        self._desk.request(chat, check(init, self._settings, session_id=chat.id))

    def _chat_message(self, chat: Chat, message: Text, number: int | None) -> None:
        _require_established(chat)
        if not message.text:
            raise _missing("ChatMessage", "text")
        lost = time.monotonic() - chat.said_at < self._settings.burst_gap_s
        chat.said_at = time.monotonic()
        kind = "agent_text_lost" if lost else "agent_text"
        chat.ledger.record(kind, session=chat.id, user=chat.visitor, text=message.text, details={"number": number})
        if lost:
            return
        chat.hear(message.text)
        if self._settings.echo and chat.agent is not None:
            chat.say(message.text)

    def _chat_end(self, chat: Chat, end: End, number: int | None) -> None:
        if chat.status == "created":
            raise Refusal(500, "Internal Server Error")
        if not end.reason:
            raise _missing("ChatEnd", "reason")
        chat.end(end.reason)

    def _typing(self, chat: Chat, nothing: Nothing, number: int | None) -> None:
        _require_established(chat)

    def _sneak_peek(self, chat: Chat, peek: SneakPeek, number: int | None) -> None:
        _require_established(chat)

    def _custom_event(self, chat: Chat, event: Custom, number: int | None) -> None:
        _require_established(chat)
        chat.ledger.record("custom_event", session=chat.id, text=event.data, details={"type": event.type})

    def _noticed(self, chat: Chat, event: Any, number: int | None) -> None:
        _require_established(chat)

    def _resync(self, chat: Chat, resync: Resync, number: int | None) -> None:
        if number is not None:
            raise Refusal(400, "ChasitorResyncState carries no number", properties={"X-LIVEAGENT-SEQUENCE": "given"})
        ours = self._settings.organization_id
        if ours and resync.organization_id[:15] != ours[:15]:
            raise Refusal(400, "Request is not a valid ChasitorResyncState", properties={"organizationId": "not ours"})
        if chat.repair == "data" or not chat.repairs:
            raise Refusal(500, "Internal Server Error")
        chat.repair = ""
        chat.ledger.record("session_resynced", session=chat.id, user=chat.visitor)


def understood(noun: str, body: bytes, shape: type) -> Any:
    """The body in its shape. Raises Refusal 400, in Live Agent's words (liveagent.md, "Status codes")."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        found = _FIELD.search(str(error))
        raise _missing(noun, next(filter(None, found.groups())) if found else "", str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, "Bad Request - the body is not JSON", properties={"": str(error)}) from error


def _missing(noun: str, name: str, complaint: str = "is null") -> Refusal:
    sentence = f"Request is not a valid {noun} - {noun} requires a non-null value on the {name} property"
    return Refusal(400, sentence, properties={name: complaint})


def _require_established(chat: Chat) -> None:
    # A NullPointerException over there (liveagent.md, "Before an agent").
    if chat.status != "active":
        raise Refusal(500, "Internal Server Error")
