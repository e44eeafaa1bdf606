"""The WhatsApp webhook's body (integrations.md, "WhatsApp webhook"), and what it says."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated, Any, get_args

import msgspec

from bridge.http.bodies import decode
from bridge.channels.descriptions import contacts_line, location_line, reaction_line, sticker_line
from bridge.inputs import MessageId, Timestamp, checked_user_id, moment_ms
from bridge.messages import Media, MediaKind, UserMessage

log = logging.getLogger(__name__)

Content = str | Media
Url = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
_NAMES = {"sender": "from", "recipient": "to", "mime_type": "mimeType"}


class TextBody(msgspec.Struct):
    """The text of a text message."""

    body: str


class WhatsAppFile(msgspec.Struct, rename=_NAMES):
    """Where a file lies and what is said of it."""

    url: Url
    caption: str | None = None
    mime_type: str | None = None

    def as_media(self, kind: MediaKind) -> Media:
        """The file as the actors know it."""
        return Media(kind=kind, url=self.url, mime_type=self.mime_type or "", caption=self.caption or "")


class Place(msgspec.Struct):
    """A point on the map, with its names if it has any."""

    latitude: float | str
    longitude: float | str
    name: str | None = None
    address: str | None = None


class Reaction(msgspec.Struct):
    """An emoji at an earlier message; none takes it back."""

    emoji: str | None = None


class Choice(msgspec.Struct):
    """One of the answers that the bot offered."""

    title: str = ""
    text: str = ""


class Choices(msgspec.Struct):
    """What the user chose, from buttons or from a list."""

    button_reply: Choice | None = None
    list_reply: Choice | None = None


class WhatsAppMessage(msgspec.Struct, kw_only=True, tag_field="type", rename=_NAMES):
    """One message. With `to` it is the bot that speaks, to that user; without, `from` is the user."""

    id: MessageId
    sender: str | None = None
    recipient: str | None = None
    timestamp: Timestamp = None

    def content(self) -> Content:
        """What was said: a text, or a file."""
        raise NotImplementedError


class TextMessage(WhatsAppMessage, tag="text"):
    text: TextBody

    def content(self) -> Content:
        return self.text.body


class ImageMessage(WhatsAppMessage, tag="image"):
    image: WhatsAppFile

    def content(self) -> Content:
        return self.image.as_media("image")


class DocumentMessage(WhatsAppMessage, tag="document"):
    document: WhatsAppFile

    def content(self) -> Content:
        return self.document.as_media("document")


class AudioMessage(WhatsAppMessage, tag="audio"):
    audio: WhatsAppFile

    def content(self) -> Content:
        return self.audio.as_media("audio")


class VoiceMessage(WhatsAppMessage, tag="voice"):
    voice: WhatsAppFile

    def content(self) -> Content:
        return self.voice.as_media("audio")


class VideoMessage(WhatsAppMessage, tag="video"):
    video: WhatsAppFile

    def content(self) -> Content:
        return self.video.as_media("video")


class LocationMessage(WhatsAppMessage, tag="location"):
    location: Place

    def content(self) -> Content:
        place = self.location
        return location_line(place.latitude, place.longitude, place.name, place.address)


class ContactsMessage(WhatsAppMessage, tag="contacts"):
    contacts: list[dict[str, Any]]

    def content(self) -> Content:
        return contacts_line(self.contacts)


class StickerMessage(WhatsAppMessage, tag="sticker"):
    def content(self) -> Content:
        return sticker_line()


class ReactionMessage(WhatsAppMessage, tag="reaction"):
    reaction: Reaction

    def content(self) -> Content:
        return reaction_line(self.reaction.emoji)


class ButtonMessage(WhatsAppMessage, tag="button"):
    button: Choice

    def content(self) -> Content:
        return self.button.text or self.button.title


class InteractiveMessage(WhatsAppMessage, tag="interactive"):
    interactive: Choices

    def content(self) -> Content:
        chosen = self.interactive.button_reply or self.interactive.list_reply or Choice()
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

    type: Annotated[str, msgspec.Meta(min_length=1)]


class WhatsAppReader:
    """Reads WhatsApp deliveries; those of the types `ignored` say nothing."""

    def __init__(self, ignored: tuple[str, ...], now_ms: Callable[[], int]) -> None:
        self._ignored = frozenset(ignored)
        self._now_ms = now_ms

    def read(self, raw: bytes) -> list[UserMessage]:
        """What the delivery says: one message, or none. Raises PayloadError."""
        kind = decode(raw, Envelope).type
        if kind.lower() in self._ignored:
            return []
        if kind not in KNOWN_TYPES:
            log.info("a WhatsApp message of the unknown type %.40r was dropped", kind)
            return []
        message: WhatsAppMessage = decode(raw, WhatsAppBody)  # type: ignore[arg-type]
        said = self._said(message)
        return [said] if said.text.strip() or said.media else []

    def _said(self, message: WhatsAppMessage) -> UserMessage:
        content = message.content()
        return UserMessage(
            message_id=message.id,
            user_id=checked_user_id(message.recipient or message.sender or ""),
            provider="whatsapp",
            sent_at_ms=moment_ms(message.timestamp, self._now_ms()),
            sender="bot" if message.recipient else "user",
            text=content if isinstance(content, str) else "",
            media=content if isinstance(content, Media) else None,
        )
