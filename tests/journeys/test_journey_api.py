"""The API as its callers know it: each request of the endpoints' page as written there, and every kind of bad input."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from conftest import Serve, Services
from personas import WAIT, Bot, BotUser, Json
from profiles import IMPATIENT, SIGNED

from bridge.ops.simulator import Simulator

NO_TOKEN = {"ErrorDescription": "An Authorization header or an Query Param with name token is required."}
BAD_TOKEN = {"ErrorDescription": "Invalid Authorization token."}
EMAIL_MISSING = {
    "ErrorDescription": "Error validating payload : Key: 'ChatPayload.Email' "
    "Error:Field validation for 'Email' failed on the 'required' tag"
}
MALFORMED = {"ErrorDescription": "invalid pauload received : error decode body request"}
INSERTED = {"Message": "insert success"}
CREATED = {"Message": "Chat created succefully"}

CONNECT_WHATSAPP: Json = {
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
CONNECT_FACEBOOK: Json = {
    "userID": "6199190013487246",
    "botSlug": "coppel-msn-staging",
    "botId": "233726951928154",
    "name": "Eduardo Ochoa",
    "provider": "facebook",
    "email": "ochoa@example.com",
    "phoneNumber": "5217331175599",
    "extraData": {
        "source_flow_bot": "SFB001",
        "address": "Calle Andres Figueroa 10 B, col. 20 de Noviembre, Iguala de la Independencia, Gro.",
        "order_traking_id": "1245414242",
    },
}
WHATSAPP_TEXT: Json = {
    "from": "5215573735001",
    "id": "ABGHUhVXNzUALwIQZWnmjBi7IBmfp2EfNrYbRQ",
    "text": {"body": "Hola"},
    "timestamp": "1632367928574",
    "type": "text",
}
WHATSAPP_IMAGE: Json = {
    "from": "5215514732842",
    "id": "ABGHUhVRRzKEPwIKOo4a1mKpR_2KoA",
    "image": {
        "caption": "",
        "mimeType": "image/jpeg",
        "url": "https://api-staging2.yalochat.com/hooks-proxy/whatsapp/coppel-wa-staging/media/a97f26b7-1ff4-4803-b3c0",
    },
    "timestamp": "1630107882351",
    "type": "image",
}


def messenger(message: Json, user_id: str) -> Json:
    """A Messenger webhook's body, as integrations.md, "Messenger webhook" shows it."""
    page = {"id": "233726951928054"}
    event = {"message": message, "recipient": page, "sender": {"id": user_id}, "timestamp": 1632348042261}
    return {
        "authorRole": "user",
        "botId": "messeger-staging-bot",
        "message": {"entry": [{**page, "messaging": [event], "time": 1632348042540}], "object": "page"},
        "msgTracking": {},
        "provider": "facebook",
        "timestamp": 1632348042540,
    }


MESSENGER_TEXT = messenger(
    {"mid": "m_rhq1CGI9iAqiwi8rcjFwG19GI3HsmSbOU_4gIL4157f_PzsdjOhs5dv7ak0bNJQn5Xeta4YupUzDgDTzcW03sg", "text": "Hola"},
    "5018811078134037",
)
MESSENGER_IMAGE = messenger(
    {
        "attachments": [
            {
                "payload": {"url": "https://scontent.xx.fbcdn.net/v/t1.15752-9/242696087_n.jpg?_nc_cat=105&oh=4b27"},
                "type": "image",
            }
        ],
        "mid": "m_1Cc4RFq8tdQhvyOBwHdVrV9GI3HsmSbOU_4gIL4157c5PC2EYygD1-GWTMakPi5-3PD5kJdLqUERgXPWxE-DNQ",
    },
    "5018811078130077",
)


def said(answer: requests.Response) -> tuple[int, Any]:
    """Status and body; the body is JSON, and says so."""
    assert answer.headers["Content-Type"].startswith("application/json"), answer.text
    return answer.status_code, answer.json()


# --- connect ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [CONNECT_WHATSAPP, CONNECT_FACEBOOK], ids=["whatsapp", "facebook"])
def test_a_documented_connect_opens_a_chat(simulator: Simulator, bot: Bot, body: Json) -> None:
    assert said(bot.call("POST", "/v1/chats/connect", body)) == (200, CREATED)
    simulator.wait_for(lambda: simulator.user_texts(body["userID"]) == [WAIT])
    assert said(bot.call("DELETE", f"/v1/chat/finish/{body['userID']}"))[0] == 200


def test_connect_takes_its_token_from_the_query_too(bot: Bot, user: BotUser) -> None:
    path = f"/v1/chats/connect?token={bot.token}"
    assert said(bot.call("POST", path, user.connect_body(), token="")) == (200, CREATED)


def test_connect_without_an_email_says_so_in_the_documented_words(bot: Bot) -> None:
    body = {name: value for name, value in CONNECT_WHATSAPP.items() if name != "email"}
    assert said(bot.call("POST", "/v1/chats/connect", body)) == (400, EMAIL_MISSING)


def test_connect_without_a_token_says_so_in_the_documented_words(bot: Bot) -> None:
    assert said(bot.call("POST", "/v1/chats/connect", CONNECT_WHATSAPP, token="")) == (401, NO_TOKEN)


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_authenticate_gives_a_token_that_holds_its_role(bot: Bot) -> None:
    for username, password, role in (
        ("yaloUser", "yalo-password", "YALO_ROLE"),
        ("salesforceUser", "salesforce-password", "SALESFORCE_ROLE"),
    ):
        status, body = said(bot.log_in(username, password))
        assert (status, set(body)) == (200, {"token"})
        whose = {"username": username, "role": role}
        assert said(bot.call("GET", "/v1/tokens/check", token=body["token"])) == (200, whose)
        assert said(bot.call("GET", f"/v1/tokens/check?token={body['token']}", token="")) == (200, whose)


@pytest.mark.parametrize(("username", "password"), [("yaloUser", "wrong"), ("nobody", "yalo-password")])
def test_a_wrong_login_is_refused_in_the_documented_words(serve: Serve, username: str, password: str) -> None:
    answer = serve(SIGNED).log_in(username, password)
    assert said(answer) == (401, {"ErrorDescription": "Invalid credentials."})


def test_a_bad_token_is_refused_in_the_documented_words(bot: Bot) -> None:
    assert said(bot.call("GET", "/v1/tokens/check", token="abc.def.ghi")) == (401, BAD_TOKEN)
    assert said(bot.call("GET", "/v1/tokens/check", token="")) == (401, NO_TOKEN)


def test_the_salesforce_role_may_not_do_what_the_bot_may(bot: Bot, user: BotUser) -> None:
    token = bot.log_in("salesforceUser", "salesforce-password").json()["token"]
    for method, path, body in (
        ("POST", "/v1/chats/connect", user.connect_body()),
        ("DELETE", f"/v1/chat/finish/{user.id}", None),
        ("GET", f"/v1/context/{user.id}", None),
        ("POST", "/v1/integrations/webhook/register/whatsapp", None),
        ("DELETE", "/v1/integrations/webhook/remove/whatsapp", None),
    ):
        assert said(bot.call(method, path, body, token=token)) == (403, BAD_TOKEN)


def test_many_wrong_logins_are_slowed_down_and_tokens_that_were_given_go_on(serve: Serve) -> None:
    bot = serve(IMPATIENT)
    assert bot.token
    for number in range(40):
        if (answer := bot.log_in("yaloUser", f"guess {number}")).status_code != 401:
            break
    assert (answer.status_code, number) == (429, 10)
    assert int(answer.headers["Retry-After"]) > 0
    assert bot.call("GET", "/v1/tokens/check").status_code == 200
    assert bot.log_in("yaloUser", "yalo-password").status_code == 200


# --- webhooks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "body"),
    [
        ("whatsapp", WHATSAPP_TEXT),
        ("whatsapp", WHATSAPP_IMAGE),
        ("facebook", MESSENGER_TEXT),
        ("facebook", MESSENGER_IMAGE),
    ],
    ids=["whatsapp_text", "whatsapp_image", "messenger_text", "messenger_image"],
)
def test_a_documented_webhook_is_taken(bot: Bot, provider: str, body: Json) -> None:
    assert said(bot.webhook(provider, body)) == (200, INSERTED)


@pytest.mark.parametrize("provider", ["whatsapp", "facebook"])
def test_a_webhook_that_makes_no_sense_is_refused_in_the_documented_words(bot: Bot, provider: str) -> None:
    bodies: list[Any] = [[], "text", None, {"message": {"entry": "no list"}, "type": 4}]
    for body in bodies:
        assert said(bot.webhook(provider, body)) == (400, MALFORMED)


@pytest.mark.parametrize("provider", ["whatsapp", "facebook"])
def test_a_webhook_that_says_nothing_is_taken(bot: Bot, provider: str) -> None:
    bodies: list[Any] = [{}, {"type": "text"}, {"message": {}}]
    for body in bodies:
        assert said(bot.webhook(provider, body)) == (200, INSERTED)


def test_a_webhook_must_be_signed_where_the_operator_says_so(serve: Serve) -> None:
    bot = serve(SIGNED)
    user = bot.new_user()
    body = user.text_body("hola")
    raw = json.dumps(body).encode()
    secret = SIGNED["integrations_signature"]
    good = "sha256=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    url = f"{bot.url}/v1/integrations/whatsapp/webhook"
    cases: list[tuple[Json, int]] = [
        ({}, 403),
        ({"X-Yalo-Signature": "a guess"}, 403),
        ({"X-Hub-Signature-256": "sha256=" + "0" * 64}, 403),
        ({"X-Hub-Signature-256": good}, 200),
        ({"X-Yalo-Signature": secret}, 200),
    ]
    for headers, status in cases:
        answer = requests.post(url, data=raw, headers=headers, timeout=10)
        assert said(answer)[0] == status, headers
    assert user.context() == ["hola"]


@pytest.mark.parametrize(("provider", "version"), [("whatsapp", 0), ("facebook", 3)])
def test_webhooks_are_registered_and_removed_as_documented(
    simulator: Simulator, bot: Bot, provider: str, version: int
) -> None:
    registered = said(bot.call("POST", f"/v1/integrations/webhook/register/{provider}"))
    assert registered == (200, {"Message": f"Register webhook success with provider : {provider}"})
    assert simulator.integrations.webhooks[provider].endswith(f"/v1/integrations/{provider}/webhook")
    removed = said(bot.call("DELETE", f"/v1/integrations/webhook/remove/{provider}"))
    assert removed == (200, {"Message": f"Remove webhook success with provider : {provider}"})
    assert provider not in simulator.integrations.webhooks


@pytest.mark.parametrize("provider", ["whatsapp", "facebook"])
def test_a_webhook_that_cannot_be_registered_or_removed_says_so_in_the_documented_words(
    simulator: Simulator, bot: Bot, provider: str
) -> None:
    simulator.add_fault("/integrations/*", status=401, times=0)
    registered = said(bot.call("POST", f"/v1/integrations/webhook/register/{provider}"))
    assert registered == (500, {"ErrorDescription": "error register webhook"})
    removed = said(bot.call("DELETE", f"/v1/integrations/webhook/remove/{provider}"))
    assert removed == (500, {"ErrorDescription": "error remove webhook"})


def test_there_are_no_other_providers_to_register(bot: Bot) -> None:
    assert said(bot.call("POST", "/v1/integrations/webhook/register/telegram"))[0] == 400
    assert said(bot.call("DELETE", "/v1/integrations/webhook/remove/telegram"))[0] == 400


# --- context ----------------------------------------------------------------------------------------------------------


def test_context_looks_as_in_the_replaced_service(bot: Bot, user: BotUser) -> None:
    text = user.say("Ayuda 🤖\n")
    bot.say(user, "¿En qué puedo ayudarte?")
    image = user.send_file("image", "https://example.com/a.jpg", caption="mi ticket", mimeType="image/jpeg")
    first, second, third = bot.context(user)
    assert set(first) == {"userId", "client", "timestamp", "text", "from", "ttl"}
    assert first | {"ttl": ""} == {
        "userId": user.id,
        "client": "salesforce",
        "timestamp": int(text["timestamp"]),
        "text": "Ayuda 🤖\n",
        "from": "user",
        "ttl": "",
    }
    assert (second["from"], second["text"]) == ("bot", "¿En qué puedo ayudarte?")
    assert third["timestamp"] == int(image["timestamp"])
    assert {name: third[name] for name in ("url", "mimeType", "caption")} == {
        "url": "https://example.com/a.jpg",
        "mimeType": "image/jpeg",
        "caption": "mi ticket",
    }


def test_the_context_of_an_unknown_user_is_empty(bot: Bot, user: BotUser) -> None:
    assert said(bot.call("GET", f"/v1/context/{user.id}")) == (200, [])


# --- the service itself -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/welcome", "/v1/live", "/v1/ready", "/v1/openapi.json"])
def test_the_health_routes_need_no_token(bot: Bot, path: str) -> None:
    assert said(bot.call("GET", path, token=""))[0] == 200


# --- bad input --------------------------------------------------------------------------------------------------------

BAD_CONNECTS: dict[str, tuple[Json, list[str]]] = {
    "nothing": ({}, ["UserID", "Name", "Provider", "BotSlug", "BotId", "Email"]),
    "two_missing": ({**CONNECT_WHATSAPP, "name": "", "botId": None}, ["Name", "BotId"]),
    "unknown_provider": ({**CONNECT_WHATSAPP, "provider": "telegram"}, ["Provider"]),
    "a_number_for_a_name": ({**CONNECT_WHATSAPP, "name": 4}, ["Name"]),
    "a_list_for_an_email": ({**CONNECT_WHATSAPP, "email": ["a@b.mx"]}, ["Email"]),
    "a_list_for_extra_data": ({**CONNECT_WHATSAPP, "extraData": []}, ["ExtraData"]),
    "a_path_for_a_user": ({**CONNECT_WHATSAPP, "userID": "../../etc"}, ["UserID"]),
}


@pytest.mark.parametrize(("body", "fields"), BAD_CONNECTS.values(), ids=BAD_CONNECTS.keys())
def test_a_wrong_connect_is_answered_with_every_fault(bot: Bot, body: Json, fields: list[str]) -> None:
    status, answer = said(bot.call("POST", "/v1/chats/connect", body))
    assert status == 400
    faults = answer["ErrorDescription"].removeprefix("Error validating payload : ").split("\n")
    assert len(faults) == len(fields)
    for fault, field in zip(faults, fields, strict=True):
        assert fault.startswith(f"Key: 'ChatPayload.{field}")


@pytest.fixture
def bodies(services: Services) -> Iterator[list[bytes]]:
    """Bodies that are no JSON object; afterwards the service still works."""
    yield [
        b"",
        b"no json",
        b"null",
        b'"text"',
        b"[1, 2]",
        b'{"userID": ',
        b"\xff\xfe\x00",
        b'{"name": "\xff"}',
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"a": NaN}',
    ]
    services.bot({}).new_user().talk()


@pytest.mark.parametrize(
    ("path", "with_token"),
    [
        ("/v1/chats/connect", True),
        ("/v1/integrations/whatsapp/webhook", False),
        ("/v1/integrations/facebook/webhook", False),
        ("/v1/authenticate", False),
    ],
)
def test_a_body_that_is_not_an_object_is_refused_and_changes_nothing(
    bot: Bot, bodies: list[bytes], path: str, with_token: bool
) -> None:
    headers = {"Authorization": f"Bearer {bot.token}"} if with_token else {}
    for body in bodies:
        status, answer = said(requests.post(bot.url + path, data=body, headers=headers, timeout=30))
        # A login reads little, so what is nested deep is too long for it.
        assert status in (400, 413), body[:40]
        assert set(answer) == {"ErrorDescription"}


def test_a_body_over_the_limit_is_refused(bot: Bot) -> None:
    large = b'{"name": "' + b"x" * (3 * 1024 * 1024) + b'"}'
    for path in ("/v1/chats/connect", "/v1/integrations/whatsapp/webhook"):
        answer = requests.post(bot.url + path, data=large, headers={"Authorization": f"Bearer {bot.token}"}, timeout=30)
        status, body = said(answer)
        assert (status, set(body)) == (413, {"ErrorDescription"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nowhere", 404),
        ("GET", "/", 404),
        ("POST", "/v1/integrations/telegram/webhook", 404),
        ("GET", "/v1/chats/connect", 405),
        ("PUT", "/v1/integrations/whatsapp/webhook", 405),
        ("DELETE", "/v1/authenticate", 405),
    ],
)
def test_unknown_routes_and_methods_are_answered_in_json(bot: Bot, method: str, path: str, status: int) -> None:
    answer = said(bot.call(method, path))
    assert answer[0] == status
    assert set(answer[1]) == {"ErrorDescription"}


def test_a_token_in_the_query_is_never_logged(services: Services, bot: Bot) -> None:
    bot.call("GET", f"/v1/tokens/check?token={bot.token}", token="")
    bot.call("GET", f"/v1/nowhere?token={bot.token}", token="")
    assert bot.token not in "".join(services.logs().values())
