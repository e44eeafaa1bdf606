"""Connect, finish, context, register and remove: each answer of the replaced service (settings.md), each refusal."""

from __future__ import annotations

from typing import Any

import pytest
from front_door import FrontDoorClient, RecordingDoor, refusal

from bridge.errors import AnswerTimeout, BridgeError, MailboxFull, RemoteRefused, RemoteUnavailable, StoreUnavailable
from bridge.messages import Answer, AnswerCode, ConnectRequest, ConnectRequested, decode_event, encode_event
from bridge.records import ContextEntry

WHATSAPP = {
    "userID": "5217331175599",
    "botSlug": "coppel-bot",
    "botId": "521554578545",
    "name": "Eduardo Ochoa",
    "provider": "whatsapp",
    "email": "ochoa@example.com",
    "phoneNumber": "5217331175599",
    "extraData": {
        "source_flow_bot": "SFB001",
        "address": "Calle Andres Figueroa 10 B, col. 20 de Noviembre",
        "order_traking_id": "1225222565",
    },
}
# What a map names; the flow's key and two more have a meaning of their own.
MAPPED = ",".join(f"{key}:{key}__c" for key in ("address", "order_traking_id", *"abcdef"))
FACEBOOK = {**WHATSAPP, "userID": "6199190013487246", "botSlug": "coppel-msn-staging", "provider": "facebook"}


@pytest.fixture
def client(door: RecordingDoor) -> FrontDoorClient:
    return FrontDoorClient(door, sfc_custom_fields_case=MAPPED)


def connect(client: FrontDoorClient, body: Any) -> Any:
    return client.simulate_post("/v1/chats/connect", json=body, headers=client.bearer())


@pytest.mark.parametrize("body", [WHATSAPP, FACEBOOK], ids=["whatsapp", "facebook"])
def test_a_chat_is_created_as_documented(client: FrontDoorClient, door: RecordingDoor, body: Any) -> None:
    result = connect(client, body)
    assert (result.status_code, result.json) == (200, {"Message": "Chat created succefully"})
    assert door.asked == [
        ConnectRequest(
            user_id=body["userID"],
            bot_slug=body["botSlug"],
            bot_id="521554578545",
            name="Eduardo Ochoa",
            provider=body["provider"],
            email="ochoa@example.com",
            phone_number="5217331175599",
            extra_data=body["extraData"],
        )
    ]


def test_a_phone_number_and_extra_data_may_be_missing_or_null(client: FrontDoorClient, door: RecordingDoor) -> None:
    needed = {name: value for name, value in WHATSAPP.items() if name not in ("phoneNumber", "extraData")}
    assert connect(client, needed).status_code == 200
    assert connect(client, {**needed, "phoneNumber": None, "extraData": None}).status_code == 200
    assert connect(client, {**needed, "phoneNumber": "", "extraData": ""}).status_code == 200
    assert door.asked[0] == door.asked[1] == door.asked[2]
    assert isinstance(door.asked[0], ConnectRequest)
    assert (door.asked[0].phone_number, door.asked[0].extra_data) == ("", {})


def test_names_match_in_any_case_and_unknown_ones_are_dropped(client: FrontDoorClient, door: RecordingDoor) -> None:
    body = {**WHATSAPP, "caseOwner": "005"}
    body["userId"] = body.pop("userID")
    body["botID"] = body.pop("botId")
    assert connect(client, body).status_code == 200
    assert isinstance(door.asked[0], ConnectRequest)
    assert (door.asked[0].user_id, door.asked[0].bot_id) == ("5217331175599", "521554578545")


def test_numbers_and_truths_in_extra_data_stay_what_they_are(client: FrontDoorClient, door: RecordingDoor) -> None:
    extra = {"a": 7, "b": 1.5, "c": True, "d": "x", "e": 123456789012345678901234567890, "f": ""}
    assert connect(client, {**WHATSAPP, "extraData": extra}).status_code == 200
    assert isinstance(door.asked[0], ConnectRequest)
    # A number that no record holds becomes a text.
    expected = {"a": 7, "b": 1.5, "c": True, "d": "x", "e": "123456789012345678901234567890", "f": ""}
    assert door.asked[0].extra_data == expected
    assert decode_event(encode_event(ConnectRequested(door.asked[0]))) == ConnectRequested(door.asked[0])


IGNORED: list[Any] = [
    {"unmapped": "x", "another": 7},
    {"unmapped": None, "a": None},
    {"unmapped": ["x"], "another": {"b": "c"}},
    {"source_flow_bot": ["SFB001"], "description": {}, "AccountRecordTypeId": None},
    {"unmapped": "x" * 40_000},
    {str(key): "x" for key in range(1000)},
]


@pytest.mark.parametrize("extra", IGNORED, ids=range(len(IGNORED)))
def test_extra_data_that_no_setting_names_is_ignored(client: FrontDoorClient, door: RecordingDoor, extra: Any) -> None:
    assert connect(client, {**WHATSAPP, "extraData": extra}).status_code == 200
    assert isinstance(door.asked[0], ConnectRequest)
    assert door.asked[0].extra_data == {}


@pytest.mark.parametrize("key", ["source_flow_bot", "description", "AccountRecordTypeId"])
def test_extra_data_with_a_meaning_of_its_own_is_kept(client: FrontDoorClient, door: RecordingDoor, key: str) -> None:
    assert connect(client, {**WHATSAPP, "extraData": {key: "x"}}).status_code == 200
    assert isinstance(door.asked[0], ConnectRequest)
    assert door.asked[0].extra_data == {key: "x"}


REQUIRED = {
    "userID": "UserID",
    "name": "Name",
    "provider": "Provider",
    "botSlug": "BotSlug",
    "botId": "BotId",
    "email": "Email",
}


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("value", ["missing", None, "", "  "])
def test_a_missing_field_is_named_as_in_the_replaced_service(client: FrontDoorClient, name: str, value: Any) -> None:
    body = {**WHATSAPP, name: value}
    if value == "missing":
        del body[name]
    go = REQUIRED[name]
    key, fault = f"Key: 'ChatPayload.{go}'", f"Error:Field validation for '{go}' failed on the 'required' tag"
    assert refusal(connect(client, body)) == (400, f"Error validating payload : {key} {fault}")


def test_all_faults_are_told_at_once(client: FrontDoorClient, door: RecordingDoor) -> None:
    status, sentence = refusal(connect(client, {"provider": "telegram", "name": 5, "userID": "a b"}))
    assert status == 400
    assert sentence.removeprefix("Error validating payload : ").split("\n") == [
        "Key: 'ChatPayload.UserID' Error:Field validation for 'UserID' failed on the 'charset' tag",
        "Key: 'ChatPayload.Name' Error:Field 'Name' is of the wrong type : Expected `str`, got `int`",
        "Key: 'ChatPayload.Provider' Error:Field validation for 'Provider' failed on the 'oneof' tag",
        "Key: 'ChatPayload.BotSlug' Error:Field validation for 'BotSlug' failed on the 'required' tag",
        "Key: 'ChatPayload.BotId' Error:Field validation for 'BotId' failed on the 'required' tag",
        "Key: 'ChatPayload.Email' Error:Field validation for 'Email' failed on the 'required' tag",
    ]
    assert door.asked == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"provider": "telegram"}, "'Provider' failed on the 'oneof' tag"),
        ({"provider": "WhatsApp"}, "'Provider' failed on the 'oneof' tag"),
        ({"provider": 3}, "Field 'Provider' is of the wrong type"),
        ({"userID": 5217331175599}, "Field 'UserID' is of the wrong type"),
        ({"userID": ["5217331175599"]}, "Field 'UserID' is of the wrong type"),
        ({"email": {"a": {"b": 1}}}, "Field 'Email' is of the wrong type"),
        ({"name": True}, "Field 'Name' is of the wrong type"),
        ({"phoneNumber": 5217331175599}, "Field 'PhoneNumber' is of the wrong type"),
        ({"extraData": "x"}, "Field 'ExtraData' is of the wrong type"),
        ({"extraData": ["x"]}, "Field 'ExtraData' is of the wrong type"),
        ({"extraData": {"a": ["x"]}}, "Field 'ExtraData[a]' is of the wrong type"),
        ({"extraData": {"a": {"b": "c"}}}, "Field 'ExtraData[a]' is of the wrong type"),
        ({"extraData": {"a": "x" * 40_000}}, "Field 'ExtraData' is of the wrong type"),
        ({"name": "x" * 513}, "'Name' failed on the 'max' tag"),
        ({"userID": "5" * 129}, "'UserID' failed on the 'max' tag"),
        ({"userID": "521733\r\nX: 1"}, "'UserID' failed on the 'charset' tag"),
        ({"userID": "{p07}:chat"}, "'UserID' failed on the 'charset' tag"),
        ({"botSlug": "../admin"}, "'BotSlug' failed on the 'charset' tag"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(
    client: FrontDoorClient, door: RecordingDoor, change: Any, named: str
) -> None:
    status, sentence = refusal(connect(client, {**WHATSAPP, **change}))
    assert status == 400
    assert sentence.startswith("Error validating payload : Key: 'ChatPayload.")
    assert named in sentence
    assert door.asked == []


FAILURES: list[tuple[AnswerCode, str, int]] = [
    ("exists", "session exists with userID : 5217331175599", 409),
    ("blocked", "could not create chat in salesforce : this contact is blocked", 403),
    ("refused", "could not create chat in salesforce : [400] - Error call with status", 502),
    ("unavailable", "could not create chat in salesforce : no answer", 504),
    ("absent", "there is no chat", 404),
]


@pytest.mark.parametrize(("code", "sentence", "status"), FAILURES)
def test_what_became_of_the_chat_is_told_honestly(
    client: FrontDoorClient, door: RecordingDoor, code: AnswerCode, sentence: str, status: int
) -> None:
    door.answer = Answer(code, sentence)
    assert refusal(connect(client, WHATSAPP)) == (status, sentence)


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (AnswerTimeout("asked 10 s ago on stream w1"), 504, None),
        (StoreUnavailable("redis://secret@10.0.0.1 refused"), 503, "5"),
        (MailboxFull("1000 in {p07}"), 503, "10"),
        (RemoteUnavailable("https://internal"), 504, None),
        (RemoteRefused("https://internal"), 502, None),
        (BridgeError("internal detail"), 500, None),
        (RuntimeError("a bug at 10.0.0.1"), 500, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_a_failure_has_its_code_and_leaks_nothing(
    client: FrontDoorClient, door: RecordingDoor, error: Exception, status: int, retry_after: str | None
) -> None:
    door.fail(error)
    result = connect(client, WHATSAPP)
    assert refusal(result)[0] == status
    assert result.headers.get("retry-after") == retry_after
    assert str(error) not in result.text


def test_a_chat_is_finished(client: FrontDoorClient, door: RecordingDoor) -> None:
    result = client.simulate_delete("/v1/chat/finish/5217331175599", headers=client.bearer())
    assert (result.status_code, result.json) == (200, {"Message": "Chat finished successfully"})
    assert door.asked == [("finish", "5217331175599")]


def test_finishing_no_chat_is_404(client: FrontDoorClient, door: RecordingDoor) -> None:
    door.answer = Answer("absent")
    assert refusal(client.simulate_delete("/v1/chat/finish/52", headers=client.bearer())) == (
        404,
        "could not finish chat in salesforce : error not found interconnection: not found interconnection",
    )


@pytest.mark.parametrize("user_id", ["a%20b", "x" * 129, "%00", "%C3%B1", "a%0Ab", "{p1}", "..", "5%0A"])
@pytest.mark.parametrize("asked", [("DELETE", "/v1/chat/finish/"), ("GET", "/v1/context/")])
def test_a_user_id_of_odd_characters_is_refused(
    client: FrontDoorClient, door: RecordingDoor, user_id: str, asked: tuple[str, str]
) -> None:
    result = client.simulate_request(asked[0], asked[1] + user_id, headers=client.bearer())
    assert refusal(result)[0] == 400
    assert door.asked == []


def test_context_is_exactly_that_of_the_replaced_service(client: FrontDoorClient, door: RecordingDoor) -> None:
    door.entries = [
        ContextEntry(
            user_id="5217331175599",
            client="coppel",
            timestamp=1636646680103,
            text="Muy bien, nos vamos a comunicar con un asesor.\n",
            sender="bot",
            ttl="2021-11-12T16:04:42.973667136Z",
        ),
        ContextEntry(
            user_id="5217331175599",
            client="coppel",
            timestamp=1636646697866,
            url="https://media.example/1",
            mime_type="image/jpeg",
            caption="mi ticket",
            sender="user",
            ttl="2021-11-12T16:04:59.383432191Z",
        ),
    ]
    result = client.simulate_get("/v1/context/5217331175599", headers=client.bearer())
    assert result.status_code == 200
    assert result.json == [
        {
            "userId": "5217331175599",
            "client": "coppel",
            "timestamp": 1636646680103,
            "text": "Muy bien, nos vamos a comunicar con un asesor.\n",
            "from": "bot",
            "ttl": "2021-11-12T16:04:42.973667136Z",
        },
        {
            "userId": "5217331175599",
            "client": "coppel",
            "timestamp": 1636646697866,
            "url": "https://media.example/1",
            "mimeType": "image/jpeg",
            "caption": "mi ticket",
            "from": "user",
            "ttl": "2021-11-12T16:04:59.383432191Z",
        },
    ]


def test_no_context_is_an_empty_list(client: FrontDoorClient) -> None:
    result = client.simulate_get("/v1/context/52", headers=client.bearer())
    assert (result.status_code, result.json) == (200, [])


REGISTRATIONS = [("POST", "register", "Register"), ("DELETE", "remove", "Remove")]


@pytest.mark.parametrize(("method", "verb", "said"), REGISTRATIONS)
@pytest.mark.parametrize("provider", ["whatsapp", "facebook"])
def test_a_webhook_is_registered_and_removed(
    client: FrontDoorClient, door: RecordingDoor, method: str, verb: str, said: str, provider: str
) -> None:
    result = client.simulate_request(method, f"/v1/integrations/webhook/{verb}/{provider}", headers=client.bearer())
    assert (result.status_code, result.json) == (200, {"Message": f"{said} webhook success with provider : {provider}"})
    assert door.asked == [(verb, provider)]


@pytest.mark.parametrize(("method", "verb", "said"), REGISTRATIONS)
@pytest.mark.parametrize("error", [RemoteRefused("no"), RemoteUnavailable("down"), AnswerTimeout("late")], ids=repr)
def test_a_registration_that_fails_says_so_in_the_documented_words(
    client: FrontDoorClient, door: RecordingDoor, method: str, verb: str, said: str, error: Exception
) -> None:
    door.fail(error)
    result = client.simulate_request(method, f"/v1/integrations/webhook/{verb}/whatsapp", headers=client.bearer())
    assert refusal(result) == (500, f"error {verb} webhook")


@pytest.mark.parametrize(("method", "verb", "said"), REGISTRATIONS)
def test_an_unknown_provider_is_not_registered(
    client: FrontDoorClient, door: RecordingDoor, method: str, verb: str, said: str
) -> None:
    result = client.simulate_request(method, f"/v1/integrations/webhook/{verb}/telegram", headers=client.bearer())
    assert refusal(result)[0] == 400
    assert door.asked == []


def test_no_error_puts_a_phone_number_into_the_log(
    client: FrontDoorClient, door: RecordingDoor, caplog: pytest.LogCaptureFixture
) -> None:
    headers = client.bearer()
    for error in (StoreUnavailable("down"), ValueError("a fault of the bridge")):
        door.fail(error)
        assert client.simulate_delete(f"/v1/chat/finish/{WHATSAPP['userID']}", headers=headers).status_code >= 500
    messages = [record.getMessage() for record in caplog.records]
    assert [message for message in messages if "/v1/chat/finish/{user_id}" in message] == messages
    assert not [message for message in messages if WHATSAPP["userID"] in message]
