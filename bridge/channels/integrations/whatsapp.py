"""WhatsApp through the Integrations API: its webhook's body and what it says, its texts and files (integrations.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, get_args

import msgspec

from bridge.channels.channel import Received
from bridge.channels.descriptions import contacts_line, location_line, reaction_line, sticker_line
from bridge.channels.integrations.api import IntegrationsChannel, IntegrationsConfig
from bridge.inputs import MessageId, Timestamp, checked_user_id, decode, moment_ms
from bridge.messages import Media, MediaKind, Provider, UserMessage
from bridge.wire import HttpCall

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


class WhatsApp(IntegrationsChannel):
    """WhatsApp's users. Webhooks of the types `ignored`, in lower case, say nothing."""

    provider: ClassVar[Provider] = "whatsapp"
    longest_text: ClassVar[int] = 4096
    webhook_version: ClassVar[int] = 0

    def __init__(self, config: IntegrationsConfig, *, ignored: tuple[str, ...] = ()) -> None:
        super().__init__(config)
        self._ignored = frozenset(ignored)

    def read(self, body: bytes, *, now_ms: int) -> Received:
        """One message, or none. Raises PayloadError."""
        kind = decode(body, Envelope).type
        if kind.lower() in self._ignored:
            return Received()
        if kind not in KNOWN_TYPES:
            return Received(silent={f"message of the unknown type {kind[:40]!r}": 1})
        message: WhatsAppMessage = decode(body, WhatsAppBody)  # type: ignore[arg-type]
        said = _said(message, now_ms)
        return Received((said,)) if said.text.strip() or said.media else Received()

    def text_body(self, user_id: str, delivery_id: str, text: str) -> Mapping[str, object]:
        """A text; the receiver can drop a repeat by its id."""
        return {"id": delivery_id, "type": "text", "userId": user_id, "text": {"body": text}}

    def send_file(self, user_id: str, *, delivery_id: str, media: Media) -> HttpCall | None:
        """A file with its caption, under the name of its type."""
        kind = "document" if media.kind == "file" else media.kind
        file = {"url": media.url, "caption": media.caption}
        return self.call("messages", {"id": delivery_id, "type": kind, "userId": user_id, kind: file})


def _said(message: WhatsAppMessage, now_ms: int) -> UserMessage:
    content = message.content()
    return UserMessage(
        message_id=message.id,
        user_id=checked_user_id(message.recipient or message.sender or ""),
        provider="whatsapp",
        sent_at_ms=moment_ms(message.timestamp, now_ms),
        sender="bot" if message.recipient else "user",
        text=content if isinstance(content, str) else "",
        media=content if isinstance(content, Media) else None,
    )
