"""A third channel, shaped like WhatsApp's Cloud API: a challenge, a signature with the app's secret, files by id."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

import msgspec

from bridge.channels.channel import Fetch, Header, Received
from bridge.channels.signature import hmac_matches
from bridge.errors import RemoteGarbled, RemoteRefused
from bridge.inputs import checked_user_id, decode, moment_ms
from bridge.messages import Media, MediaKind, Provider, UserMessage
from bridge.wire import HttpCall, HttpReply, json_call, parse, raise_for_status

WHO = "Graph API"
SIGNED_BY = "X-Hub-Signature-256"


class Text(msgspec.Struct):
    body: str


class Image(msgspec.Struct):
    id: str
    mime_type: str
    caption: str = ""


class CloudMessage(msgspec.Struct, rename={"sender": "from"}):
    id: str
    sender: str
    timestamp: str
    type: str
    text: Text | None = None
    image: Image | None = None


class Value(msgspec.Struct):
    messages: list[CloudMessage] = []


class Change(msgspec.Struct):
    value: Value


class Entry(msgspec.Struct):
    changes: list[Change]


class CloudDelivery(msgspec.Struct):
    entry: list[Entry]


class Sent(msgspec.Struct):
    messages: list[dict[str, str]]


class FileAddress(msgspec.Struct):
    url: str


class CloudChannel:
    """WhatsApp's users through a Graph API at `base_url`."""

    provider: Provider = "whatsapp"
    longest_text = 4096
    signature_headers = SIGNED_BY

    def __init__(self, base_url: str, *, number_id: str, token: str, app_secret: str, verify_token: str) -> None:
        self._base_url = base_url
        self._number_id = number_id
        self._bearer = {"Authorization": f"Bearer {token}"}
        self._app_secret = app_secret.encode()
        self._verify_token = verify_token

    def challenge(self, query: Mapping[str, str]) -> str | None:
        ours = hmac.compare_digest(query.get("hub.verify_token", "").encode(), self._verify_token.encode())
        return query.get("hub.challenge") if ours and query.get("hub.mode") == "subscribe" else None

    def admits(self, header: Header) -> bool:
        return bool(header(SIGNED_BY))

    def verify(self, header: Header, body: bytes) -> bool:
        return hmac_matches(header(SIGNED_BY), self._app_secret, body)

    def read(self, body: bytes, *, now_ms: int) -> Received:
        delivery = decode(body, CloudDelivery)
        messages = [said for entry in delivery.entry for change in entry.changes for said in change.value.messages]
        return Received(tuple(_said(message, now_ms) for message in messages))

    def send_text(self, user_id: str, *, delivery_id: str, text: str) -> HttpCall:
        return self._send(user_id, {"type": "text", "text": {"body": text}, "biz_opaque_callback_data": delivery_id})

    def send_file(self, user_id: str, *, delivery_id: str, media: Media) -> HttpCall | None:
        file = {"link": media.url, "caption": media.caption}
        return self._send(user_id, {"type": media.kind, media.kind: file, "biz_opaque_callback_data": delivery_id})

    def check_sent(self, reply: HttpReply) -> None:
        raise_for_status(reply, WHO, quoted=False)
        parse(reply, Sent)

    def register(self) -> HttpCall:
        raise RemoteRefused("set the webhook's URL in the app's dashboard")

    def check_registered(self, reply: HttpReply) -> None:
        raise NotImplementedError

    def remove(self) -> HttpCall:
        raise RemoteRefused("remove the webhook's URL in the app's dashboard")

    def check_removed(self, reply: HttpReply) -> None:
        raise NotImplementedError

    def fetch_file(self, media: Media) -> Fetch | None:
        return self._file(media.file_id) if media.file_id else None

    def _file(self, file_id: str) -> Fetch:
        where = yield HttpCall(method="GET", url=f"{self._base_url}/{file_id}", headers=self._bearer)
        raise_for_status(where, WHO, quoted=False)
        file = yield HttpCall(method="GET", url=parse(where, FileAddress).url, headers=self._bearer)
        raise_for_status(file, WHO, quoted=False)
        if not file.body:
            raise RemoteGarbled(f"{WHO}: the file is empty")
        return file.body

    def _send(self, user_id: str, message: Mapping[str, object]) -> HttpCall:
        body = {"messaging_product": "whatsapp", "recipient_type": "individual", "to": f"+{user_id}", **message}
        return json_call("POST", f"{self._base_url}/{self._number_id}/messages", body, headers=self._bearer)


def _said(message: CloudMessage, now_ms: int) -> UserMessage:
    kind: MediaKind = "image"
    image = message.image
    return UserMessage(
        message_id=message.id,
        user_id=checked_user_id(message.sender),
        provider="whatsapp",
        sent_at_ms=moment_ms(message.timestamp, now_ms),
        text=message.text.body if message.text else "",
        media=Media(kind, mime_type=image.mime_type, caption=image.caption, file_id=image.id) if image else None,
    )
