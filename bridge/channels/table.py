"""Which channel carries which provider, made from the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bridge.channels.channel import Channel, Channels
from bridge.channels.integrations.api import Bot, IntegrationsConfig
from bridge.channels.integrations.messenger import Messenger
from bridge.channels.integrations.whatsapp import WhatsApp
from bridge.channels.signature import SharedSecret
from bridge.messages import Provider
from bridge.settings.load import Settings


def channels(settings: Settings) -> Channels:
    """The channel of each provider."""
    return {provider: make(settings) for provider, make in CHANNELS.items()}


def _whatsapp(settings: Settings) -> Channel:
    bot = Bot(
        channel=settings.integrations_wa_channel,
        bot_id=settings.integrations_wa_bot_id,
        jwt=settings.integrations_wa_bot_jwt,
        phone=settings.integrations_wa_bot_phone,
    )
    return WhatsApp(_config(settings, bot), ignored=settings.ignore_message_types)


def _messenger(settings: Settings) -> Channel:
    bot = Bot(
        channel=settings.integrations_fb_channel,
        bot_id=settings.integrations_fb_bot_id,
        jwt=settings.integrations_fb_bot_jwt,
        phone=settings.integrations_fb_bot_phone,
    )
    return Messenger(_config(settings, bot))


def _config(settings: Settings, bot: Bot) -> IntegrationsConfig:
    signature = SharedSecret(
        settings.integrations_signature.get_secret_value(),
        plain_header=settings.signature_header,
        hmac_header=settings.signature_hmac_header,
    )
    return IntegrationsConfig(
        base_url=settings.integrations_base_url.rstrip("/"),
        webhook_base_url=settings.webhook_base_url.rstrip("/"),
        bot=bot,
        signature=signature,
    )


CHANNELS: Mapping[Provider, Callable[[Settings], Channel]] = {"whatsapp": _whatsapp, "facebook": _messenger}
