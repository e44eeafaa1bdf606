"""Where a codec meets `requests`: login, record calls and bot states as the library sends them, and their answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import parse_qs

import pytest
import requests
import responses
from actor_parts import make_settings, wants_chat
from responses import matchers

from bridge.actors.outbound.channels import BotFlowClient
from bridge.actors.outbound.requests_transport import RequestsTransport
from bridge.actors.outbound.salesforce import SalesforceRecords, TokenKeeper
from bridge.actors.outbound.wiring import Remotes
from bridge.commands import EnsureContact, TellBot
from bridge.errors import RemoteGarbled, RemoteRefused, RemoteUnavailable
from bridge.events import BotTold, ContactReady

BASE = "http://remote.example"
TOKEN_URL = f"{BASE}/salesforce/services/oauth2/token"
COMPOSITE_URL = f"{BASE}/salesforce/services/data/v52.0/composite"
CONTACT_ID = "003000000000001"


@pytest.fixture
def remote() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


@pytest.fixture
def remotes() -> Remotes:
    return Remotes(make_settings(BASE, environment="dev"))


@pytest.fixture
def tokens(remotes: Remotes) -> TokenKeeper:
    return TokenKeeper(remotes.tokens._login, RequestsTransport("Salesforce", connections=2))


@pytest.fixture
def records(remotes: Remotes, tokens: TokenKeeper) -> SalesforceRecords:
    transport = RequestsTransport("Salesforce", connections=2)
    return SalesforceRecords(remotes.records._data, tokens, transport=transport, files=remotes.records._files)


@pytest.fixture
def bot_flow(remotes: Remotes) -> BotFlowClient:
    return BotFlowClient(remotes.bot_flow._codec, RequestsTransport("the bot flow", connections=2))


def grant(remote: responses.RequestsMock, token: str = "t-1") -> None:
    remote.post(TOKEN_URL, json={"access_token": token, "instance_url": BASE})


def step(status: int, body: object) -> dict[str, object]:
    return {"compositeResponse": [{"httpStatusCode": status, "body": body, "referenceId": "search1"}]}


# --- login ----------------------------------------------------------------------------------------------------------


def test_a_login_sends_a_form_and_asks_for_no_compression(remote: responses.RequestsMock, tokens: TokenKeeper) -> None:
    grant(remote)
    assert tokens.token().access_token == "t-1"
    sent = remote.calls[0].request
    assert sent.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert sent.headers["Accept-Encoding"] == "identity"
    assert "Cookie" not in sent.headers
    assert parse_qs(str(sent.body and sent.body.decode()))["grant_type"] == ["password"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"error": "invalid_grant", "error_description": "authentication failure"}, RemoteRefused),
        (503, {"error": "temporarily_unavailable", "error_description": "later"}, RemoteUnavailable),
        (200, {"token_type": "Bearer"}, RemoteGarbled),
        (302, {}, RemoteRefused),
    ],
)
def test_a_login_that_is_not_granted_raises(
    remote: responses.RequestsMock, tokens: TokenKeeper, status: int, body: object, error: type[Exception]
) -> None:
    remote.post(TOKEN_URL, status=status, json=body, headers={"Location": "http://elsewhere.example/"})
    with pytest.raises(error):
        tokens.token()
    assert len(remote.calls) == 1


def test_a_login_page_in_place_of_json_is_not_quoted(remote: responses.RequestsMock, tokens: TokenKeeper) -> None:
    remote.post(TOKEN_URL, status=500, body="<html>password=s3cret</html>", content_type="text/html")
    with pytest.raises(RemoteUnavailable) as raised:
        tokens.token()
    assert "s3cret" not in str(raised.value)


# --- records --------------------------------------------------------------------------------------------------------


def test_a_contact_search_is_one_composite_with_the_bearer(
    remote: responses.RequestsMock, records: SalesforceRecords
) -> None:
    grant(remote)
    found = step(200, {"records": [{"Id": CONTACT_ID}]})
    bearer = matchers.header_matcher({"Authorization": "Bearer t-1", "Content-Type": "application/json"})
    remote.post(COMPOSITE_URL, json=found, match=[bearer])
    assert records.serve(EnsureContact(wants_chat())) == (ContactReady(CONTACT_ID),)
    asked = json.loads(remote.calls[1].request.body or b"")
    assert [query["method"] for query in asked["compositeRequest"]] == ["GET", "GET"]
    assert asked["allOrNone"] is False


def test_a_call_whose_token_expired_is_sent_again_with_a_new_one(
    remote: responses.RequestsMock, records: SalesforceRecords
) -> None:
    grant(remote, "t-1")
    grant(remote, "t-2")
    remote.post(COMPOSITE_URL, status=401, json=[{"errorCode": "INVALID_SESSION_ID", "message": "expired"}])
    remote.post(COMPOSITE_URL, json=step(200, {"records": [{"Id": CONTACT_ID}]}))
    records.serve(EnsureContact(wants_chat()))
    bearers = [call.request.headers.get("Authorization") for call in remote.calls]
    assert bearers == [None, "Bearer t-1", None, "Bearer t-2"]


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        (requests.exceptions.ConnectTimeout(), "Salesforce did not answer: ConnectTimeout"),
        (requests.exceptions.ConnectionError(), "Salesforce did not answer: ConnectionError"),
        (requests.exceptions.ChunkedEncodingError(), "Salesforce did not answer: ChunkedEncodingError"),
        (ConnectionResetError(), "Salesforce did not answer: ConnectionResetError"),
    ],
)
def test_every_trouble_of_the_library_is_unavailable(
    remote: responses.RequestsMock, records: SalesforceRecords, trouble: Exception, sentence: str
) -> None:
    grant(remote)
    remote.post(COMPOSITE_URL, body=trouble)
    with pytest.raises(RemoteUnavailable, match=sentence):
        records.serve(EnsureContact(wants_chat()))


def test_retry_after_reaches_the_error(remote: responses.RequestsMock, records: SalesforceRecords) -> None:
    grant(remote)
    busy = [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "too many"}]
    remote.post(COMPOSITE_URL, status=429, json=busy, headers={"Retry-After": "17"})
    with pytest.raises(RemoteUnavailable) as raised:
        records.serve(EnsureContact(wants_chat()))
    assert (raised.value.status, raised.value.retry_after_s) == (429, 17.0)


# --- bot flow -------------------------------------------------------------------------------------------------------


def test_a_bot_state_is_one_post(remote: responses.RequestsMock, bot_flow: BotFlowClient, remotes: Remotes) -> None:
    call = remotes.bot_flow._codec.tell(wants_chat(), "success")
    remote.post(call.url, json={})
    assert bot_flow.serve(TellBot(wants_chat(), "success", 0)) == (BotTold(),)
    assert remote.calls[0].request.body == call.body


@pytest.mark.parametrize(
    ("status", "error"),
    [(202, RemoteRefused), (404, RemoteRefused), (429, RemoteUnavailable), (502, RemoteUnavailable)],
)
def test_a_bot_flow_that_does_not_answer_200_raises(
    remote: responses.RequestsMock, bot_flow: BotFlowClient, remotes: Remotes, status: int, error: type[Exception]
) -> None:
    remote.post(remotes.bot_flow._codec.tell(wants_chat(), "success").url, status=status, body="no")
    with pytest.raises(error):
        bot_flow.serve(TellBot(wants_chat(), "success", 0))
