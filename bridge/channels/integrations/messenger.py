"""Messenger through the Integrations API: its webhook's body and what it says, its texts (integrations.md).

A delivery holds events of many users, so it is read event by event: one that cannot be taken leaves out only itself.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import msgspec

from bridge.channels.channel import Received
from bridge.channels.descriptions import MOST_LISTED, location_line
from bridge.channels.integrations.api import IntegrationsChannel
from bridge.channels.webhook_json import WebhookJson
from bridge.errors import PayloadError
from bridge.inputs import (
    FileUrl,
    LongText,
    MessageId,
    ShortText,
    Timestamp,
    Title,
    checked_user_id,
    decode,
    moment_ms,
)
from bridge.messages import Media, MediaKind, Provider, UserMessage

MOST_PARTS = 1000
MEDIA_KINDS: dict[str, MediaKind] = {"image": "image", "file": "file", "audio": "audio", "video": "video"}

Content = str | Media
# The part of a shape that is read on its own: `msgspec.Raw` when reading, the shape itself in the API's description.
Part = TypeVar("Part")


class Person(msgspec.Struct):
    """The user, or the page that the bot speaks for."""

    id: MessageId | None = None


class Coordinates(msgspec.Struct):
    """A point on the map."""

    latitude: float | ShortText = msgspec.field(name="lat")
    longitude: float | ShortText = msgspec.field(name="long")


class AttachmentPayload(msgspec.Struct):
    """Where the attached thing lies."""

    url: FileUrl | None = None
    title: Title | None = None
    coordinates: Coordinates | None = None


class Attachment(msgspec.Struct):
    """Something attached to a message."""

    type: ShortText = ""
    payload: AttachmentPayload | None = None
    title: Title | None = None
    url: FileUrl | None = None

    def content(self) -> Content | None:
        """A file, or a line about it; nothing when there is nothing to show."""
        payload = self.payload or AttachmentPayload()
        if self.type in MEDIA_KINDS and payload.url:
            return Media(kind=MEDIA_KINDS[self.type], url=payload.url)
        if self.type == "location" and payload.coordinates:
            return location_line(payload.coordinates.latitude, payload.coordinates.longitude, self.title)
        words = (self.title or payload.title, self.url or payload.url)
        return " ".join(word for word in words if word) or None


class FacebookMessage(msgspec.Struct, Generic[Part]):
    """A text, attachments, or both; an echo is what the page itself said."""

    mid: MessageId | None = None
    text: LongText | None = None
    attachments: Annotated[list[Part], msgspec.Meta(max_length=MOST_LISTED)] | None = None
    is_echo: bool | None = None


class Postback(msgspec.Struct):
    """A button that the user pressed; its title is what was said."""

    title: Title | None = None
    mid: MessageId | None = None


class Messaging(msgspec.Struct, Generic[Part]):
    """One event: a message, a pressed button, or something that says nothing (delivery, read, …)."""

    sender: Person | None = None
    recipient: Person | None = None
    timestamp: Timestamp = None
    message: FacebookMessage[Part] | None = None
    postback: Postback | None = None


class Entry(msgspec.Struct, Generic[Part]):
    """One page's events."""

    time: Timestamp = None
    messaging: Annotated[list[Part], msgspec.Meta(max_length=MOST_PARTS)] | None = None


class Delivery(msgspec.Struct, Generic[Part]):
    """What Meta sent."""

    entry: Annotated[list[Part], msgspec.Meta(max_length=MOST_PARTS)] | None = None


class FacebookDelivery(msgspec.Struct, Generic[Part], rename={"author_role": "authorRole"}):
    """What the Integrations API makes of it: who speaks is in `authorRole`, `user` or anything else (the bot)."""

    message: Delivery[Part] | None = None
    author_role: ShortText | None = None


FacebookBody = FacebookDelivery[Entry[Messaging[Attachment]]]
_RawDelivery = FacebookDelivery[msgspec.Raw]
_RawEntry = Entry[msgspec.Raw]
_RawEvent = Messaging[msgspec.Raw]
_JSON = WebhookJson(
    FacebookDelivery,
    Delivery,
    Entry,
    Messaging,
    FacebookMessage,
    Postback,
    Attachment,
    AttachmentPayload,
    Coordinates,
    Person,
)


class Messenger(IntegrationsChannel):
    """Messenger's users."""

    provider: ClassVar[Provider] = "facebook"
    longest_text: ClassVar[int] = 2000
    webhook_version: ClassVar[int] = 3

    def read(self, body: bytes, *, now_ms: int) -> Received:
        """Everything that the delivery says, in its order. Raises PayloadError for one that is no delivery at all."""
        delivery = decode(_JSON.normalized(body), _RawDelivery)
        reading = _Reading(by_user=(delivery.author_role or "user") == "user", now_ms=now_ms)
        for entry in (delivery.message and delivery.message.entry) or ():
            reading.take_entry(entry)
        return Received(tuple(reading.messages), reading.silent, reading.refused)

    def text_body(self, user_id: str, delivery_id: str, text: str) -> Mapping[str, object]:
        """A text; there is no place for an id."""
        return {
            "messaging_type": "RESPONSE",
            "recipient": {"id": user_id},
            "message": {"text": text},
            "metadata": "YALOSOURCE:FIREHOSE",
        }


class _Reading:
    """What was read of one delivery so far: the messages, and what was left out."""

    def __init__(self, *, by_user: bool, now_ms: int) -> None:
        self.messages: list[UserMessage] = []
        self.silent: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._by_user = by_user
        self._now_ms = now_ms
        self._parts = 0

    def take_entry(self, raw: msgspec.Raw) -> None:
        """Reads the events of one page."""
        entry: _RawEntry | None = self._understood(raw, _RawEntry)
        for event in (entry and entry.messaging) or ():
            self._count_part()
            self._take_event(event, entry.time if entry else None)

    def _take_event(self, raw: msgspec.Raw, entry_time: Timestamp) -> None:
        event: _RawEvent | None = self._understood(raw, _RawEvent)
        if event is None:
            return
        parts = list(self._parts_of(event, entry_time))
        if not parts:
            self.silent["event without content"] += 1
        for message_id, content in parts:
            self._take_part(event, message_id, content)

    def _take_part(self, event: _RawEvent, message_id: str, content: Content) -> None:
        echo = event.message is not None and bool(event.message.is_echo)
        sender: Literal["user", "bot"] = "user" if self._by_user and not echo else "bot"
        user = event.sender if sender == "user" else event.recipient
        if user is None or not user.id:
            self.silent[f"event without the id of its {'sender' if sender == 'user' else 'recipient'}"] += 1
            return
        try:
            user_id = checked_user_id(user.id)
        except PayloadError as error:
            self.refused[str(error)] += 1
            return
        message = UserMessage(
            message_id=message_id,
            user_id=user_id,
            provider="facebook",
            sent_at_ms=moment_ms(event.timestamp, self._now_ms),
            sender=sender,
            text=content if isinstance(content, str) else "",
            media=content if isinstance(content, Media) else None,
        )
        self.messages.append(message)

    def _parts_of(self, event: _RawEvent, entry_time: Timestamp) -> Iterator[tuple[str, Content]]:
        """Each thing said with an id of its own: the text first, then the attachments in order."""
        message, postback = event.message, event.postback
        if message:
            message_id = message.mid or f"message:{self._made_id(event, entry_time, message.text)}"
            yield from self._parts_of_message(message, message_id)
        elif postback and postback.title and postback.title.strip():
            yield postback.mid or f"postback:{self._made_id(event, entry_time, postback.title)}", postback.title

    def _parts_of_message(
        self, message: FacebookMessage[msgspec.Raw], message_id: str
    ) -> Iterator[tuple[str, Content]]:
        if message.text and message.text.strip():
            yield message_id, message.text
        for position, raw in enumerate(message.attachments or ()):
            self._count_part()
            if content := self._content(raw):
                yield f"{message_id}:{position}", content

    def _content(self, raw: msgspec.Raw) -> Content | None:
        attachment: Attachment | None = self._understood(raw, Attachment)
        if attachment is None:
            return None
        content = attachment.content()
        if content is None:
            self.silent[f"attachment of the type {attachment.type[:40]!r} with nothing to show"] += 1
        return content

    def _made_id(self, event: _RawEvent, entry_time: Timestamp, text: str | None) -> str:
        """An id for what came without one: the same when a delivery is repeated, another at another moment."""
        # Without any time of the sender's, the moment of arrival keeps two presses of a button apart.
        moment = event.timestamp or entry_time or self._now_ms
        sender = event.sender.id if event.sender else None
        return hashlib.blake2b(f"{sender}\0{moment}\0{text}".encode(), digest_size=16).hexdigest()

    def _count_part(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise PayloadError(f"invalid payload received : more than {MOST_PARTS} events and attachments")

    def _understood(self, raw: msgspec.Raw, shape: Any) -> Any:
        try:
            return decode(bytes(raw), shape)
        except PayloadError as error:
            self.refused[str(error)[:160]] += 1
            return None
