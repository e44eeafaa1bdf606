"""Logging in, tokens, roles, and every way to be refused."""

from __future__ import annotations

import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import jwt
import msgspec
import pytest
from front_door import KEY, SALESFORCE, YALO, FrontDoorClient, RecordingDoor, refusal

from bridge.errors import StoreUnavailable
from bridge.http.operations import OPERATIONS

NO_TOKEN = (401, "An Authorization header or an Query Param with name token is required.")
BAD_TOKEN = (401, "Invalid Authorization token.")
WRONG_ROLE = (403, "Invalid Authorization token.")
BAD_LOGIN = (401, "Invalid credentials.")
CHECK = "/v1/tokens/check"


def claims(**changes: Any) -> dict[str, Any]:
    now_s = int(time.time())
    good = {
        "iss": "salesforce-integration",
        "iat": now_s,
        "exp": now_s + 3600,
        "username": "yaloUser",
        "role": "YALO_ROLE",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def check_with(client: FrontDoorClient, token: str) -> Any:
    return client.simulate_get(CHECK, headers={"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize(("login", "role"), [(YALO, "YALO_ROLE"), (SALESFORCE, "SALESFORCE_ROLE")])
def test_a_login_gives_a_token_that_says_who_and_what(
    client: FrontDoorClient, login: dict[str, str], role: str
) -> None:
    result = check_with(client, client.log_in(login))
    assert (result.status_code, result.json) == (200, {"username": login["username"], "role": role})


def test_a_token_is_good_in_the_query_alone(client: FrontDoorClient) -> None:
    assert client.simulate_get(CHECK, params={"token": client.log_in()}).status_code == 200


def test_a_token_in_the_query_is_good_beside_another_scheme_in_the_header(client: FrontDoorClient) -> None:
    params = {"token": client.log_in()}
    assert client.simulate_get(CHECK, params=params, headers={"Authorization": "Basic eA=="}).status_code == 200


def test_a_bad_token_in_the_header_is_not_saved_by_a_good_one_in_the_query(client: FrontDoorClient) -> None:
    params = {"token": client.log_in()}
    result = client.simulate_get(CHECK, params=params, headers={"Authorization": "Bearer wrong"})
    assert refusal(result) == BAD_TOKEN


@pytest.mark.parametrize("header", ["Basic eWFsbzp4", "Bearer", "Token abc"])
def test_another_scheme_is_a_bad_token(client: FrontDoorClient, header: str) -> None:
    result = client.simulate_get(CHECK, headers={"Authorization": header})
    assert refusal(result) == BAD_TOKEN
    assert result.headers["www-authenticate"] == "Bearer"


def test_the_token_lives_as_long_as_the_setting_says(door: RecordingDoor) -> None:
    token = FrontDoorClient(door, token_ttl=120).log_in()
    said = jwt.decode(token, KEY, algorithms=["HS256"], issuer="salesforce-integration")
    assert said["exp"] - said["iat"] == 120
    assert set(said) == {"iss", "iat", "exp", "username", "role"}


@pytest.mark.parametrize(
    "login",
    [
        {"username": "yaloUser", "password": "wrong"},
        {"username": "nobody", "password": YALO["password"]},
        {"username": "yaloUser", "password": SALESFORCE["password"]},
        {"username": "yaloUser", "password": YALO["password"] + " "},
        {"username": "contraseña", "password": "ñandú"},
    ],
)
def test_a_wrong_login_is_refused_in_one_sentence(client: FrontDoorClient, login: dict[str, str]) -> None:
    assert refusal(client.simulate_post("/v1/authenticate", json=login)) == BAD_LOGIN


def test_a_login_without_its_fields_names_them_both(client: FrontDoorClient) -> None:
    status, sentence = refusal(client.simulate_post("/v1/authenticate", json={}))
    assert status == 400
    assert [line.split("'")[1] for line in sentence.split("\n")] == ["Credentials.Username", "Credentials.Password"]


def test_a_huge_login_is_refused_before_it_is_read(client: FrontDoorClient) -> None:
    result = client.simulate_post("/v1/authenticate", json={**YALO, "password": "x" * 20_000})
    assert refusal(result)[0] == 413


@pytest.mark.parametrize("headers", [{}, {"Authorization": ""}])
def test_without_a_token_it_is_401(client: FrontDoorClient, headers: dict[str, str]) -> None:
    result = client.simulate_get(CHECK, headers=headers, params={"token": ""})
    assert refusal(result) == NO_TOKEN
    assert result.headers["www-authenticate"] == "Bearer"


def encoded(part: object) -> str:
    raw = part if isinstance(part, bytes) else msgspec.json.encode(part)
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def with_other_claims(token: str) -> str:
    header, payload, signature = token.split(".")
    said = msgspec.json.decode(urlsafe_b64decode(payload + "=="))
    return f"{header}.{encoded({**said, 'role': 'SALESFORCE_ROLE'})}.{signature}"


GOOD = jwt.encode(claims(), KEY, algorithm="HS256")
UNSIGNED = f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{encoded(claims())}."


def test_the_token_that_the_bad_ones_are_made_from_is_good(client: FrontDoorClient) -> None:
    assert check_with(client, GOOD).status_code == 200


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("nonsense", id="no JWT"),
        pytest.param("ñandú.ñ.ñ", id="no ASCII"),
        pytest.param(UNSIGNED, id="alg none"),
        pytest.param(UNSIGNED.replace(encoded({"alg": "none", "typ": "JWT"}), encoded({"alg": "None"})), id="alg None"),
        pytest.param(jwt.encode(claims(), "x" * 40, algorithm="HS256"), id="another key"),
        pytest.param(jwt.encode(claims(), KEY + "k" * 40, algorithm="HS512"), id="another algorithm"),
        pytest.param(jwt.encode(claims(), KEY + "k" * 24, algorithm="HS384"), id="a longer key"),
        pytest.param(with_other_claims(GOOD), id="other claims under the same signature"),
        pytest.param(jwt.encode(claims(exp=int(time.time()) - 60), KEY, algorithm="HS256"), id="expired"),
        pytest.param(jwt.encode(claims(iat=int(time.time()) + 600), KEY, algorithm="HS256"), id="of tomorrow"),
        pytest.param(jwt.encode(claims(iss="another"), KEY, algorithm="HS256"), id="another issuer"),
        pytest.param(jwt.encode(claims(iss="salesforce"), KEY, algorithm="HS256"), id="a part of the issuer"),
        pytest.param(jwt.encode(claims(exp=None), KEY, algorithm="HS256"), id="no exp"),
        pytest.param(jwt.encode(claims(iat=None), KEY, algorithm="HS256"), id="no iat"),
        pytest.param(jwt.encode(claims(iss=None), KEY, algorithm="HS256"), id="no iss"),
        pytest.param(jwt.encode(claims(role="ADMIN"), KEY, algorithm="HS256"), id="an unknown role"),
        pytest.param(jwt.encode(claims(role=["YALO_ROLE"]), KEY, algorithm="HS256"), id="a list of roles"),
        pytest.param(jwt.encode(claims(username=7), KEY, algorithm="HS256"), id="a number for a name"),
        pytest.param(jwt.encode(claims(exp="soon"), KEY, algorithm="HS256"), id="a word for exp"),
        pytest.param(jwt.encode(claims(username="x" * 9000), KEY, algorithm="HS256"), id="too long"),
        pytest.param(f"{encoded(b'[' * 5000)}.e30.x", id="a header nested 5,000 deep"),
    ],
)
def test_a_token_that_is_not_ours_is_refused(client: FrontDoorClient, token: str) -> None:
    assert refusal(client.simulate_get(CHECK, params={"token": token})) == BAD_TOKEN


GUARDED = [operation for operation in OPERATIONS if operation.guarded]
YALO_ONLY = [operation for operation in GUARDED if operation.path != CHECK]
PLACES = {"user_id": "5217331175599", "provider": "whatsapp"}


@pytest.mark.parametrize("operation", GUARDED, ids=lambda operation: operation.path)
def test_a_guarded_route_asks_for_a_token(client: FrontDoorClient, door: RecordingDoor, operation: Any) -> None:
    path = operation.path.format(**PLACES)
    assert refusal(client.simulate_request(operation.method.upper(), path)) == NO_TOKEN
    assert refusal(client.simulate_request(operation.method.upper(), path, params={"token": "x"})) == BAD_TOKEN
    assert door.asked == []


@pytest.mark.parametrize("operation", YALO_ONLY, ids=lambda operation: operation.path)
def test_the_salesforce_role_may_not_use_what_is_the_bots(
    client: FrontDoorClient, door: RecordingDoor, operation: Any
) -> None:
    path = operation.path.format(**PLACES)
    result = client.simulate_request(operation.method.upper(), path, headers=client.bearer(SALESFORCE))
    assert refusal(result) == WRONG_ROLE
    assert door.asked == []


WRONG = {"username": YALO["username"], "password": "x"}


def log_in(client: FrontDoorClient, login: dict[str, str], address: str = "10.0.0.1", **headers: str) -> Any:
    return client.simulate_post("/v1/authenticate", json=login, remote_addr=address, headers=headers)


def statuses(client: FrontDoorClient, login: dict[str, str], times: int, address: str = "10.0.0.1") -> list[int]:
    return [log_in(client, login, address).status_code for _ in range(times)]


def test_after_ten_failed_logins_the_next_wrong_ones_are_told_to_wait(client: FrontDoorClient) -> None:
    assert statuses(client, WRONG, 10) == [401] * 10
    result = log_in(client, WRONG)
    assert refusal(result)[0] == 429
    assert 1 <= int(result.headers["retry-after"]) <= 60


def test_wrong_logins_never_lock_a_right_one_out(client: FrontDoorClient) -> None:
    statuses(client, WRONG, 200)
    assert log_in(client, YALO).status_code == 200
    assert log_in(client, SALESFORCE).status_code == 200
    assert log_in(client, YALO, "10.0.0.2").status_code == 200


def test_failed_logins_are_counted_for_each_caller_and_account(client: FrontDoorClient) -> None:
    statuses(client, WRONG, 10)
    assert log_in(client, {**WRONG, "username": SALESFORCE["username"]}).status_code == 401
    assert log_in(client, WRONG, "10.0.0.2").status_code == 401
    assert log_in(client, WRONG).status_code == 429


def test_all_names_that_nobody_has_count_as_one(client: FrontDoorClient, door: RecordingDoor) -> None:
    for number in range(12):
        log_in(client, {"username": f"u{number}", "password": "x"})
    assert log_in(client, {"username": "another", "password": "x"}).status_code == 429
    assert len(door.failures) == 1


def test_a_failed_login_is_401_while_the_store_is_away(client: FrontDoorClient, door: RecordingDoor) -> None:
    door.fail(StoreUnavailable("down"))
    assert statuses(client, WRONG, 12) == [401] * 12
    assert log_in(client, YALO).status_code == 200


def test_a_flood_of_failed_logins_is_one_line_in_the_log(
    client: FrontDoorClient, caplog: pytest.LogCaptureFixture
) -> None:
    statuses(client, WRONG, 50)
    assert [record.getMessage() for record in caplog.records if record.name == "bridge.http.login"] == [
        "more than 10 failed logins within 60 s from 10.0.0.1"
    ]


def test_behind_a_trusted_proxy_failed_logins_are_counted_for_the_address_that_it_names(door: RecordingDoor) -> None:
    client = FrontDoorClient(door, trusted_proxies="10.0.0.0/24")
    for number in range(20):
        # What a caller writes itself stands to the left of what the proxy adds.
        log_in(client, WRONG, "10.0.0.7", **{"X-Forwarded-For": f"198.51.100.{number}, 203.0.113.5"})
    assert log_in(client, WRONG, "10.0.0.7", **{"X-Forwarded-For": "203.0.113.5"}).status_code == 429
    assert log_in(client, WRONG, "10.0.0.7", **{"X-Forwarded-For": "203.0.113.6"}).status_code == 401
