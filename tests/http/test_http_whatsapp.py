"""The WhatsApp webhook: every type, who speaks, when, and what ends a chat."""

from __future__ import annotations

import time
from typing import Any

import pytest
from front_door import FrontDoorClient, RecordingDoor, refusal

from bridge.channels.integrations.whatsapp import KNOWN_TYPES
from bridge.errors import MailboxFull, StoreUnavailable
from bridge.messages import Media, UserMessage

PATH = "/v1/integrations/whatsapp/webhook"
MALFORMED = (400, "invalid pauload received : error decode body request")
TEXT = {
    "from": "5215573735001",
    "id": "ABGHUhVXNzUALwIQZWnmjBi7IBmfp2EfNrYbRQ",
    "text": {"body": "Hola"},
    "timestamp": "1632367928574",
    "type": "text",
}
IMAGE = {
    "from": "5215514732842",
    "id": "ABGHUhVRRzKEPwIKOo4a1mKpR_2KoA",
    "image": {"caption": "", "mimeType": "image/jpeg", "url": "https://api.example/media/a97f26b7"},
    "timestamp": "1630107882351",
    "type": "image",
}


def deliver(client: FrontDoorClient, body: Any) -> Any:
    return client.simulate_post(PATH, json=body)


def accepted(client: FrontDoorClient, body: Any) -> None:
    result = deliver(client, body)
    assert (result.status_code, result.json) == (200, {"Message": "insert success"})


def test_a_documented_text_reaches_the_door(client: FrontDoorClient, door: RecordingDoor) -> None:
    accepted(client, TEXT)
    assert door.posted == [
        UserMessage(
            message_id="ABGHUhVXNzUALwIQZWnmjBi7IBmfp2EfNrYbRQ",
            user_id="5215573735001",
            provider="whatsapp",
            sent_at_ms=1632367928574,
            text="Hola",
        )
    ]


def test_a_documented_image_reaches_the_door(client: FrontDoorClient, door: RecordingDoor) -> None:
    accepted(client, IMAGE)
    assert door.posted == [
        UserMessage(
            message_id="ABGHUhVRRzKEPwIKOo4a1mKpR_2KoA",
            user_id="5215514732842",
            provider="whatsapp",
            sent_at_ms=1630107882351,
            media=Media(kind="image", url="https://api.example/media/a97f26b7", mime_type="image/jpeg"),
        )
    ]


FILE = {"url": "https://media.example/f", "mimeType": "x/y", "caption": "mira"}


@pytest.mark.parametrize(
    ("kind", "as_kind"),
    [("image", "image"), ("document", "document"), ("audio", "audio"), ("voice", "audio"), ("video", "video")],
)
def test_a_file_of_each_type_is_media(client: FrontDoorClient, door: RecordingDoor, kind: str, as_kind: Any) -> None:
    accepted(client, {"from": "52", "id": kind, "timestamp": "1632367928574", "type": kind, kind: FILE})
    assert door.posted[0].media == Media(kind=as_kind, url="https://media.example/f", mime_type="x/y", caption="mira")
    assert door.posted[0].text == ""


CONTACT = {
    "name": {"formatted_name": "Ana Ruiz"},
    "phones": [{"phone": "+52 55 1234"}, {"wa_id": "5255"}],
    "emails": [{"email": "ana@example.com"}],
}
SAID = [
    ("location", {"latitude": 19.43, "longitude": -99.13}, "Ubicación: https://maps.google.com/?q=19.43,-99.13"),
    (
        "location",
        {"latitude": 19.43, "longitude": -99.13, "name": "Zócalo", "address": "Centro"},
        "Ubicación: Zócalo, Centro https://maps.google.com/?q=19.43,-99.13",
    ),
    ("contacts", [CONTACT], "Contacto: Ana Ruiz, +52 55 1234, 5255, ana@example.com"),
    ("contacts", [{"name": {"formattedName": "Ana"}}, {}], "Contacto: Ana\nContacto: sin nombre"),
    ("contacts", [{"name": 5, "phones": "x", "emails": [3]}], "Contacto: sin nombre"),
    ("sticker", {"url": "https://media.example/s", "mimeType": "image/webp"}, "Sticker"),
    ("reaction", {"messageId": "x", "emoji": "👍"}, "Reacción: 👍"),
    ("reaction", {"messageId": "x", "emoji": ""}, "Reacción eliminada"),
    ("button", {"text": "Sí", "payload": "yes"}, "Sí"),
    ("interactive", {"type": "button_reply", "button_reply": {"id": "1", "title": "Comprar"}}, "Comprar"),
    ("interactive", {"type": "list_reply", "list_reply": {"id": "1", "title": "Pedidos"}}, "Pedidos"),
]


@pytest.mark.parametrize(("kind", "content", "line"), SAID)
def test_what_is_no_text_becomes_a_readable_line(
    client: FrontDoorClient, door: RecordingDoor, kind: str, content: Any, line: str
) -> None:
    accepted(client, {"from": "52", "id": "x", "timestamp": 1632367928, "type": kind, kind: content})
    assert [(message.text, message.media) for message in door.posted] == [(line, None)]


def test_every_known_type_is_tried_above() -> None:
    files = {"image", "document", "audio", "voice", "video"}
    assert {"text"} | files | {kind for kind, _, _ in SAID} == KNOWN_TYPES


@pytest.mark.parametrize("kind", ["status", "notification-status", "STATUS"])
def test_an_ignored_type_is_200_and_dropped(client: FrontDoorClient, door: RecordingDoor, kind: str) -> None:
    accepted(client, {"type": kind, "status": "delivered"})
    assert door.posted == []


def test_the_setting_says_what_is_ignored(door: RecordingDoor) -> None:
    client = FrontDoorClient(door, ignore_message_types="text,sticker")
    accepted(client, TEXT)
    accepted(client, {"type": "status"})
    assert door.posted == []


def test_an_unknown_type_is_200_and_logged(
    client: FrontDoorClient, door: RecordingDoor, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        accepted(client, {"type": "hologram\n2026 forged line", "from": "52", "id": "1"})
    assert door.posted == []
    assert any("hologram" in record.getMessage() for record in caplog.records)
    assert not any("\n" in record.getMessage() for record in caplog.records)


def test_an_empty_text_is_200_and_dropped(client: FrontDoorClient, door: RecordingDoor) -> None:
    accepted(client, {**TEXT, "text": {"body": " \n"}})
    assert door.posted == []


def test_with_to_it_is_the_bot_that_speaks(client: FrontDoorClient, door: RecordingDoor) -> None:
    accepted(client, {**TEXT, "from": "521554578545", "to": "5215573735001"})
    assert [(message.user_id, message.sender) for message in door.posted] == [("5215573735001", "bot")]


@pytest.mark.parametrize("nobody", ["", None])
def test_an_empty_to_is_none(client: FrontDoorClient, door: RecordingDoor, nobody: Any) -> None:
    accepted(client, {**TEXT, "to": nobody})
    assert [(message.user_id, message.sender) for message in door.posted] == [("5215573735001", "user")]


@pytest.mark.parametrize("timestamp", ["1632367928574", 1632367928574, 1632367928574.0, "1632367928574.0"])
def test_a_time_may_be_text_or_number(client: FrontDoorClient, door: RecordingDoor, timestamp: Any) -> None:
    accepted(client, {**TEXT, "timestamp": timestamp})
    assert door.posted[0].sent_at_ms == 1632367928574


@pytest.mark.parametrize("timestamp", ["1632367928", 1632367928])
def test_seconds_are_told_by_their_size(client: FrontDoorClient, door: RecordingDoor, timestamp: Any) -> None:
    accepted(client, {**TEXT, "timestamp": timestamp})
    assert door.posted[0].sent_at_ms == 1632367928000


@pytest.mark.parametrize("timestamp", ["", "ayer", None, 0, -5, 7, "inf", "nan", 1e300, 10**18, 10**400])
def test_a_senseless_time_is_now_and_loses_no_message(
    client: FrontDoorClient, door: RecordingDoor, timestamp: Any
) -> None:
    before_ms = time.time() * 1000 - 1
    accepted(client, {**TEXT, "timestamp": timestamp})
    assert before_ms <= door.posted[0].sent_at_ms <= time.time() * 1000


def test_a_repeat_is_200_and_has_no_second_effect(client: FrontDoorClient, door: RecordingDoor) -> None:
    accepted(client, TEXT)
    accepted(client, TEXT)
    assert len(door.posted) == 1


NOTHING = [
    pytest.param({}, id="empty"),
    pytest.param({**TEXT, "type": ""}, id="an empty type"),
    pytest.param({**TEXT, "type": None}, id="a null type"),
    pytest.param({**TEXT, "from": ""}, id="from nobody"),
    pytest.param({"type": "text", "id": "1", "text": {"body": "x"}}, id="no from"),
    pytest.param({**TEXT, "text": {}}, id="no body"),
    pytest.param({**TEXT, "text": {"body": None}}, id="a null body"),
    pytest.param({**TEXT, "text": None}, id="a null text"),
    pytest.param({**IMAGE, "image": {"caption": "x"}}, id="a file without a place"),
    pytest.param({**IMAGE, "image": {"url": ""}}, id="a file at an empty place"),
    pytest.param({**TEXT, "type": "image"}, id="an image without an image"),
    pytest.param({**TEXT, "type": "location", "location": {"latitude": 1}}, id="half a place"),
    pytest.param({**TEXT, "type": "interactive", "interactive": {"type": "nfm_reply"}}, id="no choice"),
]


@pytest.mark.parametrize("body", NOTHING)
def test_a_delivery_that_says_nothing_is_200_and_logged_once_a_kind(
    client: FrontDoorClient, door: RecordingDoor, body: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "bridge.http.webhooks"):
        accepted(client, body)
        accepted(client, body)
    assert door.posted == []
    assert [record.levelname for record in caplog.records] == ["INFO"]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param([], id="a list"),
        pytest.param("text", id="a string"),
        pytest.param(None, id="null"),
        pytest.param({**TEXT, "type": 7}, id="a number for a type"),
        pytest.param({**TEXT, "id": ""}, id="no id"),
        pytest.param({**TEXT, "id": 7}, id="a number for an id"),
        pytest.param({**TEXT, "id": "x" * 513}, id="a long id"),
        pytest.param({**TEXT, "from": "a b"}, id="from an odd id"),
        pytest.param({**TEXT, "from": "52\n"}, id="from an id with a line end"),
        pytest.param({**TEXT, "from": "5" * 129}, id="from a long id"),
        pytest.param({**TEXT, "to": "{p07}:x"}, id="to an odd id"),
        pytest.param({**TEXT, "text": "Hola"}, id="a bare text"),
        pytest.param({**TEXT, "text": {"body": 7}}, id="a number for a body"),
        pytest.param({**TEXT, "timestamp": [1]}, id="a list for a time"),
        pytest.param({**TEXT, "text": {"body": "x" * 16_385}}, id="a long text"),
        pytest.param({**IMAGE, "image": {"url": "https://x.example", "caption": "x" * 16_385}}, id="a long caption"),
        pytest.param({**IMAGE, "image": {"url": "https://x.example/" + "x" * 4096}}, id="a long address"),
        pytest.param({**IMAGE, "image": {"url": "https://x.example", "mimeType": "x" * 256}}, id="a long type"),
        pytest.param({**TEXT, "type": "contacts", "contacts": [{}] * 101}, id="many contacts"),
    ],
)
def test_a_message_that_cannot_be_taken_is_refused_in_the_documented_words(
    client: FrontDoorClient, door: RecordingDoor, body: Any
) -> None:
    assert refusal(deliver(client, body)) == MALFORMED
    assert door.posted == []


def test_the_longest_text_is_taken(client: FrontDoorClient, door: RecordingDoor) -> None:
    accepted(client, {**TEXT, "text": {"body": "ñ" * 16_384}})
    assert len(door.posted[0].text) == 16_384


def test_keys_are_matched_in_any_case(client: FrontDoorClient, door: RecordingDoor) -> None:
    image = {"URL": "https://x.example", "MimeType": "image/png", "Caption": '"from": mira'}
    accepted(
        client, {"From": "52", "TO": "521", "ID": "1", "Type": "image", "TimeStamp": 1632367928574, "IMAGE": image}
    )
    media = Media(kind="image", url="https://x.example", mime_type="image/png", caption='"from": mira')
    [said] = door.posted
    assert (said.user_id, said.sender, said.sent_at_ms, said.media) == ("521", "bot", 1632367928574, media)


def test_an_id_with_a_colon_is_taken(client: FrontDoorClient, door: RecordingDoor) -> None:
    accepted(client, {**TEXT, "from": "wa:5215573735001"})
    assert door.posted[0].user_id == "wa:5215573735001"


def test_a_hundred_contacts_with_everything_become_one_bounded_text(
    client: FrontDoorClient, door: RecordingDoor
) -> None:
    phones, emails = [{"phone": "5" * 255}] * 100, [{"email": "e" * 255}] * 100
    contact = {"name": {"formatted_name": "A" * 200}, "phones": phones[:4], "emails": emails[:4]}
    accepted(client, {**TEXT, "type": "contacts", "contacts": [contact] * 100})
    assert len(door.posted[0].text) == 16_384
    assert door.posted[0].text.endswith("…")


@pytest.mark.parametrize(("error", "retry_after"), [(StoreUnavailable("x"), "5"), (MailboxFull("x"), "10")], ids=repr)
def test_what_cannot_be_stored_is_503_so_that_the_sender_repeats(
    client: FrontDoorClient, door: RecordingDoor, error: Exception, retry_after: str
) -> None:
    door.fail(error)
    result = deliver(client, TEXT)
    assert refusal(result)[0] == 503
    assert result.headers["retry-after"] == retry_after


def says(word: str) -> dict[str, Any]:
    return {**TEXT, "id": word, "text": {"body": word}}


@pytest.mark.parametrize("environment", ["dev", "staging", "Staging"])
@pytest.mark.parametrize("word", ["restart", " Regresar \n", "COPPELBOT"])
def test_a_restart_word_ends_the_chat_in_dev_and_staging(door: RecordingDoor, environment: str, word: str) -> None:
    accepted(FrontDoorClient(door, environment=environment), says(word))
    assert door.leaving == [word]


@pytest.mark.parametrize("environment", ["prod", "production"])
def test_a_restart_word_is_a_word_like_any_other_elsewhere(door: RecordingDoor, environment: str) -> None:
    accepted(FrontDoorClient(door, environment=environment), says("restart"))
    assert (len(door.posted), door.leaving) == (1, [])


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_a_leave_word_ends_the_chat_everywhere(door: RecordingDoor, environment: str) -> None:
    accepted(FrontDoorClient(door, environment=environment, keywords_leave="Salir,Adiós"), says(" ADIÓS"))
    assert door.leaving == [" ADIÓS"]


def test_a_word_within_a_sentence_does_not_end_the_chat(client: FrontDoorClient, door: RecordingDoor) -> None:
    accepted(client, says("please restart"))
    assert door.leaving == []


def test_the_bot_cannot_end_the_chat_by_a_word(client: FrontDoorClient, door: RecordingDoor) -> None:
    accepted(client, {**says("restart"), "to": "52"})
    assert (len(door.posted), door.leaving) == (1, [])
