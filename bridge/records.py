"""What is written down: chats, context, dead letters, flight records; each with its codec and version."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from typing import Literal, TypeVar

import msgspec

from bridge.messages import (
    Ask,
    BotState,
    ConnectRequest,
    DeskSession,
    Health,
    InboxEvent,
    Media,
    Provider,
    UserMessage,
    UserMessageReceived,
)

CONTEXT_TTL_S = 86_400
RECORD_VERSION = 2


class ChatState(str, Enum):
    """Where a chat stands. NEW has nothing on record; CLOSED and FAILED owe nothing more."""

    NEW = "new"
    CONNECTING = "connecting"
    ON_HOLD = "on_hold"
    ACTIVE = "active"
    CLOSING = "closing"
    CLOSED = "closed"
    FAILED = "failed"


class Delivery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One text, or one file, owed to one side.

    `id` is the same at every attempt; `message` is what the user wrote, where a user did; `media` is yet to be fetched;
    `context` marks a piece of what was said before the chat.
    """

    id: str
    text: str
    owed_since_ms: int
    message: UserMessage | None = None
    media: Media | None = None
    context: bool = False


class OwedBotState(msgspec.Struct, frozen=True, kw_only=True):
    """The state that the bot flow is still to be put into, not before `due_at_ms`."""

    state: BotState
    due_at_ms: int


class ChatRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Everything that a chat is: after a crash it goes on from here. `step` counts its commits.

    `ask` is whom the answer to connect goes to; `joined` asked for the same chat while it was being opened.
    `recent` are short forms of the last message ids: a store that failed over may have forgotten that it saw them.
    `leaving`: the chat is to be ended at the desk, and its last texts are to be read; `left_at_ms`: the desk took that.
    `next_text_ms`: the next text to the agent must not leave before that. `broke_ms`: when the session broke, of late.
    Version 1 did not write `version`.
    """

    # A factory, because a field at its plain default is not written.
    version: int = msgspec.field(default_factory=lambda: RECORD_VERSION)
    chat_id: str
    request: ConnectRequest
    state: ChatState
    opened_at_ms: int
    step: int = 0
    ask: Ask | None = None
    joined: list[Ask] = []
    contact_id: str = ""
    case_id: str = ""
    session: DeskSession | None = None
    broke_ms: list[int] = []
    requested: bool = False
    listening: bool = True
    leaving: bool = False
    left_at_ms: int = 0
    agent_name: str = ""
    agent_typing: bool = False
    next_text_ms: int = 0
    queue_position: int | None = None
    queue_wait_s: float | None = None
    queue_told: str = ""
    queue_told_ms: int = 0
    held_since_ms: int = 0
    owed_count: int = 0
    recent: list[str] = []
    to_agent: list[Delivery] = []
    to_user: list[Delivery] = []
    to_bot: OwedBotState | None = None
    end: ChatState = ChatState.CLOSED
    reason: str = ""
    ended_at_ms: int = 0


class ContextEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing said outside a chat, as `/v1/context` shows it (settings.md, "Context"). `ttl` is when it expires."""

    user_id: str = msgspec.field(name="userId")
    client: str
    timestamp: int
    text: str = ""
    url: str = ""
    mime_type: str = msgspec.field(name="mimeType", default="")
    caption: str = ""
    sender: str = msgspec.field(name="from")
    ttl: str


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A message that could not be delivered, whole, with the reason and how often it was tried."""

    chat_id: str
    user_id: str
    provider: Provider
    direction: str
    at_ms: int
    reason: str
    delivery: Delivery
    attempts: int = 1


class FlightEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a chat's flight record: what happened, and what it led to. Holds no text that anybody wrote."""

    at_ms: int
    event: str
    before: ChatState
    after: ChatState
    commands: tuple[str, ...] = ()
    detail: str = ""


def context_entry(message: UserMessage, *, client: str, now_ms: int) -> ContextEntry:
    """What a message looks like as context: it is forgotten 24 hours after it came."""
    media = message.media
    forgotten = datetime.fromtimestamp(now_ms / 1000 + CONTEXT_TTL_S, tz=UTC)
    return ContextEntry(
        user_id=message.user_id,
        client=client,
        timestamp=message.sent_at_ms,
        text=message.text,
        url=media.url if media else "",
        mime_type=media.mime_type if media else "",
        caption=media.caption if media else "",
        sender=message.sender,
        ttl=forgotten.isoformat().replace("+00:00", "Z"),
    )


def unread(event: InboxEvent, entry_id: str, *, reason: str, now_ms: int) -> list[DeadLetter]:
    """What a user wrote, as a dead letter, when not even the chat may look at it; nothing for an ask."""
    if not isinstance(event, UserMessageReceived):
        return []
    message = event.message
    delivery = Delivery(
        id=entry_id, text=message.text, owed_since_ms=message.sent_at_ms, message=message, media=message.media
    )
    letter = DeadLetter(
        chat_id="",
        user_id=message.user_id,
        provider=message.provider,
        direction="to_agent",
        at_ms=now_ms,
        reason=reason,
        delivery=delivery,
    )
    return [letter]


_record_decoder = msgspec.json.Decoder(ChatRecord)
# The health of a session by its `repair` in a record of version 1.
_HEALTH_V1: dict[str, Health] = {"": "ok", "reconnect": "broken", "restore": "restoring", "resync": "repairing"}


def encode_record(record: ChatRecord) -> bytes:
    """The record as the store keeps it. A text that a user wrote is written once, in its message."""
    if any(_is_own_text(delivery) for delivery in record.to_agent):
        owed = [_without_text(delivery) if _is_own_text(delivery) else delivery for delivery in record.to_agent]
        record = msgspec.structs.replace(record, to_agent=owed)
    return msgspec.json.encode(record)


def _is_own_text(delivery: Delivery) -> bool:
    return delivery.message is not None and delivery.text == delivery.message.text


def _without_text(delivery: Delivery) -> Delivery:
    return msgspec.structs.replace(delivery, text="")


def _with_text(delivery: Delivery) -> Delivery:
    if delivery.text or delivery.message is None:
        return delivery
    return msgspec.structs.replace(delivery, text=delivery.message.text)


def ended_record(record: ChatRecord) -> ChatRecord:
    """What is kept of a chat that is over: neither the session's secrets nor who the user and the agent were."""
    request = record.request
    nobody = ConnectRequest(
        user_id=request.user_id,
        bot_slug=request.bot_slug,
        bot_id=request.bot_id,
        name="",
        provider=request.provider,
        email="",
    )
    return msgspec.structs.replace(record, request=nobody, session=None, ask=None, agent_name="")


def decode_record(raw: bytes) -> ChatRecord:
    """The record that `encode_record` wrote, of version 1 too. Raises msgspec.MsgspecError for anything else."""
    try:
        record = _record_decoder.decode(raw)
    except msgspec.ValidationError:
        record = _record_decoder.decode(_upgraded(raw))
    record.to_agent = [_with_text(delivery) for delivery in record.to_agent]
    return record


class _SessionV1(msgspec.Struct):
    session_id: str
    opened_at_ms: int
    repair: Literal["", "reconnect", "restore", "resync"] = ""


class _RecordV1(msgspec.Struct):
    session: msgspec.Raw


def _upgraded(raw: bytes) -> bytes:
    """A record of version 1 as one of version 2. Both halves are the old session: each is read for its own fields."""
    old = msgspec.json.decode(raw, type=_RecordV1).session
    known = msgspec.json.decode(old, type=_SessionV1)
    session = DeskSession(
        id=known.session_id,
        opened_at_ms=known.opened_at_ms,
        sending=old,
        receiving=old,
        health=_HEALTH_V1[known.repair],
    )
    fields: dict[str, msgspec.Raw] = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    return msgspec.json.encode({**fields, "session": session})


class _RecordHead(msgspec.Struct):
    version: int = 1


def version_on_record(raw: bytes) -> int:
    """The version of a record that may be newer than ours; 0 where none can be read."""
    try:
        return msgspec.json.decode(raw, type=_RecordHead).version
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return 0


def rescued_record(raw: bytes, *, user_id: str, reason: str, now_ms: int) -> ChatRecord:
    """A record that ends the chat of a record that cannot be read, with what can be read of it.

    The chat still leaves the desk and tells the bot where the session and the request are known; without a request it
    has FAILED already.
    """
    try:
        fields = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        fields = {}
    fields = fields if isinstance(fields, dict) else {}
    request, session = _converted(fields.get("request"), ConnectRequest), _converted(fields.get("session"), DeskSession)
    chat_id = str(fields.get("chat_id") or f"unreadable-{now_ms}")
    if request is None:
        nobody = ConnectRequest(user_id=user_id, bot_slug="", bot_id="", name="", provider="whatsapp", email="")
        return ChatRecord(
            chat_id=chat_id,
            request=nobody,
            state=ChatState.FAILED,
            opened_at_ms=now_ms,
            end=ChatState.FAILED,
            reason=reason,
            ended_at_ms=now_ms,
        )
    return ChatRecord(
        chat_id=chat_id,
        request=request,
        state=ChatState.CLOSING,
        opened_at_ms=now_ms,
        session=session,
        listening=False,
        leaving=session is not None,
        to_bot=OwedBotState(state="timeout", due_at_ms=now_ms),
        end=ChatState.FAILED,
        reason=reason,
    )


Found = TypeVar("Found")


def _converted(value: object, kind: type[Found]) -> Found | None:
    try:
        return msgspec.json.decode(msgspec.json.encode(value), type=kind)
    except msgspec.MsgspecError:
        return None
