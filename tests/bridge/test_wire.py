"""HTTP as data."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import RemoteGarbled, RemoteRefused, RemoteUnavailable
from bridge.wire import HttpReply, json_call, parse, raise_for_status, retry_after_s


class Shape(msgspec.Struct):
    a: int


def test_a_json_call_says_what_it_sends_and_what_it_takes() -> None:
    call = json_call("POST", "https://x.example/", {"a": "ñ"}, headers={"Authorization": "Bearer t"})
    assert call.body == '{"a":"ñ"}'.encode()
    assert call.headers == {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Authorization": "Bearer t",
    }
    assert 0 < call.read_timeout_s <= call.total_timeout_s


def test_a_call_without_a_body_has_none() -> None:
    assert json_call("GET", "https://x.example/").body == b""
    assert json_call("POST", "https://x.example/", {}).body == b"{}"


def test_an_answer_is_read_as_its_shape() -> None:
    assert parse(HttpReply(200, body=b'{"a":1,"more":2}'), Shape) == Shape(1)


@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b'{"a":"1"}', b'{"a":1}}', b"\xff", b"[" * 100_000])
def test_any_other_answer_is_garbled_and_may_be_asked_for_again(body: bytes) -> None:
    with pytest.raises(RemoteGarbled) as raised:
        parse(HttpReply(200, body=body), Shape)
    assert isinstance(raised.value, RemoteUnavailable)
    assert raised.value.status == 200


@given(st.binary(max_size=2000))
def test_the_text_of_an_answer_is_short_and_never_an_error(body: bytes) -> None:
    assert len(HttpReply(500, body=body).text) <= 300


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_a_status_from_200_to_299_raises_nothing(status: int) -> None:
    raise_for_status(HttpReply(status), "x")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_a_status_that_may_pass_is_unavailable(status: int) -> None:
    with pytest.raises(RemoteUnavailable) as raised:
        raise_for_status(HttpReply(status, {"retry-after": "3"}, b'"busy"'), "the remote")
    assert (raised.value.status, raised.value.retry_after_s) == (status, 3.0)
    assert str(raised.value) == f'the remote: [{status}] - Error call with status : "busy"'


@pytest.mark.parametrize("body", [b"<html>ana@example.com 5215573735001</html>", b"upstream said: Ana", b"{", b"\xff"])
def test_the_page_of_a_proxy_is_not_quoted(body: bytes) -> None:
    with pytest.raises(RemoteUnavailable) as raised:
        raise_for_status(HttpReply(502, {}, body), "the remote")
    assert str(raised.value) == "the remote: [502] - Error call with status :"


@pytest.mark.parametrize("status", [100, 301, 304, 400, 401, 403, 404, 405, 409, 422])
def test_every_other_status_is_a_refusal(status: int) -> None:
    with pytest.raises(RemoteRefused) as raised:
        raise_for_status(HttpReply(status), "x")
    assert raised.value.status == status


NOON, LATER = "Fri, 20 Nov 2026 12:00:00 GMT", "Fri, 20 Nov 2026 12:01:30 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": "100000"}, 300.0),
        ({"retry-after": "9" * 400}, 300.0),
        ({"retry-after": LATER, "date": NOON}, 90.0),
        ({"retry-after": NOON, "date": LATER}, None),
        ({"retry-after": LATER}, None),
        ({"retry-after": LATER, "date": "yesterday"}, None),
        ({"retry-after": "Fri, 20 Nov 2026 12:01:30 -0000", "date": NOON}, None),
        ({"retry-after": "soon", "date": NOON}, None),
        ({"retry-after": "-5", "date": NOON}, None),
        ({"retry-after": "..", "date": NOON}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_is_a_number_or_a_date_or_nothing(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_retry_after_header_raises(asked: str, date: str) -> None:
    seconds = retry_after_s({"retry-after": asked, "date": date})
    assert seconds is None or 0 <= seconds <= 300
