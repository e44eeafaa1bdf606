"""A user's own data is struck from the sentences of remotes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import RemoteRefused, RemoteUnavailable
from bridge.messages import ConnectRequest
from bridge.personal import strike


def request(**changes: str) -> ConnectRequest:
    values = {
        "user_id": "5215573735001",
        "bot_slug": "ayuda",
        "bot_id": "b-1",
        "name": "Ana Núñez",
        "email": "Ana.N@mail.example",
        "phone_number": "+52 1 5573735001",
    }
    return ConnectRequest(provider="whatsapp", **{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sentence", "left"),
    [
        ("INVALID_EMAIL_ADDRESS message:Email: ana.n@MAIL.example", "INVALID_EMAIL_ADDRESS message:Email: ***"),
        ("user 5215573735001 is unknown", "user *** is unknown"),
        ("MobilePhone 5573735001 and +52 1 5573735001", "MobilePhone *** and ***"),
        ("ANA NÚÑEZ has a duplicate", "*** has a duplicate"),
        ("[503] - Error call with status : later", "[503] - Error call with status : later"),
    ],
)
def test_name_email_phone_and_user_id_are_struck(sentence: str, left: str) -> None:
    error = RemoteUnavailable(sentence, status=503, code="X", retry_after_s=3.0)
    strike(error, request())
    assert str(error) == left
    assert (error.status, error.code, error.retry_after_s) == (503, "X", 3.0)


def test_a_name_of_two_letters_is_left_so_that_words_stay_whole() -> None:
    error = RemoteRefused("the org does not allow this")
    strike(error, request(name="or", phone_number="", user_id="t-1000"))
    assert str(error) == "the org does not allow this"


@given(st.text(max_size=50), st.text(min_size=3, max_size=30))
def test_nothing_of_a_value_is_left_whatever_it_holds(sentence: str, name: str) -> None:
    error = RemoteRefused(f"{sentence} {name} {sentence}")
    strike(error, request(name=name))
    assert name not in str(error).replace("***", " ") or name in "***"
