"""Whatever comes in, the answer is JSON, honest, and says nothing of the inside."""

from __future__ import annotations

import re
from typing import Any

import pytest
from front_door import YALO, FrontDoorClient, RecordingDoor, refusal

from bridge.door import Health
from bridge.http.operations import OPERATIONS

LIMIT = 3 * 1024 * 1024
WEBHOOK_LIMIT = 256 * 1024
DEEP = 25_000
UNREADABLE = [
    pytest.param(b"", id="nothing"),
    pytest.param(b"hello", id="no JSON"),
    pytest.param(b"{", id="half"),
    pytest.param(b'{"a": 1} {"b": 2}', id="two"),
    pytest.param(b"[1]", id="a list"),
    pytest.param(b'"x"', id="a string"),
    pytest.param(b"7", id="a number"),
    pytest.param(b"null", id="null"),
    pytest.param(b'{"type": "text", "x": "\xff"}', id="no UTF-8"),
    pytest.param(b'{"type": "text", "x": "\xed\xa0\x80"}', id="a surrogate in UTF-8"),
    pytest.param('{"type": "text"}'.encode("utf-16"), id="UTF-16"),
    pytest.param(b'{"type": "text", "x": NaN}', id="NaN"),
    pytest.param(b'{"type": "text", "x": Infinity}', id="Infinity"),
    pytest.param(b"[" * DEEP, id="deep lists"),
    pytest.param(b'{"type":' * DEEP, id="deep objects"),
    pytest.param(b'{"type": "text", "x": ' + b"[" * DEEP + b"]" * DEEP + b"}", id="a deep unknown field"),
    pytest.param(b'{"extraData": ' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}", id="a deep known field"),
    pytest.param(b'{"name": "a\nb"}', id="a bare line end"),
]
# Well-formed JSON that only the API refuses: a webhook reads past it, or mends it.
ODD_VALUES = [
    pytest.param(b'{"name": ' + b"9" * 5000 + b"}", id="5,000 digits"),
    pytest.param(b'{"name": 1e999}', id="a number without end"),
    pytest.param(b'{"type": "text", "x": "\\ud800"}', id="a lone surrogate"),
    pytest.param(b'{"type": "text", "x": "\\udc00x"}', id="a lone low surrogate"),
]
READERS = [operation.path for operation in OPERATIONS if operation.body]
WEBHOOKS = [path for path in READERS if path.endswith("/webhook")]


@pytest.mark.parametrize("path", READERS)
@pytest.mark.parametrize("body", UNREADABLE)
def test_an_unreadable_body_is_400(client: FrontDoorClient, door: RecordingDoor, path: str, body: bytes) -> None:
    status, sentence = refusal(client.simulate_post(path, body=body, headers=client.bearer()))
    # A login has a smaller limit of its own, which the deepest of these exceed.
    assert status == 413 if path == "/v1/authenticate" and len(body) > 16_384 else status == 400
    assert sentence
    assert (door.posted, door.asked) == ([], [])


@pytest.mark.parametrize("path", sorted({*READERS} - {*WEBHOOKS}))
@pytest.mark.parametrize("body", ODD_VALUES)
def test_an_odd_value_is_400(client: FrontDoorClient, path: str, body: bytes) -> None:
    assert refusal(client.simulate_post(path, body=body, headers=client.bearer()))[0] == 400


@pytest.mark.parametrize("path", WEBHOOKS)
@pytest.mark.parametrize("body", ODD_VALUES)
def test_an_odd_value_does_not_make_a_webhook_unreadable(client: FrontDoorClient, path: str, body: bytes) -> None:
    assert client.simulate_post(path, body=body).status_code == 200


@pytest.mark.parametrize(
    ("path", "limit"), [("/v1/chats/connect", LIMIT), ("/v1/integrations/whatsapp/webhook", WEBHOOK_LIMIT)]
)
def test_a_body_over_the_limit_is_413(client: FrontDoorClient, path: str, limit: int) -> None:
    result = client.simulate_post(path, body=b" " * (limit + 1), headers=client.bearer())
    assert refusal(result) == (413, f"the body is larger than {limit} bytes")


def test_the_limit_is_a_setting_and_itself_allowed(door: RecordingDoor) -> None:
    client = FrontDoorClient(door, webhook_body_limit=2048)
    body = b'{"type": "status"}'
    path = "/v1/integrations/whatsapp/webhook"
    assert client.simulate_post(path, body=body.ljust(2048)).status_code == 200
    assert refusal(client.simulate_post(path, body=body.ljust(2049)))[0] == 413


def test_repeated_keys_are_no_fault(client: FrontDoorClient, door: RecordingDoor) -> None:
    body = b'{"type": "text", "id": "1", "from": "51", "from": "52", "text": {"body": "x"}}'
    assert client.simulate_post("/v1/integrations/whatsapp/webhook", body=body).status_code == 200
    assert door.posted[0].user_id == "52"


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/nothing", "/v2/welcome", "/v1/chat/finish/", "/%ff", "/v1/context/a/b"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT", "PATCH"])
def test_an_unknown_route_is_404(client: FrontDoorClient, path: str, method: str) -> None:
    assert refusal(client.simulate_request(method, path)) == (404, "404 Not Found")


ROUTES = {operation.path: operation.method.upper() for operation in OPERATIONS}
WRONG = [
    (path, method) for path in ROUTES for method in ("GET", "POST", "DELETE", "PUT", "PATCH") if method != ROUTES[path]
]


@pytest.mark.parametrize(("path", "method"), WRONG)
def test_a_wrong_method_is_405_and_names_the_right_one(client: FrontDoorClient, path: str, method: str) -> None:
    result = client.simulate_request(method, path.format(user_id="52", provider="whatsapp"))
    assert refusal(result) == (405, "405 Method Not Allowed")
    assert result.headers["allow"].split(", ") == [ROUTES[path], "OPTIONS"]


def test_a_slash_at_the_end_changes_nothing(client: FrontDoorClient) -> None:
    assert client.simulate_get("/v1/welcome/").status_code == 200


def test_a_crash_is_500_logged_and_tells_only_its_id(
    client: FrontDoorClient, door: RecordingDoor, caplog: pytest.LogCaptureFixture
) -> None:
    door.fail(ZeroDivisionError("password is hunter2"))
    path = "/v1/integrations/whatsapp/webhook"
    body = {"type": "text", "id": "1", "from": "52", "text": {"body": "x"}}
    result = client.simulate_post(path, json=body, headers={"X-Request-Id": "req-7"})
    assert refusal(result) == (500, "internal error, request req-7")
    assert any("req-7" in record.getMessage() and record.exc_info for record in caplog.records)


def test_no_token_is_logged(client: FrontDoorClient, door: RecordingDoor, caplog: pytest.LogCaptureFixture) -> None:
    token = client.log_in()
    door.fail(ZeroDivisionError("x"))
    with caplog.at_level("DEBUG"):
        client.simulate_get("/v1/context/52", params={"token": token})
        client.simulate_get("/v1/context/52", params={"token": token + "x"})
        client.simulate_get("/v1/context/52", headers={"Authorization": f"Bearer {token}"})
    assert caplog.text
    assert token not in caplog.text
    assert YALO["password"] not in caplog.text


@pytest.mark.parametrize("given", ["abc-1.2_3", "A" * 64])
def test_a_decent_request_id_is_kept(client: FrontDoorClient, given: str) -> None:
    assert client.simulate_get("/v1/live", headers={"X-Request-Id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "A" * 65, "<script>", "ñ", "a\tb"])
def test_an_odd_request_id_is_replaced(client: FrontDoorClient, given: str) -> None:
    result = client.simulate_get("/v1/live", extras={"HTTP_X_REQUEST_ID": given})
    assert re.fullmatch("[0-9a-f]{32}", result.headers["x-request-id"])


@pytest.mark.parametrize("path", ["/v1/live", "/v1/nothing", "/v1/tokens/check", "/v1/openapi.json", "/v1/docs"])
def test_every_answer_carries_the_headers_that_keep_browsers_honest(client: FrontDoorClient, path: str) -> None:
    headers = client.simulate_get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["x-request-id"]


def test_welcome_says_name_and_version(client: FrontDoorClient) -> None:
    result = client.simulate_get("/v1/welcome")
    assert result.json["name"] == "salesforce-integration"
    assert result.json["Message"] == f"Welcome to salesforce-integration {result.json['version']}"


def test_live_says_so(client: FrontDoorClient) -> None:
    assert client.simulate_get("/v1/live").json == {"Message": "alive"}


def test_ready_says_what_the_door_says(client: FrontDoorClient, door: RecordingDoor) -> None:
    result = client.simulate_get("/v1/ready")
    assert (result.status_code, result.json) == (200, {"Message": "ready", "durability": "embedded", "openChats": 3})
    door.state = Health(ready=False, faults=("the store does not answer", "the registry is dead"))
    assert refusal(client.simulate_get("/v1/ready")) == (503, "the store does not answer\nthe registry is dead")


def test_options_names_the_methods(client: FrontDoorClient) -> None:
    result: Any = client.simulate_options("/v1/live")
    assert (result.status_code, result.headers["allow"]) == (200, "GET")
