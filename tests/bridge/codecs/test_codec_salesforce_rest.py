"""Salesforce's REST dialect: quoting, paths, composites, refusals."""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.codecs.salesforce.rest import (
    ADVICE,
    Org,
    Subrequest,
    Token,
    checked_id,
    composite_replies,
    created_id,
    quote,
    raise_for_fault,
    rows,
    wants_new_token,
)
from bridge.errors import RemoteGarbled, RemoteRefused, RemoteUnavailable
from bridge.wire import HttpReply

ORG = Org("https://my.example", "52")
TOKEN = Token("00Dsecret", "https://na1.example/")
ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "\\": "\\", "'": "'", '"': '"'}


def reply(status: int, body: object, **headers: str) -> HttpReply:
    return HttpReply(status, headers, json.dumps(body).encode())


def fault(code: str, message: str = "said so") -> list[dict[str, str]]:
    return [{"errorCode": code, "message": message}]


def unquoted(literal: str) -> str:
    """Reads a SOQL string as Salesforce does; anything but a known escape is an error."""
    inside = literal[1:-1]
    assert re.fullmatch(r"""(?:[^\\']|\\(?:["'\\nrtbf]|u[0-9a-fA-F]{4}))*""", inside)
    return re.sub(r"\\(u(....)|.)", lambda m: chr(int(m[2], 16)) if m[2] else ESCAPED[m[1]], inside)


@given(st.text())
def test_a_quoted_value_is_read_back_as_it_was_and_never_ends_its_string(value: str) -> None:
    literal = quote(value)
    assert literal[0] == literal[-1] == "'"
    assert unquoted(literal) == value
    assert all(sign.isprintable() or ord(sign) > 0x7F for sign in literal)


def test_a_backslash_in_front_of_a_quote_does_not_set_the_quote_free() -> None:
    assert quote("\\' OR Name != '") == "'\\\\\\' OR Name != \\''"


def test_a_value_is_never_taken_for_a_reference_of_the_composite() -> None:
    assert "@{" not in quote("@{search1.records[0].Id}")
    assert unquoted(quote("@{search1.id}")) == "@{search1.id}"


@pytest.mark.parametrize("version", ["52", "52.0"])
def test_the_api_version_may_be_written_with_or_without_its_zero(version: str) -> None:
    assert Org("", version).path == "/services/data/v52.0"


def test_a_query_reaches_salesforce_whole_whatever_is_in_it() -> None:
    soql = "SELECT Id FROM Contact WHERE Email = 'a+b&c=d#e%f@x.mx'"
    call = ORG.query(TOKEN, soql)
    parts = urlsplit(call.url)
    assert (call.method, parts.netloc, parts.path) == ("GET", "my.example", "/services/data/v52.0/query")
    assert parse_qs(parts.query, strict_parsing=True) == {"q": [soql]}
    assert call.headers["Authorization"] == "Bearer 00Dsecret"


def test_without_a_base_url_the_address_that_came_with_the_token_counts() -> None:
    assert Org("", "52").query(TOKEN, "x").url.startswith("https://na1.example/services/")


def test_a_composite_names_its_steps_and_whether_all_or_none() -> None:
    step = Subrequest(method="POST", url="/x", reference_id="one", body={"Title": "t"})
    call = ORG.composite(TOKEN, [step], all_or_none=True)
    assert (call.method, call.url) == ("POST", "https://my.example/services/data/v52.0/composite")
    assert json.loads(call.body) == {
        "allOrNone": True,
        "compositeRequest": [{"method": "POST", "url": "/x", "referenceId": "one", "body": {"Title": "t"}}],
    }


def test_a_token_does_not_print_itself() -> None:
    assert "00Dsecret" not in f"{TOKEN!r} {TOKEN}"


@pytest.mark.parametrize("code", [code for code in ADVICE if code.isupper()])
@pytest.mark.parametrize("listed", [True, False])
def test_each_refusal_keeps_its_code_and_says_what_to_do(code: str, listed: bool) -> None:
    body = fault(code) if listed else fault(code)[0]
    with pytest.raises(RemoteRefused) as caught:
        raise_for_fault(reply(403, body))
    assert (caught.value.code, caught.value.status) == (code, 403)
    assert f"[403] - Error call with status : {code} message:said so" in str(caught.value)
    assert ADVICE[code] in str(caught.value)


def test_the_sentences_name_the_settings_to_look_at() -> None:
    assert "SFC_SECURITY_TOKEN" in ADVICE["INVALID_OPERATION_WITH_EXPIRED_PASSWORD"]
    assert "SFC_CLIENT_SECRET" in ADVICE["invalid_client"]
    assert "SFC_CLIENT_ID" in ADVICE["invalid_client_id"]
    assert len(set(ADVICE.values())) == len(ADVICE) == 7


@pytest.mark.parametrize(("status", "code"), [(400, "UNABLE_TO_LOCK_ROW"), (503, "SERVER_UNAVAILABLE"), (500, "ODD")])
def test_what_passes_by_itself_may_be_tried_again(status: int, code: str) -> None:
    with pytest.raises(RemoteUnavailable) as caught:
        raise_for_fault(reply(status, fault(code), **{"retry-after": "7"}))
    assert (caught.value.code, caught.value.retry_after_s) == (code, 7.0)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"<html>", b"\xff\xfe", b"[" * 20_000])
def test_a_refusal_in_no_known_form_is_still_a_refusal(body: bytes) -> None:
    with pytest.raises(RemoteRefused) as caught:
        raise_for_fault(HttpReply(400, {}, body))
    assert caught.value.code == ""
    with pytest.raises(RemoteUnavailable):
        raise_for_fault(HttpReply(502, {}, body))


def test_a_refused_query_is_not_repeated_with_what_a_person_gave() -> None:
    message = (
        "\nSELECT Id FROM Contact WHERE Email = 'ana@example.com'\n ^\nERROR at Row:1:Column:8\nNo such column 'X'"
    )
    with pytest.raises(RemoteRefused, match="No such column 'X'") as caught:
        raise_for_fault(reply(400, fault("INVALID_FIELD", message)))
    assert "ana@example.com" not in str(caught.value)


def test_only_a_refused_token_asks_for_a_new_one() -> None:
    assert wants_new_token(RemoteRefused("", status=401, code="INVALID_SESSION_ID"))
    assert not wants_new_token(RemoteRefused("", status=403, code="REQUEST_LIMIT_EXCEEDED"))
    assert not wants_new_token(RemoteRefused("", status=403, code="INVALID_OPERATION_WITH_EXPIRED_PASSWORD"))


def test_a_created_record_gives_its_id() -> None:
    assert created_id(reply(201, {"id": "500000000000001AAA", "success": True, "errors": []})) == "500000000000001AAA"


def test_a_record_that_was_not_created_has_no_id() -> None:
    with pytest.raises(RemoteRefused):
        created_id(reply(200, {"id": "500000000000001AAA", "success": False, "errors": []}))


@pytest.mark.parametrize("value", ["", "x' OR Id != '", "50000000000000", "5000000000000012", None, 5])
def test_what_is_no_record_id_is_not_taken_for_one(value: object) -> None:
    with pytest.raises(RemoteGarbled):
        checked_id(value)


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b'{"records": 1}', b'{"records": [1]}'])
def test_rows_that_make_no_sense_are_garbled(body: bytes) -> None:
    with pytest.raises(RemoteGarbled):
        rows(HttpReply(200, {}, body))


def step(status: int, body: object) -> dict[str, object]:
    return {"body": body, "httpHeaders": {}, "httpStatusCode": status, "referenceId": "r"}


def test_the_steps_of_a_composite_come_back_in_order() -> None:
    steps = composite_replies(reply(200, {"compositeResponse": [step(201, {"id": "a"}), step(200, {"records": []})]}))
    assert [(each.status, json.loads(each.body)) for each in steps] == [(201, {"id": "a"}), (200, {"records": []})]


def test_a_composite_that_is_200_fails_with_the_step_that_failed_and_not_with_those_it_halted() -> None:
    halted = step(400, fault("PROCESSING_HALTED"))
    answer = {"compositeResponse": [halted, step(400, fault("FILE_TOO_BIG", "50 MB")), halted]}
    with pytest.raises(RemoteRefused) as caught:
        composite_replies(reply(200, answer))
    assert caught.value.code == "FILE_TOO_BIG"


@pytest.mark.parametrize("body", [{"compositeResponse": []}, {}, [], {"compositeResponse": [{}]}])
def test_a_composite_without_its_steps_is_garbled(body: object) -> None:
    with pytest.raises(RemoteGarbled):
        composite_replies(reply(200, body))
