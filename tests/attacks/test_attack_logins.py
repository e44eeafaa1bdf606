"""Guessed logins and forged tokens: none gets in, none keeps the bot out, none leaves more than a few counters."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from typing import Any

import jwt
import pytest
from attack_target import Target

KEY = "a-key-for-the-sandbox-and-for-tests-only"
RIGHT = {"username": "yaloUser", "password": "yalo-password"}
NOW_S = int(time.time())
CLAIMS = {
    "iss": "salesforce-integration",
    "iat": NOW_S,
    "exp": NOW_S + 3600,
    "username": "yaloUser",
    "role": "YALO_ROLE",
}


def log_in(target: Target, login: dict[str, str], **headers: str) -> int:
    return target.ask("POST", "/v1/authenticate", json.dumps(login).encode(), **headers)[0]


def test_guessing_does_not_lock_the_bot_out(target: Target) -> None:
    statuses = [log_in(target, {**RIGHT, "password": f"guess {number}"}) for number in range(60)]
    assert statuses == [401] * 10 + [429] * 50
    assert log_in(target, RIGHT) == 200


def test_a_forged_address_gives_no_further_guesses(target: Target) -> None:
    wrong = {"username": "salesforceUser", "password": "x"}
    statuses = [log_in(target, wrong, **{"X-Forwarded-For": f"198.51.100.{number}"}) for number in range(20)]
    assert statuses == [401] * 10 + [429] * 10


def encoded(part: Any) -> str:
    return urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def unsigned(algorithm: str) -> str:
    return f"{encoded({'alg': algorithm, 'typ': 'JWT'})}.{encoded(CLAIMS)}."


def signed(*, key: str = KEY, algorithm: str = "HS256", headers: Any = None, **changes: Any) -> str:
    return jwt.encode({**CLAIMS, **changes}, key, algorithm=algorithm, headers=headers)


FORGED = {
    **{f"alg {name}": unsigned(name) for name in ("none", "None", "NONE", "nOnE", "")},
    "another key": signed(key="x" * 40),
    "an empty signature": signed().rpartition(".")[0] + ".",
    "another algorithm": signed(key=KEY + "k" * 24, algorithm="HS512"),
    "expired": signed(iat=NOW_S - 7200, exp=NOW_S - 3600),
    "not valid yet": signed(nbf=NOW_S + 3600),
    "without an end": signed(exp=None),
    "another issuer": signed(iss="salesforce"),
    "another role": signed(role="ADMIN"),
    "two roles": signed(role=["YALO_ROLE", "SALESFORCE_ROLE"]),
    "claims nested deep": f"{encoded({'alg': 'HS256'})}.{'W' * 3000}.x",
    "a critical extension": signed(headers={"crit": ["b64"], "b64": False}),
}


def test_the_token_that_the_forged_ones_are_made_from_is_taken(target: Target) -> None:
    assert target.ask("GET", "/v1/tokens/check", Authorization=f"Bearer {signed()}")[0] == 200


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_token_is_refused(target: Target, case: str) -> None:
    assert target.ask("GET", "/v1/tokens/check", Authorization=f"Bearer {FORGED[case]}")[0] == 401
    assert target.ask("GET", f"/v1/context/1?token={FORGED[case]}")[0] == 401
