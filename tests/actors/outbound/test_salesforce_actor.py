"""Salesforce's records over one token: one login for all, one replay when it expired, and never a case twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import msgspec
import pytest
from actor_parts import make_settings, now_ms, wants_chat

from bridge.actors.outbound.salesforce import SalesforceRecords, TokenKeeper
from bridge.actors.outbound.token_refresh import TokenRefresher
from bridge.actors.outbound.wiring import Remotes
from bridge.commands import AttachFile, EnsureContact, OpenCase
from bridge.errors import RemoteError, RemoteRefused, RemoteUnavailable
from bridge.events import CaseOpened, ContactBlocked, ContactReady, Event, FileAttached
from bridge.messages import ConnectRequest, Media, UserMessage
from bridge.ops.simulator import Simulator
from bridge.records import Delivery

TOKEN = "/salesforce/services/oauth2/token"
DATA = "/salesforce/services/data/*"
EXPIRED = '[{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}]'


@pytest.fixture
def remotes(simulator: Simulator) -> Remotes:
    return Remotes(make_settings(simulator.url))


@pytest.fixture
def records(remotes: Remotes) -> SalesforceRecords:
    return remotes.records


@pytest.fixture
def tokens(remotes: Remotes) -> TokenKeeper:
    return remotes.tokens


def all_at_once(calls: int, call: Callable[[], Any]) -> list[Any]:
    """What so many callers are given at the same time; errors as values."""

    def one() -> Any:
        try:
            return call()
        except RemoteError as error:
            return error

    callers = [gevent.spawn(one) for _ in range(calls)]
    gevent.joinall(callers, timeout=20)
    return [caller.get(block=False) for caller in callers]


def contact(records: SalesforceRecords, user: str = "5215573735001") -> str:
    [event] = records.serve(EnsureContact(wants_chat(user)))
    assert isinstance(event, ContactReady)
    return event.contact_id


# --- the token --------------------------------------------------------------------------------------------------------


def test_fifty_callers_need_one_login(simulator: Simulator, tokens: TokenKeeper) -> None:
    simulator.add_fault(TOKEN, delay_s=0.1, times=0)
    given = all_at_once(50, tokens.token)
    assert all(token is given[0] for token in given)
    assert not isinstance(given[0], RemoteError)
    assert simulator.requests("/token") == 1
    assert tokens.token() is given[0]


def test_fifty_callers_whose_token_expired_need_one_login_too(simulator: Simulator, tokens: TokenKeeper) -> None:
    old = tokens.token()
    simulator.add_fault(TOKEN, delay_s=0.1, times=0)
    given = all_at_once(50, lambda: tokens.token(instead_of=old))
    assert all(token is given[0] for token in given)
    assert given[0] is not old
    assert simulator.requests("/token") == 2


def test_whoever_comes_late_with_an_old_token_is_given_the_new_one(simulator: Simulator, tokens: TokenKeeper) -> None:
    old = tokens.token()
    new = tokens.token(instead_of=old)
    assert tokens.token(instead_of=old) is new
    assert simulator.requests("/token") == 2


def test_fifty_callers_share_one_refusal_and_the_next_one_asks_again(simulator: Simulator, tokens: TokenKeeper) -> None:
    refusal = '{"error": "invalid_grant", "error_description": "authentication failure"}'
    simulator.add_fault(TOKEN, status=400, body=refusal, delay_s=0.1, times=0)
    given = all_at_once(50, tokens.token)
    assert {type(error) for error in given} == {RemoteRefused}
    assert simulator.requests("/token") == 1, "a wrong password that is tried fifty times locks the user out"
    assert isinstance(all_at_once(1, tokens.token)[0], RemoteRefused)
    assert simulator.requests("/token") == 2
    simulator.faults.clear()
    assert not isinstance(all_at_once(1, tokens.token)[0], RemoteError)


def test_a_renewal_replaces_a_token_that_is_still_good(simulator: Simulator, tokens: TokenKeeper) -> None:
    tokens.renew()
    first = tokens.token()
    tokens.renew()
    assert tokens.token() is not first
    assert simulator.requests("/token") == 2


def test_a_renewal_that_fails_leaves_the_token_that_there_is(simulator: Simulator, tokens: TokenKeeper) -> None:
    first = tokens.token()
    simulator.add_fault(TOKEN, drop="before")
    with pytest.raises(RemoteUnavailable):
        tokens.renew()
    assert tokens.token() is first


def test_the_token_is_kept_warm_by_the_schedule(
    simulator: Simulator, tokens: TokenKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.add_fault(TOKEN, drop="before")
    warmer = TokenRefresher(tokens, "0 * * * *")
    monkeypatch.setattr(warmer._schedule.__class__, "seconds_to_next", lambda *_: 0.01)
    warmer.start()
    simulator.wait_for(lambda: simulator.requests("/token", status=200) >= 3)
    warmer.stop()
    assert simulator.requests("/token", status=0) == 1


# --- expired ----------------------------------------------------------------------------------------------------------


def test_a_call_whose_token_expired_is_made_once_more(simulator: Simulator, records: SalesforceRecords) -> None:
    first = contact(records)
    simulator.expire_tokens()
    assert contact(records) == first
    assert simulator.requests("/token") == 2
    assert len(simulator.records("Contact")) == 1


def test_fifty_calls_whose_token_expired_need_one_login(simulator: Simulator, records: SalesforceRecords) -> None:
    known = contact(records)
    simulator.expire_tokens()
    simulator.add_fault(TOKEN, delay_s=0.1, times=0)
    assert all_at_once(50, lambda: contact(records)) == [known] * 50
    assert simulator.requests("/token") == 2


def test_a_call_that_is_refused_with_every_token_is_not_repeated_for_ever(
    simulator: Simulator, records: SalesforceRecords
) -> None:
    fault = simulator.add_fault(DATA, status=401, body=EXPIRED, times=0)
    with pytest.raises(RemoteRefused):
        contact(records)
    assert fault.hits == 2
    assert simulator.requests("/token") == 2


@pytest.mark.parametrize(
    ("status", "error"), [(400, RemoteRefused), (403, RemoteRefused), (404, RemoteRefused), (500, RemoteUnavailable)]
)
def test_another_refusal_is_not_repeated(
    simulator: Simulator, records: SalesforceRecords, status: int, error: type[RemoteError]
) -> None:
    body = '[{"errorCode": "SOMETHING_ELSE", "message": "no"}]'
    fault = simulator.add_fault(DATA, status=status, body=body, times=0)
    with pytest.raises(error):
        contact(records)
    assert fault.hits == 1
    assert simulator.requests("/token") == 1


# --- contacts, cases, files -------------------------------------------------------------------------------------------


def test_a_contact_is_found_or_created_once(simulator: Simulator, records: SalesforceRecords) -> None:
    assert contact(records) == contact(records)
    assert contact(records, "5215573735002") != contact(records)
    assert len(simulator.records("Contact")) == 2


def test_a_blocked_contact_is_said_to_be_so(simulator: Simulator) -> None:
    records, request = Remotes(make_settings(simulator.url, sfc_blocked_chat_field="true")).records, wants_chat()
    blocked = simulator.seed_contact(blocked=True, Email=request.email, MobilePhone=request.phone_number)
    assert records.serve(EnsureContact(request)) == (ContactBlocked(blocked),)


def opened(records: SalesforceRecords, request: ConnectRequest, *, again: bool = False) -> str:
    command = OpenCase(request, contact(records, request.user_id), now_ms() - 1000, again)
    [event] = records.serve(command)
    assert isinstance(event, CaseOpened)
    return event.case_id


def test_a_case_whose_answer_got_lost_is_found_again(simulator: Simulator, records: SalesforceRecords) -> None:
    contact(records)
    simulator.add_fault("*/sobjects/Case*", method="POST", drop="after")
    with pytest.raises(RemoteUnavailable):
        opened(records, wants_chat())
    [there] = simulator.records("Case")
    assert opened(records, wants_chat(), again=True) == there["Id"]
    assert len(simulator.records("Case")) == 1


def test_a_case_that_never_came_to_be_is_opened_at_the_second_try(
    simulator: Simulator, records: SalesforceRecords
) -> None:
    contact(records)
    simulator.add_fault("*/sobjects/Case*", method="POST", drop="before")
    with pytest.raises(RemoteUnavailable):
        opened(records, wants_chat())
    assert simulator.records("Case") == []
    assert opened(records, wants_chat(), again=True)
    assert len(simulator.records("Case")) == 1


def test_with_a_name_of_ours_a_case_is_made_again_without_a_search_and_is_there_once(simulator: Simulator) -> None:
    records = Remotes(make_settings(simulator.url, sfc_case_external_id_field="Chat__c")).records
    command = OpenCase(wants_chat(), contact(records), now_ms(), chat_id="chat-1")
    simulator.add_fault("*/sobjects/Case/Chat__c/chat-1", method="PATCH", drop="after")
    with pytest.raises(RemoteUnavailable):
        records.serve(command)
    [there] = simulator.records("Case")
    assert there["Chat__c"] == "chat-1"
    assert records.serve(msgspec.structs.replace(command, again=True)) == (CaseOpened(there["Id"]),)
    assert records.serve(msgspec.structs.replace(command, chat_id="chat-2")) != (CaseOpened(there["Id"]),)
    assert len(simulator.records("Case")) == 2
    assert simulator.requests("/query") == 0


def test_a_case_that_an_old_version_does_not_tell_is_looked_up_by_its_name(simulator: Simulator) -> None:
    records = Remotes(make_settings(simulator.url, sfc_case_external_id_field="Chat__c")).records
    command = OpenCase(wants_chat(), contact(records), now_ms(), chat_id="chat-1")
    opened = records.serve(command)
    simulator.add_fault("*/sobjects/Case/Chat__c/chat-1", method="PATCH", status=204, body="")
    assert records.serve(command) == opened
    simulator.add_fault("*/sobjects/Case/Chat__c/chat-2", method="PATCH", status=204, body="")
    with pytest.raises(RemoteUnavailable, match="a query does not find it"):
        records.serve(msgspec.structs.replace(command, chat_id="chat-2"))


def attach(records: SalesforceRecords, case_id: str, media: Media | None) -> tuple[Event, ...]:
    message = UserMessage(message_id="m", user_id="521", provider="whatsapp", sent_at_ms=now_ms(), media=media)
    delivery = Delivery(id="c-a1", text="", owed_since_ms=now_ms(), message=message, media=media)
    return records.serve(AttachFile(case_id, "s-1", delivery))


def test_a_users_file_lies_at_the_case(simulator: Simulator, records: SalesforceRecords) -> None:
    case_id = opened(records, wants_chat())
    url = simulator.add_file("foto.jpg", b"\xff\xd8jpeg", content_type="image/jpeg")
    [event] = attach(records, case_id, Media("image", url, "image/jpeg"))
    assert isinstance(event, FileAttached)
    assert event.delivery_id == "c-a1"
    assert len(simulator.records("ContentVersion")) == 1


def test_a_file_that_is_not_there_is_refused_and_nothing_is_attached(
    simulator: Simulator, records: SalesforceRecords
) -> None:
    case_id = opened(records, wants_chat())
    for media in (None, Media("image", f"{simulator.url}/media/gone.jpg", "image/jpeg")):
        with pytest.raises(RemoteRefused):
            attach(records, case_id, media)
    assert simulator.records("ContentVersion") == []
