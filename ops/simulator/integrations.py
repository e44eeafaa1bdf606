"""The Integrations API: texts to users and registered webhooks (integrations.md), bodies checked strictly."""

from __future__ import annotations

import uuid
from typing import Any, Literal

import falcon
import msgspec
from falcon import Request, Response

from bridge.ops.simulator.ledger import Ledger
from bridge.ops.simulator.settings import SimulatorSettings

_MOST_WHATSAPP = 4096
_MOST_FACEBOOK = 2000


class Body(msgspec.Struct):
    """WhatsApp's text."""

    body: str


class Media(msgspec.Struct, forbid_unknown_fields=True):
    """WhatsApp's image, video, document or audio."""

    url: str
    caption: str = ""


class WhatsAppMessage(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A delivery to a WhatsApp user; what it is stands under the name of its type."""

    id: str
    type: Literal["text", "image", "video", "document", "audio"]
    user_id: str
    text: Body | None = None
    image: Media | None = None
    video: Media | None = None
    document: Media | None = None
    audio: Media | None = None


class Recipient(msgspec.Struct, forbid_unknown_fields=True):
    """Messenger's user."""

    id: str


class MessengerText(msgspec.Struct, forbid_unknown_fields=True):
    """Messenger's text."""

    text: str


class MessengerMessage(msgspec.Struct, forbid_unknown_fields=True):
    """A delivery to a Messenger user; it carries no id."""

    messaging_type: Literal["RESPONSE"]
    recipient: Recipient
    message: MessengerText
    metadata: Literal["YALOSOURCE:FIREHOSE"]


class Webhook(msgspec.Struct, forbid_unknown_fields=True):
    """What `healthcheck` registers."""

    phone: str
    webhook: str
    provider: Literal["whatsapp", "facebook"]
    version: int


class Removal(msgspec.Struct, forbid_unknown_fields=True):
    """What `remove` forgets."""

    phone: str
    provider: Literal["whatsapp", "facebook"]


class IntegrationsResource:
    """The three calls of one bot."""

    def __init__(self, settings: SimulatorSettings, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger
        self.webhooks: dict[str, str] = {}

    def on_post_messages(self, req: Request, resp: Response, channel: str, bot: str) -> None:
        provider = self._admit(req, channel, bot)
        raw = _json(req)
        receive = self._to_whatsapp if provider == "whatsapp" else self._to_messenger
        receive(raw)
        resp.media = {"messages": [{"id": uuid.uuid4().hex}]}

    def on_post_healthcheck(self, req: Request, resp: Response, channel: str, bot: str) -> None:
        provider = self._admit(req, channel, bot)
        webhook = understood(_json(req), Webhook)
        if webhook.provider != provider or webhook.version != (3 if provider == "facebook" else 0):
            raise falcon.HTTPBadRequest(description="provider or version do not fit the bot")
        if not webhook.webhook.endswith(f"/v1/integrations/{provider}/webhook"):
            raise falcon.HTTPBadRequest(description="webhook is not the bridge's")
        self.webhooks[provider] = webhook.webhook
        self._ledger.record("webhook_registered", text=webhook.webhook, details={"provider": provider})
        resp.status = falcon.HTTP_201
        resp.media = {"bot_id": bot, "channel": channel, "webhook": webhook.webhook}

    def on_post_remove(self, req: Request, resp: Response, channel: str, bot: str) -> None:
        provider = self._admit(req, channel, bot)
        if understood(_json(req), Removal).provider != provider:
            raise falcon.HTTPBadRequest(description="provider does not fit the bot")
        self.webhooks.pop(provider, None)
        self._ledger.record("webhook_removed", details={"provider": provider})
        resp.status = falcon.HTTP_204

    def _admit(self, req: Request, channel: str, bot: str) -> str:
        """The provider of that bot. Raises 401 for a wrong token, 404 for an unknown bot."""
        ours = self._settings
        bots = {
            (ours.wa_channel, ours.wa_bot): ("whatsapp", ours.wa_token),
            (ours.fb_channel, ours.fb_bot): ("facebook", ours.fb_token),
        }
        if (channel, bot) not in bots:
            raise falcon.HTTPNotFound(description="no such bot")
        provider, token = bots[channel, bot]
        require_bearer(req, token)
        return provider

    def _to_whatsapp(self, raw: bytes) -> None:
        message = understood(raw, WhatsAppMessage)
        content = {name: getattr(message, name) for name in ("text", "image", "video", "document", "audio")}
        given = {name: value for name, value in content.items() if value is not None}
        if set(given) != {message.type} or not message.id or not message.user_id:
            raise falcon.HTTPBadRequest(description="id, userId, and exactly what the type names are required")
        text = message.text.body if message.text else given[message.type].url
        _require_length(text, _MOST_WHATSAPP)
        details = {"provider": "whatsapp", "type": message.type}
        self._ledger.delivered(message.user_id, text, id=message.id, details=details)

    def _to_messenger(self, raw: bytes) -> None:
        message = understood(raw, MessengerMessage)
        if not message.recipient.id:
            raise falcon.HTTPBadRequest(description="recipient.id is empty")
        _require_length(message.message.text, _MOST_FACEBOOK)
        self._ledger.delivered(message.recipient.id, message.message.text, id="", details={"provider": "facebook"})


def require_bearer(req: Request, token: str) -> None:
    """Raises 401 unless the request carries that bearer token; any one will do where ours is empty."""
    scheme, _, given = (req.get_header("Authorization") or "").partition(" ")
    if scheme != "Bearer" or not given or (token and given != token):
        raise falcon.HTTPUnauthorized(description="bearer token missing or wrong")


def understood(raw: bytes, shape: Any) -> Any:
    """The body in its shape. Raises 400."""
    try:
        return msgspec.json.decode(raw, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise falcon.HTTPBadRequest(description=str(error)) from error


def _json(req: Request) -> bytes:
    if not (req.content_type or "").startswith("application/json"):
        raise falcon.HTTPUnsupportedMediaType(description="the body must be JSON")
    return req.bounded_stream.read()


def _require_length(text: str, most: int) -> None:
    if not 1 <= len(text) <= most:
        raise falcon.HTTPBadRequest(description=f"a text has 1 to {most} characters, not {len(text)}")


def add_routes(app: falcon.App[Request, Response], settings: SimulatorSettings, ledger: Ledger) -> IntegrationsResource:
    """Everything under `/integrations`."""
    resource = IntegrationsResource(settings, ledger)
    for call in ("messages", "healthcheck", "remove"):
        app.add_route(f"/integrations/api/{{channel}}/bots/{{bot}}/{call}", resource, suffix=call)
    return resource
