"""Logging in, tokens, roles, and every way to be refused."""

from __future__ import annotations

import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import jwt
import msgspec
import pytest
from front_door import KEY, SALESFORCE, YALO, FrontDoorClient, RecordingDoor, refusal

from bridge.http.limiter import FailureLimiter
from bridge.http.operations import OPERATIONS

NO_TOKEN = (401, "An Authorization header or an Query Param with name token is required.")
BAD_TOKEN = (403, "Invalid Authorization token.")
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
    assert refusal(result) == BAD_TOKEN
    assert door.asked == []


def test_ten_failed_logins_from_one_address_close_the_door_for_a_while(client: FrontDoorClient) -> None:
    for attempt in range(10):
        assert (
            refusal(client.simulate_post("/v1/authenticate", json={"username": f"u{attempt}", "password": "x"}))
            == BAD_LOGIN
        )
    result = client.simulate_post("/v1/authenticate", json=YALO)
    assert refusal(result)[0] == 429
    assert 1 <= int(result.headers["retry-after"]) <= 60


def test_another_address_may_still_log_in(client: FrontDoorClient) -> None:
    for _ in range(11):
        client.simulate_post("/v1/authenticate", json={"username": "x", "password": "x"}, remote_addr="10.0.0.1")
    assert client.simulate_post("/v1/authenticate", json=YALO, remote_addr="10.0.0.2").status_code == 200


def test_guessing_one_name_from_many_addresses_is_stopped(client: FrontDoorClient) -> None:
    for attempt in range(30):
        wrong = {"username": "yaloUser", "password": f"guess {attempt}"}
        assert (
            refusal(client.simulate_post("/v1/authenticate", json=wrong, remote_addr=f"10.0.1.{attempt}")) == BAD_LOGIN
        )
    result = client.simulate_post("/v1/authenticate", json=YALO, remote_addr="10.0.2.1")
    assert refusal(result)[0] == 429


def test_successful_logins_are_not_counted(client: FrontDoorClient) -> None:
    assert [client.simulate_post("/v1/authenticate", json=YALO).status_code for _ in range(40)] == [200] * 40


class Clock:
    """A clock that stands still until it is told."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_the_limit_ends_with_its_window() -> None:
    clock = Clock()
    limiter = FailureLimiter(2, 60.0, clock=clock)
    limiter.record("a")
    limiter.record("a")
    assert limiter.wait_s("a") == 60.0
    clock.now_s += 59.0
    assert limiter.wait_s("a") == 1.0
    clock.now_s += 1.0
    assert limiter.wait_s("a") == 0.0
    limiter.record("a")
    assert limiter.wait_s("a") == 0.0


def test_the_limiter_remembers_no_more_than_it_may() -> None:
    limiter = FailureLimiter(1, 60.0, capacity=50)
    for name in range(500):
        limiter.record(f"name {name}" * 1000)
    assert len(limiter) == 50
    assert limiter.wait_s("name 499" * 1000) > 0
