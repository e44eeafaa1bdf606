"""Messenger through the Integrations API: its webhook's body and what it says, its texts (integrations.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

import msgspec

from bridge.channels.channel import Received
from bridge.channels.descriptions import location_line
from bridge.channels.integrations.api import IntegrationsChannel
from bridge.errors import PayloadError
from bridge.inputs import MessageId, Timestamp, checked_user_id, decode, moment_ms
from bridge.messages import Media, MediaKind, Provider, UserMessage

MOST_MESSAGES = 1000
MEDIA_KINDS: dict[str, MediaKind] = {"image": "image", "file": "file", "audio": "audio", "video": "video"}

Content = str | Media


class Person(msgspec.Struct):
    """The user, or the page that the bot speaks for."""

    id: str


class Coordinates(msgspec.Struct):
    """A point on the map."""

    latitude: float | str = msgspec.field(name="lat")
    longitude: float | str = msgspec.field(name="long")


class AttachmentPayload(msgspec.Struct):
    """Where the attached thing lies."""

    url: Annotated[str, msgspec.Meta(max_length=4096)] | None = None
    title: str | None = None
    coordinates: Coordinates | None = None


class Attachment(msgspec.Struct):
    """Something attached to a message."""

    type: str
    payload: AttachmentPayload | None = None
    title: str | None = None
    url: str | None = None

    def content(self) -> Content | None:
        """A file, or a line about it; nothing when there is nothing to show."""
        payload = self.payload or AttachmentPayload()
        if self.type in MEDIA_KINDS and payload.url:
            return Media(kind=MEDIA_KINDS[self.type], url=payload.url)
        if self.type == "location" and payload.coordinates:
            return location_line(payload.coordinates.latitude, payload.coordinates.longitude, self.title)
        words = (self.title or payload.title, self.url or payload.url)
        return " ".join(word for word in words if word) or None


class FacebookMessage(msgspec.Struct):
    """A text, attachments, or both; an echo is what the page itself said."""

    mid: MessageId
    text: str | None = None
    attachments: list[Attachment] | None = None
    is_echo: bool = False

    def parts(self) -> Iterator[tuple[str, Content]]:
        """Each thing said with an id of its own: the text first, then the attachments in order."""
        if self.text and self.text.strip():
            yield self.mid, self.text
        for position, attachment in enumerate(self.attachments or []):
            if (content := attachment.content()) is not None:
                yield f"{self.mid}:{position}", content

    def silent(self) -> Iterator[str]:
        """The kind of each attachment that says nothing."""
        for attachment in self.attachments or []:
            if attachment.content() is None:
                yield f"attachment of the type {attachment.type[:40]!r}"


class Postback(msgspec.Struct):
    """A button that the user pressed; its title is what was said."""

    title: str = ""
    mid: str = ""


class Messaging(msgspec.Struct):
    """One event: a message, a pressed button, or something that says nothing (delivery, read, …)."""

    sender: Person | None = None
    recipient: Person | None = None
    timestamp: Timestamp = None
    message: FacebookMessage | None = None
    postback: Postback | None = None

    def parts(self) -> Iterator[tuple[str, Content]]:
        """Each thing said, with its id."""
        if self.message:
            yield from self.message.parts()
        elif self.postback and self.postback.title.strip():
            presser = self.sender.id if self.sender else ""
            yield self.postback.mid or f"postback:{presser}:{self.timestamp}", self.postback.title


class Entry(msgspec.Struct):
    """One page's events."""

    messaging: list[Messaging] = []


class Delivery(msgspec.Struct):
    """What Meta sent."""

    entry: list[Entry]


class FacebookBody(msgspec.Struct, rename={"author_role": "authorRole"}):
    """What the Integrations API makes of it: who speaks is in `authorRole`, `user` or anything else (the bot)."""

    message: Delivery
    author_role: str | None = None


class Messenger(IntegrationsChannel):
    """Messenger's users."""

    provider: ClassVar[Provider] = "facebook"
    longest_text: ClassVar[int] = 2000
    webhook_version: ClassVar[int] = 3

    def read(self, body: bytes, *, now_ms: int) -> Received:
        """Everything that the delivery says, in its order. Raises PayloadError."""
        delivery = decode(body, FacebookBody)
        events = [event for entry in delivery.message.entry for event in entry.messaging]
        if len(events) > MOST_MESSAGES:
            raise PayloadError(f"invalid payload received : more than {MOST_MESSAGES} messages in one delivery")
        by_user = (delivery.author_role or "user") == "user"
        return Received(
            tuple(said for event in events for said in _said(event, by_user, now_ms)),
            silent=Counter(kind for event in events if event.message for kind in event.message.silent()),
        )

    def text_body(self, user_id: str, delivery_id: str, text: str) -> Mapping[str, object]:
        """A text; there is no place for an id."""
        return {
            "messaging_type": "RESPONSE",
            "recipient": {"id": user_id},
            "message": {"text": text},
            "metadata": "YALOSOURCE:FIREHOSE",
        }


def _said(event: Messaging, by_user: bool, now_ms: int) -> Iterator[UserMessage]:
    echo = event.message is not None and event.message.is_echo
    sender: Literal["user", "bot"] = "user" if by_user and not echo else "bot"
    user = event.sender if sender == "user" else event.recipient
    for message_id, content in event.parts():
        yield UserMessage(
            message_id=message_id,
            user_id=checked_user_id(user.id if user else ""),
            provider="facebook",
            sent_at_ms=moment_ms(event.timestamp, now_ms),
            sender=sender,
            text=content if isinstance(content, str) else "",
            media=content if isinstance(content, Media) else None,
        )
