"""The Messenger webhook: several of everything, in order, each with an id of its own."""

from __future__ import annotations

from typing import Any

import pytest
from front_door import FrontDoorClient, RecordingDoor, refusal

from bridge.errors import StoreUnavailable
from bridge.messages import Media, UserMessage

PATH = "/v1/integrations/facebook/webhook"
MALFORMED = (400, "invalid pauload received : error decode body request")
USER, PAGE = "5018811078134037", "233726951928054"


def event(message: Any, **more: Any) -> dict[str, Any]:
    return {
        "message": message,
        "recipient": {"id": PAGE},
        "sender": {"id": USER},
        "timestamp": 1632348042261,
        **more,
    }


def body(*events: Any, role: str | None = "user") -> dict[str, Any]:
    return {
        "authorRole": role,
        "botId": "messeger-staging-bot",
        "message": {
            "entry": [{"id": PAGE, "messaging": [one], "time": 1632348042540} for one in events],
            "object": "page",
        },
        "msgTracking": {},
        "provider": "facebook",
        "timestamp": 1632348042540,
    }


def accepted(client: FrontDoorClient, delivery: Any) -> None:
    result = client.simulate_post(PATH, json=delivery)
    assert (result.status_code, result.json) == (200, {"Message": "insert success"})


def heard(door: RecordingDoor) -> list[tuple[str, str]]:
    return [(said.message_id, said.text or (said.media.url if said.media else "")) for said in door.posted]


def test_a_documented_text_reaches_the_door(client: FrontDoorClient, door: RecordingDoor) -> None:
    accepted(client, body(event({"mid": "m_rhq1", "text": "Hola"})))
    assert door.posted == [
        UserMessage(message_id="m_rhq1", user_id=USER, provider="facebook", sent_at_ms=1632348042261, text="Hola")
    ]


def test_a_documented_image_reaches_the_door(client: FrontDoorClient, door: RecordingDoor) -> None:
    url = "https://scontent.xx.fbcdn.net/v/242696087.jpg?_nc_cat=105&oe=6171D4BF"
    accepted(client, body(event({"mid": "m_1Cc4", "attachments": [{"payload": {"url": url}, "type": "image"}]})))
    assert heard(door) == [("m_1Cc4:0", url)]
    assert door.posted[0].media == Media(kind="image", url=url)


def attached(kind: str, url: str = "https://cdn.example/f") -> dict[str, Any]:
    return {"type": kind, "payload": {"url": url}}


@pytest.mark.parametrize("kind", ["image", "file", "audio", "video"])
def test_each_kind_of_file_is_media(client: FrontDoorClient, door: RecordingDoor, kind: Any) -> None:
    accepted(client, body(event({"mid": "m", "attachments": [attached(kind)]})))
    assert door.posted[0].media == Media(kind=kind, url="https://cdn.example/f")


def test_a_text_with_attachments_is_heard_in_order(client: FrontDoorClient, door: RecordingDoor) -> None:
    files = [attached("image", "https://cdn.example/1"), attached("file", "https://cdn.example/2")]
    accepted(client, body(event({"mid": "m", "text": "mira", "attachments": files})))
    assert heard(door) == [("m", "mira"), ("m:0", "https://cdn.example/1"), ("m:1", "https://cdn.example/2")]


def test_several_entries_and_events_are_heard_in_order(client: FrontDoorClient, door: RecordingDoor) -> None:
    delivery = body(event({"mid": "a", "text": "1"}), event({"mid": "b", "text": "2"}))
    delivery["message"]["entry"][0]["messaging"].append(event({"mid": "c", "text": "3"}))
    accepted(client, delivery)
    assert heard(door) == [("a", "1"), ("c", "3"), ("b", "2")]


def test_a_location_becomes_a_line(client: FrontDoorClient, door: RecordingDoor) -> None:
    place = {"type": "location", "title": "Casa", "payload": {"coordinates": {"lat": 19.4, "long": -99.1}}}
    accepted(client, body(event({"mid": "m", "attachments": [place]})))
    assert heard(door) == [("m:0", "Ubicación: Casa https://maps.google.com/?q=19.4,-99.1")]


def test_a_shared_link_becomes_a_line(client: FrontDoorClient, door: RecordingDoor) -> None:
    link = {"type": "fallback", "title": "Oferta", "payload": {"url": "https://shop.example"}}
    accepted(client, body(event({"mid": "m", "attachments": [link]})))
    assert heard(door) == [("m:0", "Oferta https://shop.example")]


def test_an_attachment_with_nothing_to_show_is_dropped_and_the_rest_is_heard(
    client: FrontDoorClient, door: RecordingDoor
) -> None:
    nothing = [{"type": "template"}, {"type": "image", "payload": {}}, {"type": "location", "payload": None}]
    accepted(client, body(event({"mid": "m", "attachments": [*nothing, attached("image")]})))
    assert heard(door) == [("m:3", "https://cdn.example/f")]


@pytest.mark.parametrize("role", ["bot", "agent", "USER"])
def test_another_author_than_the_user_is_the_bot(client: FrontDoorClient, door: RecordingDoor, role: str) -> None:
    delivery = event({"mid": "m", "text": "Hola"}, sender={"id": PAGE}, recipient={"id": USER})
    accepted(client, body(delivery, role=role))
    assert [(said.user_id, said.sender) for said in door.posted] == [(USER, "bot")]


@pytest.mark.parametrize("role", ["user", "bot", None])
def test_an_echo_is_the_bot_whatever_the_role(client: FrontDoorClient, door: RecordingDoor, role: str | None) -> None:
    echo = event({"mid": "m", "text": "restart", "is_echo": True}, sender={"id": PAGE}, recipient={"id": USER})
    accepted(client, body(echo, role=role))
    assert [(said.user_id, said.sender) for said in door.posted] == [(USER, "bot")]
    assert door.leaving == []


@pytest.mark.parametrize("role", ["", None])
def test_without_a_role_it_is_the_user(client: FrontDoorClient, door: RecordingDoor, role: str | None) -> None:
    accepted(client, body(event({"mid": "m", "text": "Hola"}), role=role))
    assert [(said.user_id, said.sender) for said in door.posted] == [(USER, "user")]


def test_a_pressed_button_says_its_title(client: FrontDoorClient, door: RecordingDoor) -> None:
    pressed = {"sender": {"id": USER}, "recipient": {"id": PAGE}, "timestamp": 1632348042261}
    accepted(client, body({**pressed, "postback": {"title": "Asesor", "payload": "P", "mid": "m_p"}}))
    accepted(client, body({**pressed, "postback": {"title": "Asesor", "payload": "P"}}))
    accepted(client, body({**pressed, "postback": {"title": "Asesor", "payload": "P"}}))
    assert heard(door) == [("m_p", "Asesor"), (f"postback:{USER}:1632348042261", "Asesor")]


@pytest.mark.parametrize(
    "silent",
    [
        {"delivery": {"mids": ["m"], "watermark": 1}},
        {"read": {"watermark": 1}},
        {"reaction": {"reaction": "love"}},
        {"postback": {"payload": "P"}},
        {"message": {"mid": "m", "text": " "}},
        {"message": {"mid": "m"}},
    ],
    ids=lambda silent: str(next(iter(silent))),
)
def test_an_event_that_says_nothing_is_200_and_dropped(
    client: FrontDoorClient, door: RecordingDoor, silent: dict[str, Any]
) -> None:
    accepted(client, body({"sender": {"id": USER}, "recipient": {"id": PAGE}, "timestamp": 1, **silent}))
    assert door.posted == []


def test_no_entries_are_200(client: FrontDoorClient) -> None:
    accepted(client, {"message": {"entry": []}})


def test_a_leave_word_ends_the_chat(client: FrontDoorClient, door: RecordingDoor) -> None:
    accepted(client, body(event({"mid": "m", "text": "Reiniciar"})))
    assert door.leaving == ["Reiniciar"]


@pytest.mark.parametrize(
    "delivery",
    [
        pytest.param({}, id="empty"),
        pytest.param([], id="a list"),
        pytest.param({"message": None}, id="no delivery"),
        pytest.param({"message": {}}, id="no entries"),
        pytest.param({"message": {"entry": {}}}, id="an object for entries"),
        pytest.param(body(event({"text": "Hola"})), id="no mid"),
        pytest.param(body(event({"mid": "", "text": "Hola"})), id="an empty mid"),
        pytest.param(body(event({"mid": "m", "text": 7})), id="a number for a text"),
        pytest.param(body(event({"mid": "m", "text": "x"}, sender=None)), id="from nobody"),
        pytest.param(body(event({"mid": "m", "text": "x"}, sender={"id": "a b"})), id="from an odd id"),
        pytest.param(body(event({"mid": "m", "text": "x"}, recipient=None), role="bot"), id="to nobody"),
        pytest.param(body(event({"mid": "m", "attachments": {}})), id="an object for attachments"),
        pytest.param(body(*[event({"mid": "m", "text": "x"})] * 1001), id="too many"),
    ],
)
def test_a_malformed_delivery_is_refused_whole(client: FrontDoorClient, door: RecordingDoor, delivery: Any) -> None:
    assert refusal(client.simulate_post(PATH, json=delivery)) == MALFORMED
    assert door.posted == []


def test_one_bad_event_refuses_the_whole_delivery(client: FrontDoorClient, door: RecordingDoor) -> None:
    delivery = body(event({"mid": "a", "text": "1"}), event({"mid": "b", "text": "2"}, sender={"id": "a b"}))
    assert refusal(client.simulate_post(PATH, json=delivery)) == MALFORMED
    assert door.posted == []


def test_a_delivery_that_was_stored_in_part_is_completed_by_its_repeat(
    client: FrontDoorClient, door: RecordingDoor
) -> None:
    delivery = body(event({"mid": "a", "text": "1"}), event({"mid": "b", "text": "2"}))
    door.fail(StoreUnavailable("down"), after=1)
    assert refusal(client.simulate_post(PATH, json=delivery))[0] == 503
    assert heard(door) == [("a", "1")]
    door.failure = None
    accepted(client, delivery)
    assert heard(door) == [("a", "1"), ("b", "2")]
