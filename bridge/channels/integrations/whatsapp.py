"""WhatsApp through the Integrations API: its webhook's body and what it says, its texts and files (integrations.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, get_args

import msgspec

from bridge.channels.channel import Received
from bridge.channels.descriptions import (
    MOST_LISTED,
    Contact,
    ContactEmail,
    ContactName,
    ContactPhone,
    contacts_line,
    location_line,
    reaction_line,
    sticker_line,
)
from bridge.channels.integrations.api import IntegrationsChannel, IntegrationsConfig
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
from bridge.wire import HttpCall

Content = str | Media
_NAMES = {"sender": "from", "recipient": "to", "mime_type": "mimeType"}


class TextBody(msgspec.Struct):
    """The text of a text message."""

    body: LongText | None = None


class WhatsAppFile(msgspec.Struct, rename=_NAMES):
    """Where a file lies and what is said of it."""

    url: FileUrl | None = None
    caption: LongText | None = None
    mime_type: ShortText | None = None


class Place(msgspec.Struct):
    """A point on the map, with its names if it has any."""

    latitude: float | ShortText | None = None
    longitude: float | ShortText | None = None
    name: Title | None = None
    address: Title | None = None


class Reaction(msgspec.Struct):
    """An emoji at an earlier message; without one the reaction is taken back."""

    emoji: ShortText | None = None


class Choice(msgspec.Struct):
    """One of the answers that the bot offered."""

    title: Title | None = None
    text: Title | None = None


class Choices(msgspec.Struct):
    """What the user chose, from buttons or from a list."""

    button_reply: Choice | None = None
    list_reply: Choice | None = None


class WhatsAppMessage(msgspec.Struct, kw_only=True, tag_field="type", rename=_NAMES):
    """One message. With `to` it is the bot that speaks, to that user; without, `from` is the user."""

    id: MessageId | None = None
    sender: MessageId | None = None
    recipient: MessageId | None = None
    timestamp: Timestamp = None

    def content(self) -> Content | None:
        """What was said: a text or a file; nothing when the part that the type names is missing."""
        raise NotImplementedError


class TextMessage(WhatsAppMessage, tag="text"):
    text: TextBody | None = None

    def content(self) -> Content | None:
        return self.text.body if self.text else None


class ImageMessage(WhatsAppMessage, tag="image"):
    image: WhatsAppFile | None = None

    def content(self) -> Content | None:
        return _media("image", self.image)


class DocumentMessage(WhatsAppMessage, tag="document"):
    document: WhatsAppFile | None = None

    def content(self) -> Content | None:
        return _media("document", self.document)


class AudioMessage(WhatsAppMessage, tag="audio"):
    audio: WhatsAppFile | None = None

    def content(self) -> Content | None:
        return _media("audio", self.audio)


class VoiceMessage(WhatsAppMessage, tag="voice"):
    voice: WhatsAppFile | None = None

    def content(self) -> Content | None:
        return _media("audio", self.voice)


class VideoMessage(WhatsAppMessage, tag="video"):
    video: WhatsAppFile | None = None

    def content(self) -> Content | None:
        return _media("video", self.video)


class LocationMessage(WhatsAppMessage, tag="location"):
    location: Place | None = None

    def content(self) -> Content | None:
        place = self.location
        if place is None or place.latitude is None or place.longitude is None:
            return None
        return location_line(place.latitude, place.longitude, place.name, place.address)


class ContactsMessage(WhatsAppMessage, tag="contacts"):
    contacts: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MOST_LISTED)] | None = None

    def content(self) -> Content | None:
        return contacts_line(self.contacts or ())


class StickerMessage(WhatsAppMessage, tag="sticker"):
    def content(self) -> Content | None:
        return sticker_line()


class ReactionMessage(WhatsAppMessage, tag="reaction"):
    reaction: Reaction | None = None

    def content(self) -> Content | None:
        return reaction_line(self.reaction.emoji) if self.reaction else None


class ButtonMessage(WhatsAppMessage, tag="button"):
    button: Choice | None = None

    def content(self) -> Content | None:
        return (self.button.text or self.button.title) if self.button else None


class InteractiveMessage(WhatsAppMessage, tag="interactive"):
    interactive: Choices | None = None

    def content(self) -> Content | None:
        choices = self.interactive or Choices()
        chosen = choices.button_reply or choices.list_reply or Choice()
        return chosen.title or chosen.text


WhatsAppBody = (
    TextMessage
    | ImageMessage
    | DocumentMessage
    | AudioMessage
    | VoiceMessage
    | VideoMessage
    | LocationMessage
    | ContactsMessage
    | StickerMessage
    | ReactionMessage
    | ButtonMessage
    | InteractiveMessage
)
KNOWN_TYPES = frozenset(kind.__struct_config__.tag for kind in get_args(WhatsAppBody))


class Envelope(msgspec.Struct):
    """What every delivery has, of whatever type."""

    type: ShortText | None = None


_CONTACT = (Contact, ContactName, ContactPhone, ContactEmail)
_JSON = WebhookJson(*get_args(WhatsAppBody), TextBody, WhatsAppFile, Place, Reaction, Choice, Choices, *_CONTACT)


class WhatsApp(IntegrationsChannel):
    """WhatsApp's users. Webhooks of the types `ignored`, in lower case, say nothing."""

    provider: ClassVar[Provider] = "whatsapp"
    longest_text: ClassVar[int] = 4096
    webhook_version: ClassVar[int] = 0

    def __init__(self, config: IntegrationsConfig, *, ignored: tuple[str, ...] = ()) -> None:
        super().__init__(config)
        self._ignored = frozenset(ignored)

    def read(self, body: bytes, *, now_ms: int) -> Received:
        """One message, or none. Raises PayloadError for a message that has content and cannot be taken."""
        body = _JSON.normalized(body)
        kind = decode(body, Envelope).type or ""
        if kind.lower() in self._ignored:
            return Received()
        if kind not in KNOWN_TYPES:
            return _silent(f"message of the unknown type {kind[:40]!r}" if kind else "message without a type")
        message: WhatsAppMessage = decode(body, WhatsAppBody)  # type: ignore[arg-type]
        content = message.content()
        if not content or (isinstance(content, str) and not content.strip()):
            return _silent(f"{kind} message without content")
        if not (message.recipient or message.sender):
            return _silent(f"{kind} message without a sender")
        return Received((_said(message, content, now_ms),))

    def text_body(self, user_id: str, delivery_id: str, text: str) -> Mapping[str, object]:
        """A text; the receiver can drop a repeat by its id."""
        return {"id": delivery_id, "type": "text", "userId": user_id, "text": {"body": text}}

    def send_file(self, user_id: str, *, delivery_id: str, media: Media) -> HttpCall | None:
        """A file with its caption, under the name of its type."""
        kind = "document" if media.kind == "file" else media.kind
        file = {"url": media.url, "caption": media.caption}
        return self.call("messages", {"id": delivery_id, "type": kind, "userId": user_id, kind: file})


def _media(kind: MediaKind, file: WhatsAppFile | None) -> Media | None:
    if file is None or not file.url:
        return None
    return Media(kind=kind, url=file.url, mime_type=file.mime_type or "", caption=file.caption or "")


def _silent(kind: str) -> Received:
    return Received(silent={kind: 1})


def _said(message: WhatsAppMessage, content: Content, now_ms: int) -> UserMessage:
    if not message.id:
        raise PayloadError("a message has no id, so a repeat of it could not be told")
    return UserMessage(
        message_id=message.id,
        user_id=checked_user_id(message.recipient or message.sender or ""),
        provider="whatsapp",
        sent_at_ms=moment_ms(message.timestamp, now_ms),
        sender="bot" if message.recipient else "user",
        text=content if isinstance(content, str) else "",
        media=content if isinstance(content, Media) else None,
    )
