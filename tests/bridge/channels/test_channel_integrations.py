"""The Integrations API: integrations.md, row by row, and long texts in pieces."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from bridge.channels.integrations.api import LONGEST_TEXT, Bot, Integrations, IntegrationsConfig, split
from bridge.errors import RemoteRefused, RemoteUnavailable
from bridge.messages import Provider
from bridge.wire import HttpReply

CONFIG = IntegrationsConfig(
    base_url="https://integrations.example",
    webhook_base_url="https://bridge.example",
    bots={
        "whatsapp": Bot(
            channel="outgoing_webhook", bot_id="shop wa/1", jwt=SecretStr("wa.jwt"), phone="+5215511223344"
        ),
        "facebook": Bot(channel="passthrough", bot_id="shop-fb", jwt=SecretStr("fb.jwt"), phone="233726951928154"),
    },
)
CODEC = Integrations(CONFIG)
WHATSAPP = "https://integrations.example/api/outgoing_webhook/bots/shop%20wa%2F1"
FACEBOOK = "https://integrations.example/api/passthrough/bots/shop-fb"


def test_a_whatsapp_text_carries_the_deliverys_id_at_every_attempt() -> None:
    first = CODEC.send_text("whatsapp", "521", delivery_id="chat-u1", text="¡Hola!")
    assert first == CODEC.send_text("whatsapp", "521", delivery_id="chat-u1", text="¡Hola!")
    assert (first.method, first.url) == ("POST", f"{WHATSAPP}/messages")
    assert first.headers["Authorization"] == "Bearer wa.jwt"
    assert json.loads(first.body) == {"id": "chat-u1", "type": "text", "userId": "521", "text": {"body": "¡Hola!"}}


def test_a_messenger_text_has_messengers_own_form() -> None:
    call = CODEC.send_text("facebook", "6199", delivery_id="chat-u1", text="Hola")
    assert (call.url, call.headers["Authorization"]) == (f"{FACEBOOK}/messages", "Bearer fb.jwt")
    assert json.loads(call.body) == {
        "messaging_type": "RESPONSE",
        "recipient": {"id": "6199"},
        "message": {"text": "Hola"},
        "metadata": "YALOSOURCE:FIREHOSE",
    }


@pytest.mark.parametrize(
    ("provider", "address", "phone", "version"),
    [("whatsapp", WHATSAPP, "+5215511223344", 0), ("facebook", FACEBOOK, "233726951928154", 3)],
)
def test_a_webhook_is_registered_and_removed(provider: Provider, address: str, phone: str, version: int) -> None:
    register, remove = CODEC.register(provider), CODEC.remove(provider)
    assert (register.url, remove.url) == (f"{address}/healthcheck", f"{address}/remove")
    assert json.loads(register.body) == {
        "phone": phone,
        "webhook": f"https://bridge.example/v1/integrations/{provider}/webhook",
        "provider": provider,
        "version": version,
    }
    assert json.loads(remove.body) == {"phone": phone, "provider": provider}


CHECKS = {"sent": CODEC.check_sent, "registered": CODEC.check_registered, "removed": CODEC.check_removed}
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
def test_what_passes_by_itself_may_be_sent_again(status: int) -> None:
    with pytest.raises(RemoteUnavailable) as caught:
        CODEC.check_sent(HttpReply(status, {"retry-after": "3"}))
    assert caught.value.retry_after_s == 3


def test_the_configuration_does_not_print_its_tokens() -> None:
    assert "jwt'" not in repr(CONFIG)
    assert "wa.jwt" not in repr(CONFIG)


# --- long texts -------------------------------------------------------------------------------------------------------

TEXTS = st.text(alphabet=st.sampled_from(["a", "é", " ", "\n", "😀", "\u0301", "\u200d"]), max_size=40)


@given(st.lists(TEXTS, max_size=40), st.integers(1, 300), st.sampled_from(["whatsapp", "facebook"]))
def test_nothing_of_a_long_text_is_lost_and_no_piece_is_too_long(
    words: list[str], times: int, provider: Provider
) -> None:
    text = "".join(words) * times
    parts = split(provider, text)
    assert "".join(parts) == text
    assert all(0 < len(part) <= LONGEST_TEXT[provider] for part in parts)
    assert len(parts) <= 2 * len(text) // LONGEST_TEXT[provider] + 1


@pytest.mark.parametrize(("provider", "longest"), [("whatsapp", 4096), ("facebook", 2000)])
def test_a_text_that_just_fits_stays_whole(provider: Provider, longest: int) -> None:
    assert split(provider, "x" * longest) == ["x" * longest]
    assert [len(part) for part in split(provider, "x" * (longest + 1))] == [longest, 1]


def test_no_text_is_no_piece() -> None:
    assert split("whatsapp", "") == []


def test_a_piece_ends_behind_a_line_rather_than_a_word_and_a_word_rather_than_inside_it() -> None:
    lines = "a" * 1500 + "\n" + "b c " * 200
    assert split("facebook", lines)[0] == "a" * 1500 + "\n"
    words = "word " * 500
    assert all(part.endswith("word ") for part in split("facebook", words))


def test_a_boundary_far_back_does_not_make_a_tiny_piece() -> None:
    assert len(split("facebook", "a\n" + "b" * 3000)[0]) == 2000


def test_a_sign_keeps_what_belongs_to_it() -> None:
    accented = "x" * 1999 + "e\u0301" + "y" * 10
    assert [unicodedata.normalize("NFC", part)[0] for part in split("facebook", accented)] == ["x", "é"]
    family = "👩\u200d👧"
    assert split("facebook", "x" * 1998 + family + "y")[1].startswith(family)
