"""WhatsApp and Messenger through the Integrations API: each call of integrations.md."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from pydantic import SecretStr

from bridge.channels.integrations.api import Bot, IntegrationsChannel, IntegrationsConfig
from bridge.channels.integrations.messenger import Messenger
from bridge.channels.integrations.whatsapp import WhatsApp
from bridge.channels.signature import SharedSecret
from bridge.errors import RemoteRefused, RemoteUnavailable
from bridge.messages import Media, MediaKind
from bridge.wire import HttpReply

SIGNATURE = SharedSecret("firma", plain_header="X-Plain", hmac_header="X-Hmac")


def config(bot: Bot) -> IntegrationsConfig:
    return IntegrationsConfig(
        base_url="https://integrations.example",
        webhook_base_url="https://bridge.example",
        bot=bot,
        signature=SIGNATURE,
    )


WA_BOT = Bot(channel="outgoing_webhook", bot_id="shop wa/1", jwt=SecretStr("wa.jwt"), phone="+5215511223344")
WHATSAPP = WhatsApp(config(WA_BOT))
MESSENGER = Messenger(
    config(Bot(channel="passthrough", bot_id="shop-fb", jwt=SecretStr("fb.jwt"), phone="233726951928154"))
)
WA_URL = "https://integrations.example/api/outgoing_webhook/bots/shop%20wa%2F1"
FB_URL = "https://integrations.example/api/passthrough/bots/shop-fb"


def test_a_whatsapp_text_carries_the_deliverys_id_at_every_attempt() -> None:
    first = WHATSAPP.send_text("521", delivery_id="chat-u1", text="¡Hola!")
    assert first == WHATSAPP.send_text("521", delivery_id="chat-u1", text="¡Hola!")
    assert (first.method, first.url) == ("POST", f"{WA_URL}/messages")
    assert first.headers["Authorization"] == "Bearer wa.jwt"
    assert json.loads(first.body) == {"id": "chat-u1", "type": "text", "userId": "521", "text": {"body": "¡Hola!"}}


def test_a_messenger_text_has_messengers_own_form() -> None:
    call = MESSENGER.send_text("6199", delivery_id="chat-u1", text="Hola")
    assert (call.url, call.headers["Authorization"]) == (f"{FB_URL}/messages", "Bearer fb.jwt")
    assert json.loads(call.body) == {
        "messaging_type": "RESPONSE",
        "recipient": {"id": "6199"},
        "message": {"text": "Hola"},
        "metadata": "YALOSOURCE:FIREHOSE",
    }


@pytest.mark.parametrize(
    ("channel", "address", "phone", "version"),
    [(WHATSAPP, WA_URL, "+5215511223344", 0), (MESSENGER, FB_URL, "233726951928154", 3)],
    ids=["whatsapp", "facebook"],
)
def test_a_webhook_is_registered_and_removed(
    channel: IntegrationsChannel, address: str, phone: str, version: int
) -> None:
    register, remove, provider = channel.register(), channel.remove(), channel.provider
    assert (register.url, remove.url) == (f"{address}/healthcheck", f"{address}/remove")
    assert json.loads(register.body) == {
        "phone": phone,
        "webhook": f"https://bridge.example/v1/integrations/{provider}/webhook",
        "provider": provider,
        "version": version,
    }
    assert json.loads(remove.body) == {"phone": phone, "provider": provider}


@pytest.mark.parametrize("kind", ["image", "video", "document", "audio", "file"])
def test_a_file_to_whatsapp_stands_under_the_name_of_its_type(kind: MediaKind) -> None:
    media = Media(kind, "https://media.example/f", caption="mira")
    call = WHATSAPP.send_file("521", delivery_id="chat-u1", media=media)
    assert call is not None
    name = "document" if kind == "file" else kind
    file = {"url": "https://media.example/f", "caption": "mira"}
    assert json.loads(call.body) == {"id": "chat-u1", "type": name, "userId": "521", name: file}


def test_no_body_for_a_file_to_messenger_is_known() -> None:
    assert MESSENGER.send_file("6199", delivery_id="chat-u1", media=Media("image", "https://media.example/f")) is None


CHECKS: dict[str, Callable[[HttpReply], None]] = {
    "sent": WHATSAPP.check_sent,
    "registered": WHATSAPP.check_registered,
    "removed": WHATSAPP.check_removed,
}
ACCEPTED = [("sent", 200), ("sent", 201), ("registered", 201), ("removed", 204)]


@pytest.mark.parametrize(("check", "status"), ACCEPTED)
def test_success_is_told_by_the_status(check: str, status: int) -> None:
    CHECKS[check](HttpReply(status, {}, b"whatever"))


STATUSES = (200, 201, 202, 204, 301, 400, 401, 404)
REFUSED = [(check, status) for check in CHECKS for status in STATUSES if (check, status) not in ACCEPTED]


@pytest.mark.parametrize(("check", "status"), REFUSED)
def test_any_other_status_is_a_refusal(check: str, status: int) -> None:
    with pytest.raises(RemoteRefused) as caught:
        CHECKS[check](HttpReply(status))
    assert caught.value.status == status


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_fault_that_may_pass_is_worth_another_attempt(status: int) -> None:
    with pytest.raises(RemoteUnavailable) as caught:
        WHATSAPP.check_sent(HttpReply(status, {"retry-after": "3"}))
    assert caught.value.retry_after_s == 3


def test_the_configuration_does_not_print_its_tokens() -> None:
    assert "jwt'" not in repr(WHATSAPP.config)
    assert "wa.jwt" not in repr(WHATSAPP.config)
