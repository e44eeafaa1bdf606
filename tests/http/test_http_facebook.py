"""The Messenger webhook: several of everything, in order, each with an id of its own."""

from __future__ import annotations

import json
import time
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
    assert [text for _, text in heard(door)] == ["Asesor", "Asesor"]
    assert door.posted[0].message_id == "m_p"
    assert door.posted[1].message_id.startswith("postback:")


def test_a_second_press_without_an_id_or_a_time_is_no_repeat(client: FrontDoorClient, door: RecordingDoor) -> None:
    pressed = {"sender": {"id": USER}, "recipient": {"id": PAGE}, "postback": {"title": "Asesor"}}
    accepted(client, {"message": {"entry": [{"messaging": [pressed]}]}})
    arrived_ms = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 == arrived_ms:
        pass
    accepted(client, {"message": {"entry": [{"messaging": [pressed]}]}})
    assert [text for _, text in heard(door)] == ["Asesor", "Asesor"]


def test_the_time_of_the_entry_tells_a_repeat_of_a_press(client: FrontDoorClient, door: RecordingDoor) -> None:
    pressed = {"sender": {"id": USER}, "recipient": {"id": PAGE}, "postback": {"title": "Asesor"}}
    for entry_time in (1632348042540, 1632348042540, 1632348099999):
        accepted(client, {"message": {"entry": [{"time": entry_time, "messaging": [pressed]}]}})
    assert [text for _, text in heard(door)] == ["Asesor", "Asesor"]


def test_a_text_without_a_mid_is_heard_and_its_repeat_known(client: FrontDoorClient, door: RecordingDoor) -> None:
    for text in ("Hola", "Hola", "¿Sí?"):
        accepted(client, body(event({"text": text})))
    assert [text for _, text in heard(door)] == ["Hola", "¿Sí?"]


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
        pytest.param({"message": None}, id="no delivery"),
        pytest.param({"message": {}}, id="no entries"),
        pytest.param({"message": {"entry": None}}, id="null entries"),
        pytest.param({"message": {"entry": [{}]}}, id="an empty entry"),
        pytest.param(body(event({"mid": "m", "text": "x"}, sender=None)), id="from nobody"),
        pytest.param(body(event({"mid": "m", "text": "x"}, sender={"id": ""})), id="from an empty id"),
        pytest.param(body(event({"mid": "m", "text": "x"}, recipient=None), role="bot"), id="to nobody"),
    ],
)
def test_a_delivery_that_says_nothing_is_200(client: FrontDoorClient, door: RecordingDoor, delivery: Any) -> None:
    accepted(client, delivery)
    assert door.posted == []


@pytest.mark.parametrize(
    "delivery",
    [
        pytest.param([], id="a list"),
        pytest.param({"message": []}, id="a list for a delivery"),
        pytest.param({"message": {"entry": {}}}, id="an object for entries"),
        pytest.param(body(*[event({"mid": "m", "text": "x"})] * 1001), id="many events"),
        pytest.param(body(*[event({"mid": "m", "attachments": [attached("image")] * 100})] * 10), id="many parts"),
    ],
)
def test_what_is_no_delivery_is_refused_whole(client: FrontDoorClient, door: RecordingDoor, delivery: Any) -> None:
    assert refusal(client.simulate_post(PATH, json=delivery)) == MALFORMED
    assert door.posted == []


ODD = [
    pytest.param(event({"mid": "m", "text": 7}), id="a number for a text"),
    pytest.param(event({"mid": "m", "text": "x" * 16_385}), id="a long text"),
    pytest.param(event({"mid": "m" * 513, "text": "x"}), id="a long mid"),
    pytest.param(event({"mid": "m", "text": "x"}, sender={"id": "a b"}), id="from an odd id"),
    pytest.param(event({"mid": "m", "attachments": {}}), id="an object for attachments"),
    pytest.param(event({"mid": "m", "attachments": [attached("image")] * 101}), id="many attachments"),
    pytest.param(event({"mid": "m", "text": "x"}, timestamp={}), id="an object for a time"),
    pytest.param({"sender": {"id": USER}, "postback": {"title": "x" * 1025}}, id="a long title"),
    pytest.param("event", id="a text for an event"),
]


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_event_leaves_out_only_itself_and_is_counted(
    client: FrontDoorClient, door: RecordingDoor, odd: Any, caplog: pytest.LogCaptureFixture
) -> None:
    accepted(client, body(event({"mid": "a", "text": "1"}), odd, odd, event({"mid": "b", "text": "2"})))
    assert heard(door) == [("a", "1"), ("b", "2")]
    [record] = caplog.records
    assert (record.levelname, "2 x " in record.getMessage()) == ("WARNING", True)


def test_an_entry_that_is_none_leaves_out_only_itself(client: FrontDoorClient, door: RecordingDoor) -> None:
    delivery = body(event({"mid": "a", "text": "1"}))
    delivery["message"]["entry"].insert(0, 7)
    accepted(client, delivery)
    assert heard(door) == [("a", "1")]


def test_half_an_emoji_costs_nothing_but_itself(client: FrontDoorClient, door: RecordingDoor) -> None:
    raw = json.dumps(body(event({"mid": "a", "text": "HALF 😀 BACKSLASH"}), event({"mid": "b", "text": "2"})))
    raw = raw.replace("HALF", "\\ud83d").replace("BACKSLASH", "\\\\ud83d")
    assert client.simulate_post(PATH, body=raw.encode()).status_code == 200
    assert heard(door) == [("a", "\ufffd 😀 \\ud83d"), ("b", "2")]


def test_an_odd_attachment_leaves_out_only_itself(client: FrontDoorClient, door: RecordingDoor) -> None:
    files = [{"type": 7}, attached("image", "https://cdn.example/" + "x" * 4096), attached("image")]
    accepted(client, body(event({"mid": "m", "text": "mira", "attachments": files})))
    assert heard(door) == [("m", "mira"), ("m:2", "https://cdn.example/f")]


def test_a_thousand_attachments_that_say_nothing_are_one_line_of_the_log(
    client: FrontDoorClient, door: RecordingDoor, caplog: pytest.LogCaptureFixture
) -> None:
    silent = [event({"mid": f"m{number}", "attachments": [{"type": f"t{number}"}]}) for number in range(400)]
    with caplog.at_level("INFO", "bridge.http.webhooks"):
        accepted(client, body(*silent))
    [record] = caplog.records
    assert len(record.getMessage()) < 1000
    assert door.posted == []


def test_keys_are_matched_in_any_case(client: FrontDoorClient, door: RecordingDoor) -> None:
    said = {"Message": {"MID": "m", "TEXT": "Hola"}, "Sender": {"ID": PAGE}, "RECIPIENT": {"Id": USER}}
    accepted(client, {"AuthorRole": "bot", "MESSAGE": {"Entry": [{"Messaging": [said]}]}})
    assert [(one.user_id, one.sender, one.text) for one in door.posted] == [(USER, "bot", "Hola")]


def test_a_full_chat_delays_only_its_own_user_and_keeps_the_order(client: FrontDoorClient, door: RecordingDoor) -> None:
    other = {"id": "777"}
    delivery = body(
        event({"mid": "a", "text": "1"}),
        event({"mid": "b", "text": "2"}, sender=other),
        event({"mid": "c", "text": "3"}),
    )
    door.full_for.add(USER)
    door.empties_after = 1
    assert refusal(client.simulate_post(PATH, json=delivery))[0] == 503
    assert heard(door) == [("b", "2")]
    accepted(client, delivery)
    assert heard(door) == [("b", "2"), ("a", "1"), ("c", "3")]


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
