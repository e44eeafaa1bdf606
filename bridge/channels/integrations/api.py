"""The Integrations API, outbound: texts to users, and where our webhooks are (integrations.md)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from urllib.parse import quote as percent_encode

import msgspec
from pydantic import SecretStr

from bridge.errors import RemoteRefused
from bridge.messages import Provider
from bridge.settings.load import Settings
from bridge.wire import HttpCall, HttpReply, json_call, raise_for_status

WHO = "Integrations API"
# Characters that a channel takes in one text.
LONGEST_TEXT: Mapping[Provider, int] = {"whatsapp": 4096, "facebook": 2000}
_WEBHOOK_VERSION: Mapping[Provider, int] = {"whatsapp": 0, "facebook": 3}
_JOINER = "\u200d"


class Bot(msgspec.Struct, frozen=True, kw_only=True):
    """One provider's bot: its channel, name, bearer, and the phone number or page that it speaks as."""

    channel: str
    bot_id: str
    jwt: SecretStr
    phone: str = ""


class IntegrationsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the Integrations API is, where we are, and the bot of each provider."""

    base_url: str
    webhook_base_url: str
    bots: Mapping[Provider, Bot]

    @classmethod
    def from_settings(cls, settings: Settings) -> IntegrationsConfig:
        """The INTEGRATIONS_ settings."""
        whatsapp = Bot(
            channel=settings.integrations_wa_channel,
            bot_id=settings.integrations_wa_bot_id,
            jwt=settings.integrations_wa_bot_jwt,
            phone=settings.integrations_wa_bot_phone,
        )
        facebook = Bot(
            channel=settings.integrations_fb_channel,
            bot_id=settings.integrations_fb_bot_id,
            jwt=settings.integrations_fb_bot_jwt,
            phone=settings.integrations_fb_bot_phone,
        )
        return cls(
            base_url=settings.integrations_base_url.rstrip("/"),
            webhook_base_url=settings.webhook_base_url.rstrip("/"),
            bots={"whatsapp": whatsapp, "facebook": facebook},
        )


class Integrations:
    """Requests to the Integrations API, and their answers: each check raises RemoteError."""

    def __init__(self, config: IntegrationsConfig) -> None:
        self.config = config

    def send_text(self, provider: Provider, user_id: str, *, delivery_id: str, text: str) -> HttpCall:
        """Sends one text.

        `delivery_id` is the same at every attempt; WhatsApp's body carries it, Messenger's has no place for it.
        """
        return self._call(provider, "messages", _BODIES[provider](user_id, delivery_id, text))

    def check_sent(self, reply: HttpReply) -> None:
        """Nothing, if the text was taken: its status says so; the body only repeats the id."""
        _check(reply, 200, 201)

    def register(self, provider: Provider) -> HttpCall:
        """Tells where our webhook of that provider is."""
        body = {
            "phone": self.config.bots[provider].phone,
            "webhook": f"{self.config.webhook_base_url}/v1/integrations/{provider}/webhook",
            "provider": provider,
            "version": _WEBHOOK_VERSION[provider],
        }
        return self._call(provider, "healthcheck", body)

    def check_registered(self, reply: HttpReply) -> None:
        """Nothing, if the webhook is known now."""
        _check(reply, 201)

    def remove(self, provider: Provider) -> HttpCall:
        """Tells to forget our webhook of that provider."""
        return self._call(provider, "remove", {"phone": self.config.bots[provider].phone, "provider": provider})

    def check_removed(self, reply: HttpReply) -> None:
        """Nothing, if the webhook is forgotten now."""
        _check(reply, 204)

    def _call(self, provider: Provider, action: str, body: Mapping[str, object]) -> HttpCall:
        bot = self.config.bots[provider]
        channel, bot_id = percent_encode(bot.channel, safe=""), percent_encode(bot.bot_id, safe="")
        url = f"{self.config.base_url}/api/{channel}/bots/{bot_id}/{action}"
        return json_call("POST", url, body, headers={"Authorization": f"Bearer {bot.jwt.get_secret_value()}"})


def _whatsapp(user_id: str, delivery_id: str, text: str) -> dict[str, object]:
    return {"id": delivery_id, "type": "text", "userId": user_id, "text": {"body": text}}


def _facebook(user_id: str, delivery_id: str, text: str) -> dict[str, object]:
    return {
        "messaging_type": "RESPONSE",
        "recipient": {"id": user_id},
        "message": {"text": text},
        "metadata": "YALOSOURCE:FIREHOSE",
    }


_BODIES = {"whatsapp": _whatsapp, "facebook": _facebook}


def _check(reply: HttpReply, *wanted: int) -> None:
    raise_for_status(reply, WHO, quoted=False)
    if reply.status not in wanted:
        raise RemoteRefused(f"{WHO}: [{reply.status}] is not an answer to this request", status=reply.status)


# --- long texts -----------------------------------------------------------------------------------------------------


def split(provider: Provider, text: str) -> list[str]:
    """The text in pieces that the channel takes, in order; `"".join` gives it back whole, and nothing gives nothing.

    A piece ends behind a line or a word where one ends in its second half, else between two characters.
    """
    return list(_pieces(text, LONGEST_TEXT[provider]))


def _pieces(text: str, longest: int) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = _end(text, start, longest)
        yield text[start:end]
        start = end


def _end(text: str, start: int, longest: int) -> int:
    end = start + longest
    if end >= len(text):
        return len(text)
    for boundary in ("\n", " "):
        found = text.rfind(boundary, start + longest // 2, end)
        if found >= 0:
            return found + 1
    return _between_characters(text, start + longest // 2, end)


def _between_characters(text: str, least: int, end: int) -> int:
    # An accent or a joined emoji stays with the sign that it belongs to.
    for cut in range(end, least, -1):
        if not _continues(text[cut]) and text[cut - 1] != _JOINER:
            return cut
    return end


def _continues(sign: str) -> bool:
    return unicodedata.category(sign) in ("Mn", "Mc", "Me") or sign == _JOINER or "\U0001f3fb" <= sign <= "\U0001f3ff"
