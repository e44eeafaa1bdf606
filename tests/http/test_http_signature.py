"""INTEGRATIONS_SIGNATURE: who may deliver a webhook."""

from __future__ import annotations

import hashlib
import hmac
import io

import pytest
from front_door import FrontDoorClient, RecordingDoor, refusal

SECRET = "firma-muy-larga-y-secreta-ñ"
BODY = '{"from": "52", "id": "1", "text": {"body": "¡Hola!"}, "timestamp": "1632367928574", "type": "text"}'.encode()
FORBIDDEN = (403, "Invalid signature.")
WHATSAPP, FACEBOOK = "/v1/integrations/whatsapp/webhook", "/v1/integrations/facebook/webhook"


def hmac_of(body: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def on_the_wire(value: str) -> str:
    """A header as WSGI hands over the bytes of UTF-8."""
    return value.encode().decode("latin-1")


@pytest.fixture
def guarded(door: RecordingDoor) -> FrontDoorClient:
    return FrontDoorClient(door, integrations_signature=SECRET)


def deliver(client: FrontDoorClient, headers: dict[str, str], body: bytes = BODY) -> tuple[int, str]:
    result = client.simulate_post(
        WHATSAPP, body=body, extras={f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    )
    return (200, "") if result.status_code == 200 else refusal(result)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Yalo-Signature": on_the_wire(SECRET)},
        {"X-Hub-Signature-256": hmac_of(BODY)},
        {"X-Hub-Signature-256": hmac_of(BODY).upper().replace("SHA", "sha")},
        {"X-Yalo-Signature": on_the_wire(SECRET), "X-Hub-Signature-256": "sha256=00"},
    ],
    ids=["the secret itself", "an HMAC of the bytes", "in capitals", "one of the two"],
)
def test_a_signed_delivery_is_taken(guarded: FrontDoorClient, door: RecordingDoor, headers: dict[str, str]) -> None:
    assert deliver(guarded, headers) == (200, "")
    assert len(door.posted) == 1


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param({"X-Yalo-Signature": ""}, id="an empty one"),
        pytest.param({"X-Yalo-Signature": "wrong"}, id="a wrong one"),
        pytest.param({"X-Yalo-Signature": on_the_wire(SECRET[:-1])}, id="a part of it"),
        pytest.param({"X-Yalo-Signature": "\xff\xfe€"}, id="odd characters"),
        pytest.param({"X-Yalo-Signature": hmac_of(BODY)}, id="the HMAC in the other header"),
        pytest.param({"X-Hub-Signature-256": on_the_wire(SECRET)}, id="the secret in the other header"),
        pytest.param({"X-Hub-Signature-256": hmac_of(BODY, "other")}, id="an HMAC with another key"),
        pytest.param({"X-Hub-Signature-256": hmac_of(BODY + b" ")}, id="an HMAC of another body"),
        pytest.param({"X-Hub-Signature-256": hmac_of(BODY).removeprefix("sha256=")}, id="an HMAC without its name"),
        pytest.param({"X-Hub-Signature-256": "sha256="}, id="an empty HMAC"),
    ],
)
def test_a_delivery_that_is_not_signed_well_is_forbidden(
    guarded: FrontDoorClient, door: RecordingDoor, headers: dict[str, str]
) -> None:
    assert deliver(guarded, headers) == FORBIDDEN
    assert door.posted == []


def test_the_signature_is_checked_before_the_body_is_read_as_json(guarded: FrontDoorClient) -> None:
    assert deliver(guarded, {}, b"[" * 100_000) == FORBIDDEN
    assert deliver(guarded, {"X-Hub-Signature-256": hmac_of(b"{")}, b"{")[0] == 400


def test_messenger_is_guarded_too(guarded: FrontDoorClient) -> None:
    assert refusal(guarded.simulate_post(FACEBOOK, body=b"{}")) == FORBIDDEN


def test_the_headers_are_settings(door: RecordingDoor) -> None:
    names = {"signature_header": "X-Ours", "signature_hmac_header": "X-Our-Hmac"}
    client = FrontDoorClient(door, integrations_signature=SECRET, **names)
    assert deliver(client, {"X-Ours": on_the_wire(SECRET)}) == (200, "")
    assert deliver(client, {"X-Our-Hmac": hmac_of(BODY)}) == (200, "")
    assert deliver(client, {"X-Yalo-Signature": on_the_wire(SECRET)}) == FORBIDDEN


def test_without_the_setting_nothing_is_asked(client: FrontDoorClient, door: RecordingDoor) -> None:
    assert deliver(client, {}) == (200, "")


def test_the_first_refusal_names_the_headers_and_the_later_ones_do_not_flood_the_log(
    guarded: FrontDoorClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG", "bridge.http.webhooks"):
        for _ in range(3):
            deliver(guarded, {"X-Yalo-Signature": "wrong"})
    assert [record.levelname for record in caplog.records] == ["ERROR", "DEBUG", "DEBUG"]
    assert "X-Yalo-Signature" in caplog.text
    assert "X-Hub-Signature-256" in caplog.text
    assert SECRET not in caplog.text


class Unreadable(io.BytesIO):
    """A body that must not be asked for."""

    def read(self, size: int | None = -1) -> bytes:
        raise AssertionError("the body was read")


@pytest.mark.parametrize("plain", [None, "wrong"])
def test_the_body_of_a_request_that_no_header_signs_is_not_read(guarded: FrontDoorClient, plain: str | None) -> None:
    extras: dict[str, object] = {"wsgi.input": Unreadable(), "CONTENT_LENGTH": "1000"}
    extras |= {"HTTP_X_YALO_SIGNATURE": plain} if plain else {}
    assert refusal(guarded.simulate_post(WHATSAPP, extras=extras)) == FORBIDDEN
