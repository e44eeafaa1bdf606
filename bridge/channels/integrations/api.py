"""The Integrations API: its calls, and what WhatsApp and Messenger have in common there (integrations.md)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import quote as percent_encode

import msgspec
from pydantic import SecretStr

from bridge.channels.channel import Challenge, Fetch, Header, Received
from bridge.channels.signature import SharedSecret
from bridge.errors import RemoteRefused
from bridge.messages import Media, Provider
from bridge.wire import HttpCall, HttpReply, json_call, raise_for_status

WHO = "Integrations API"


class Bot(msgspec.Struct, frozen=True, kw_only=True):
    """One provider's bot.

    `channel` is the Integrations API's name for how it is connected; `phone` is the number, or the page, that the
    bot speaks as.
    """

    channel: str
    bot_id: str
    jwt: SecretStr
    phone: str = ""


class IntegrationsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the Integrations API is, where we are, the bot, and what signs a webhook."""

    base_url: str
    webhook_base_url: str
    bot: Bot
    signature: SharedSecret


class IntegrationsChannel(ABC):
    """A provider behind the Integrations API; its own body of a text and of a webhook is a subclass's."""

    provider: ClassVar[Provider]
    longest_text: ClassVar[int]
    webhook_version: ClassVar[int]
    challenge: Challenge | None = None

    def __init__(self, config: IntegrationsConfig) -> None:
        self.config = config

    @property
    def signature_headers(self) -> str:
        """Which headers sign a webhook."""
        return self.config.signature.headers

    def admits(self, header: Header) -> bool:
        """Whether the body of a webhook with these headers is worth reading."""
        return self.config.signature.admits(header)

    def verify(self, header: Header, body: bytes) -> bool:
        """Whether a webhook carries INTEGRATIONS_SIGNATURE."""
        return self.config.signature.verify(header, body)

    @abstractmethod
    def read(self, body: bytes, *, now_ms: int) -> Received:
        """What a webhook says. Raises PayloadError."""

    @abstractmethod
    def text_body(self, user_id: str, delivery_id: str, text: str) -> Mapping[str, object]:
        """The body that sends one text (integrations.md, "Sending a text")."""

    def send_text(self, user_id: str, *, delivery_id: str, text: str) -> HttpCall:
        """Sends one text."""
        return self.call("messages", self.text_body(user_id, delivery_id, text))

    def send_file(self, user_id: str, *, delivery_id: str, media: Media) -> HttpCall | None:
        """Nothing: no body for a file is known."""
        return None

    def check_sent(self, reply: HttpReply) -> None:
        """Returns for 200 and 201. The body only repeats the id."""
        _check(reply, 200, 201)

    def register(self) -> HttpCall:
        """Tells where our webhook is (integrations.md, "Registering a webhook")."""
        body = {
            "phone": self.config.bot.phone,
            "webhook": f"{self.config.webhook_base_url}/v1/integrations/{self.provider}/webhook",
            "provider": self.provider,
            "version": self.webhook_version,
        }
        return self.call("healthcheck", body)

    def check_registered(self, reply: HttpReply) -> None:
        """Returns for 201."""
        _check(reply, 201)

    def remove(self) -> HttpCall:
        """Tells to forget our webhook."""
        return self.call("remove", {"phone": self.config.bot.phone, "provider": self.provider})

    def check_removed(self, reply: HttpReply) -> None:
        """Returns for 204."""
        _check(reply, 204)

    def fetch_file(self, media: Media) -> Fetch | None:
        """Nothing: a file's URL needs no token."""
        return None

    def call(self, action: str, body: Mapping[str, object]) -> HttpCall:
        """A call of the bot (integrations.md, "Calls")."""
        bot = self.config.bot
        channel, bot_id = percent_encode(bot.channel, safe=""), percent_encode(bot.bot_id, safe="")
        url = f"{self.config.base_url}/api/{channel}/bots/{bot_id}/{action}"
        return json_call("POST", url, body, headers={"Authorization": f"Bearer {bot.jwt.get_secret_value()}"})


def _check(reply: HttpReply, *wanted: int) -> None:
    raise_for_status(reply, WHO, quoted=False)
    if reply.status not in wanted:
        raise RemoteRefused(f"{WHO}: [{reply.status}] is not an answer to this request", status=reply.status)
