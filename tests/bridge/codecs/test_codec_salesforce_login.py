"""Salesforce's login: the three flows, and every way that it says no."""

from __future__ import annotations

import json
from urllib.parse import parse_qs

import msgspec
import pytest
from pydantic import SecretStr

from bridge.codecs.salesforce.login import LoginConfig, SalesforceLogin
from bridge.codecs.salesforce.rest import ADVICE
from bridge.errors import RemoteGarbled, RemoteRefused, RemoteUnavailable
from bridge.wire import HttpCall, HttpReply

CONFIG = LoginConfig(
    flow="password",
    login_url="https://login.salesforce.com",
    client_id="3MVG9",
    client_secret=SecretStr("s3cret&=%"),
    username="api@example.com",
    password=SecretStr("pass wörd"),
    security_token=SecretStr("tok+en"),
)


def login(**changes: object) -> SalesforceLogin:
    return SalesforceLogin(msgspec.structs.replace(CONFIG, **changes))


def form(call: HttpCall) -> dict[str, str]:
    assert call.headers["Content-Type"] == "application/x-www-form-urlencoded"
    return {key: value for key, (value,) in parse_qs(call.body.decode(), strict_parsing=True).items()}


def answer(status: int, body: object) -> HttpReply:
    return HttpReply(status, {}, json.dumps(body).encode())


def test_the_password_login_sends_password_and_security_token_as_one() -> None:
    call = login().token_request()
    assert (call.method, call.url) == ("POST", "https://login.salesforce.com/services/oauth2/token")
    assert form(call) == {
        "grant_type": "password",
        "client_id": "3MVG9",
        "client_secret": "s3cret&=%",
        "username": "api@example.com",
        "password": "pass wördtok+en",
    }


def test_the_client_credentials_login_sends_no_user() -> None:
    sent = form(login(flow="client_credentials").token_request())
    assert sent == {"grant_type": "client_credentials", "client_id": "3MVG9", "client_secret": "s3cret&=%"}


def test_the_jwt_login_sends_the_signed_assertion_and_nothing_else() -> None:
    sent = form(login(flow="jwt_bearer").token_request("head.claims.signature"))
    assert sent == {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "assertion": "head.claims.signature",
    }


@pytest.mark.parametrize(
    ("login_url", "audience"),
    [
        ("https://login.salesforce.com", "https://login.salesforce.com"),
        ("https://shop.my.salesforce.com", "https://login.salesforce.com"),
        ("https://test.salesforce.com", "https://test.salesforce.com"),
        ("https://shop--uat.sandbox.my.salesforce.com", "https://test.salesforce.com"),
    ],
)
def test_the_claims_name_the_user_and_end_within_five_minutes(login_url: str, audience: str) -> None:
    claims = login(login_url=login_url).claims(1_700_000_000.9)
    assert claims == {"iss": "3MVG9", "sub": "api@example.com", "aud": audience, "exp": 1_700_000_180}


def test_a_token_comes_with_the_address_of_the_org() -> None:
    token = login().token(
        answer(200, {"access_token": "00D!AQ", "instance_url": "https://na1.example", "scope": "api"})
    )
    assert (token.access_token, token.instance_url) == ("00D!AQ", "https://na1.example")


@pytest.mark.parametrize("body", [{}, {"access_token": ""}, {"access_token": "a\r\nX: y"}, {"access_token": 5}, []])
def test_an_answer_without_a_usable_token_is_garbled(body: object) -> None:
    with pytest.raises(RemoteGarbled):
        login().token(answer(200, body))


@pytest.mark.parametrize(
    ("code", "description"),
    [
        ("invalid_grant", "authentication failure"),
        ("invalid_client", "invalid client credentials"),
        ("invalid_client_id", "client identifier invalid"),
    ],
)
def test_each_refused_login_says_which_setting_is_wrong(code: str, description: str) -> None:
    with pytest.raises(RemoteRefused) as caught:
        login().token(answer(400, {"error": code, "error_description": description}))
    assert (caught.value.code, caught.value.status) == (code, 400)
    assert description in str(caught.value)
    assert str(caught.value).endswith(ADVICE[code])


def test_a_login_that_is_down_may_be_asked_again() -> None:
    with pytest.raises(RemoteUnavailable):
        login().token(HttpReply(503, {}, b"<html>busy</html>"))
    with pytest.raises(RemoteUnavailable):
        login().token(answer(400, {"error": "unknown_error", "error_description": "retry your request"}))


ECHO = "client_secret=s3cret&=% password=pass wördtok+en"


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"error": "invalid_grant", "error_description": ECHO}, ensure_ascii=False).encode(),
        json.dumps({"sent": ECHO}, ensure_ascii=False).encode(),
        ECHO.encode(),
        b"<html>" + ECHO.encode(),
    ],
)
@pytest.mark.parametrize("status", [400, 502])
def test_no_sentence_repeats_a_secret_even_if_the_answer_does(status: int, body: bytes) -> None:
    with pytest.raises((RemoteRefused, RemoteUnavailable)) as caught:
        login().token(HttpReply(status, {}, body))
    assert not any(secret in str(caught.value) for secret in ("s3cret&=%", "pass wörd", "tok+en"))


def test_the_configuration_does_not_print_its_secrets() -> None:
    assert not any(secret in repr(CONFIG) for secret in ("s3cret", "pass w", "tok+en"))
