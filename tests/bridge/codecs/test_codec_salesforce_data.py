"""Contact, person account, case, route: salesforce.md, row by row."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from bridge.codecs.salesforce.data import FoundContact, Route, SalesforceConfig, SalesforceData
from bridge.codecs.salesforce.rest import ExternalId, Org, Token, upserted_id
from bridge.errors import PayloadError, RemoteError, RemoteGarbled, RemoteRefused, RemoteUnavailable
from bridge.flows import Flow, FlowQueue
from bridge.messages import ConnectRequest, ExtraValue
from bridge.settings.load import Settings
from bridge.settings.wiring import salesforce_records
from bridge.wire import HttpCall, HttpReply

TOKEN = Token("00Dtoken")
CONTACT = "003000000000001AAA"
FLOWS = {
    "default": Flow("Ayuda", {"whatsapp": FlowQueue("573default", "005default"), "facebook": FlowQueue("573fb")}),
    "SFB001": Flow("Compras", {"whatsapp": FlowQueue("573sales", "005sales")}),
}
CONFIG = SalesforceConfig(org=Org("https://my.example", "52"), flows=FLOWS)
REQUEST = ConnectRequest(
    user_id="5217331175599",
    bot_slug="coppel-bot",
    bot_id="521554578545",
    name="Eduardo Ochoa",
    provider="whatsapp",
    email="ochoa@example.com",
    phone_number="5217331175599",
)


def data(**changes: Any) -> SalesforceData:
    return SalesforceData(msgspec.structs.replace(CONFIG, **changes))


def request(**changes: Any) -> ConnectRequest:
    return msgspec.structs.replace(REQUEST, **changes)


def fields(call: HttpCall) -> dict[str, str]:
    decoded: dict[str, str] = json.loads(call.body)
    return decoded


def queries(call: HttpCall) -> list[str]:
    assert call.url.startswith("https://my.example/services/data/v")
    assert call.url.endswith(".0/composite")
    return [soql(step["url"]) for step in json.loads(call.body)["compositeRequest"]]


def soql(url: str) -> str:
    return parse_qs(urlsplit(url).query, strict_parsing=True)["q"][0]


def composite(*steps: tuple[int, object]) -> HttpReply:
    answered = [{"httpStatusCode": status, "body": body, "referenceId": "r"} for status, body in steps]
    return HttpReply(200, {}, json.dumps({"compositeResponse": answered}).encode())


def found(*records: dict[str, object]) -> tuple[int, object]:
    return 200, {"totalSize": len(records), "done": True, "records": list(records)}


def answered(status: int, body: object) -> HttpReply:
    return HttpReply(status, {}, json.dumps(body).encode())


# --- contact search ---------------------------------------------------------------------------------------------------


def test_a_contact_is_searched_by_email_and_then_by_local_phone() -> None:
    assert queries(data().search_contact(TOKEN, REQUEST)) == [
        "SELECT Id FROM Contact WHERE Email = 'ochoa@example.com' LIMIT 1",
        "SELECT Id FROM Contact WHERE MobilePhone = '7331175599' LIMIT 1",
    ]


def test_without_a_phone_there_is_no_search_by_phone() -> None:
    assert len(queries(data().search_contact(TOKEN, request(phone_number="")))) == 1


def test_each_custom_search_field_that_is_present_adds_one_search() -> None:
    codec = data(fields_search={"member": "Member__c", "card": "Account.Card__c", "absent": "Absent__c"})
    asked = queries(codec.search_contact(TOKEN, request(extra_data={"member": "7", "card": "O'Hara", "other": "x"})))
    assert asked[2:] == [
        "SELECT Id FROM Contact WHERE Member__c = '7' LIMIT 1",
        "SELECT Id FROM Contact WHERE Account.Card__c = 'O\\'Hara' LIMIT 1",
    ]


def test_more_than_five_searches_share_the_fifth_because_salesforce_takes_no_more() -> None:
    names = [f"k{number}" for number in range(5)]
    codec = data(fields_search={name: f"{name}__c" for name in names})
    asked = queries(codec.search_contact(TOKEN, request(extra_data=dict.fromkeys(names, "v"))))
    assert len(asked) == 5
    assert asked[4] == "SELECT Id FROM Contact WHERE k2__c = 'v' OR k3__c = 'v' OR k4__c = 'v' LIMIT 1"


def test_an_empty_value_is_not_searched_by_for_it_would_find_a_stranger() -> None:
    codec = data(fields_search={"member": "Member__c"})
    asked = queries(codec.search_contact(TOKEN, request(email="", extra_data={"member": ""})))
    assert asked == ["SELECT Id FROM Contact WHERE MobilePhone = '7331175599' LIMIT 1"]
    with pytest.raises(PayloadError):
        codec.search_contact(TOKEN, request(email="", phone_number=""))


def test_a_quote_in_the_email_does_not_change_the_query() -> None:
    asked = queries(data().search_contact(TOKEN, request(email="x' OR Name != 'y")))
    assert asked[0] == "SELECT Id FROM Contact WHERE Email = 'x\\' OR Name != \\'y' LIMIT 1"


def test_the_blocked_field_is_asked_for_only_where_the_org_has_it() -> None:
    call = data(blocked_chat_field=True).search_contact(TOKEN, REQUEST)
    assert all(asked.startswith("SELECT Id, CP_BlockedChatYalo__c FROM Contact ") for asked in queries(call))


def test_the_first_row_wins() -> None:
    other: dict[str, object] = {"Id": "003000000000002AAA"}
    assert data().found_contact(composite(found(), found({"Id": CONTACT}), found(other))) == FoundContact(CONTACT)


def test_no_row_in_any_search_is_a_contact_that_does_not_exist() -> None:
    assert data().found_contact(composite(found(), found())) is None


@pytest.mark.parametrize(
    ("has_field", "value", "blocked"), [(True, True, True), (True, None, False), (False, True, False)]
)
def test_a_contact_is_blocked_by_its_field_where_the_org_has_it(has_field: bool, value: object, blocked: bool) -> None:
    reply = composite(found({"Id": CONTACT, "CP_BlockedChatYalo__c": value}))
    assert data(blocked_chat_field=has_field).found_contact(reply) == FoundContact(CONTACT, blocked)


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(400, "INVALID_FIELD", RemoteRefused), (500, "UNKNOWN_EXCEPTION", RemoteUnavailable)],
)
def test_one_failed_search_is_never_a_missing_contact(
    position: int, status: int, code: str, kind: type[RemoteError]
) -> None:
    steps = [found(), found()]
    steps[position] = (status, [{"errorCode": code, "message": "no"}])
    with pytest.raises(kind) as caught:
        data().found_contact(composite(*steps))
    assert caught.value.code == code


def test_one_failed_search_fails_even_beside_one_that_found_somebody() -> None:
    with pytest.raises(RemoteRefused):
        data().found_contact(composite(found({"Id": CONTACT}), (400, [{"errorCode": "X", "message": ""}])))


@pytest.mark.parametrize(
    "reply", [HttpReply(200, {}, b""), composite(), composite((200, {})), composite(found({"Id": 1}))]
)
def test_a_search_answered_with_nonsense_is_never_a_missing_contact(reply: HttpReply) -> None:
    with pytest.raises(RemoteGarbled):
        data().found_contact(reply)


# --- contact and person account ---------------------------------------------------------------------------------------


def test_a_contact_is_created_with_the_bots_first_name_and_the_users_own() -> None:
    call = data(first_name_contact="Bot").create_contact(TOKEN, REQUEST)
    assert (call.method, call.url) == ("POST", "https://my.example/services/data/v52.0/sobjects/Contact")
    assert call.headers["Authorization"] == "Bearer 00Dtoken"
    assert "Sforce-Auto-Assign" not in call.headers
    assert fields(call) == {
        "FirstName": "Bot",
        "LastName": "Eduardo Ochoa",
        "Email": "ochoa@example.com",
        "MobilePhone": "7331175599",
    }


def test_extra_data_fills_the_contacts_custom_fields_and_cannot_replace_its_own() -> None:
    codec = data(fields_contact={"city": "MailingCity", "mail": "Email", "none": "None__c"})
    sent = fields(codec.create_contact(TOKEN, request(extra_data={"city": "Iguala", "mail": "x@y", "rest": "1"})))
    assert (sent["MailingCity"], sent["Email"]) == ("Iguala", "ochoa@example.com")
    assert "None__c" not in sent


def test_a_name_longer_than_salesforce_takes_does_not_cost_the_chat() -> None:
    assert len(fields(data().create_contact(TOKEN, request(name="x" * 200)))["LastName"]) == 80


@pytest.mark.parametrize(
    ("setting", "extra", "wanted"),
    [
        ("", {}, ""),
        ("012A", {}, "012A"),
        ("", {"AccountRecordTypeId": "012B"}, "012B"),
        ("012A", {"AccountRecordTypeId": "012B"}, "012B"),
    ],
)
def test_a_person_account_is_made_where_a_record_type_is_given(
    setting: str, extra: dict[str, str], wanted: str
) -> None:
    assert data(account_record_type_id=setting).account_record_type_id(request(extra_data=extra)) == wanted


def test_a_person_account_is_created_with_its_own_names_for_the_same_things() -> None:
    codec = data(account_record_type_id="012000000000001", fields_account={"city": "BillingCity"})
    call = codec.create_account(TOKEN, request(extra_data={"city": "Iguala"}))
    assert call.url == "https://my.example/services/data/v52.0/sobjects/Account"
    assert fields(call) == {
        "FirstName": "Contacto Bot - ",
        "LastName": "Eduardo Ochoa",
        "PersonEmail": "ochoa@example.com",
        "PersonMobilePhone": "7331175599",
        "PersonBirthDate": "1921-01-01",
        "RecordTypeId": "012000000000001",
        "BillingCity": "Iguala",
    }


def test_the_contact_of_a_person_account_is_read_from_it() -> None:
    call = data().read_person_contact(TOKEN, "001000000000001")
    assert soql(call.url) == "SELECT PersonContactId FROM Account WHERE Id = '001000000000001'"
    assert data().person_contact_id(answered(*found({"PersonContactId": CONTACT}))) == CONTACT


@pytest.mark.parametrize("answer", [found(), found({"PersonContactId": None})])
def test_an_account_without_a_contact_points_at_the_record_type(answer: tuple[int, object]) -> None:
    with pytest.raises(RemoteRefused, match="SFC_ACCOUNT_RECORD_TYPE_ID"):
        data().person_contact_id(answered(*answer))


@pytest.mark.parametrize(
    ("given", "local"),
    [
        ("5217331175599", "7331175599"),
        ("527331175599", "7331175599"),
        ("+52 1 733 117 5599", "7331175599"),
        ("5211234567", "5211234567"),
        ("52112345678", "52112345678"),
        ("521123456789", "1123456789"),
        ("447911123456", "447911123456"),
        ("", ""),
    ],
)
def test_the_first_code_that_leaves_ten_digits_is_cut(given: str, local: str) -> None:
    assert data().phone(request(phone_number=given)) == local


# --- route and case ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "route"),
    [
        ({"source_flow_bot": "SFB001"}, Route("Compras", "573sales", "005sales")),
        ({"source_flow_bot": "unknown"}, Route("Ayuda", "573default", "005default")),
        ({}, Route("Ayuda", "573default", "005default")),
    ],
)
def test_the_flow_is_the_one_named_or_else_the_default(extra: dict[str, str], route: Route) -> None:
    assert data().route(request(extra_data=extra)) == route


def test_a_flow_without_a_queue_for_the_provider_is_refused_before_anything_is_created() -> None:
    wanted = request(provider="facebook", extra_data={"source_flow_bot": "SFB001"})
    with pytest.raises(RemoteRefused, match="SFC_SOURCE_FLOW_BOT has no queue for facebook"):
        data().route(wanted)
    with pytest.raises(RemoteRefused):
        data().create_case(TOKEN, wanted, contact_id=CONTACT)


def test_a_case_holds_what_the_flow_and_the_contact_say() -> None:
    call = data(record_type_id="012case").create_case(TOKEN, REQUEST, contact_id=CONTACT)
    assert call.url == "https://my.example/services/data/v52.0/sobjects/Case"
    assert call.headers["Sforce-Auto-Assign"] == "false"
    assert call.headers["Authorization"] == "Bearer 00Dtoken"
    assert fields(call) == {
        "RecordTypeId": "012case",
        "ContactId": CONTACT,
        "OwnerId": "005default",
        "Subject": "Ayuda",
        "Description": "Caso levantado por el Bot : Ayuda",
        "Origin": "whatsapp",
        "Status": "Nuevo",
        "Priority": "Medium",
    }


def test_a_case_without_record_type_or_owner_leaves_them_out() -> None:
    sent = fields(data().create_case(TOKEN, request(provider="facebook"), contact_id=CONTACT))
    assert not {"RecordTypeId", "OwnerId"} & set(sent)
    assert sent["Origin"] == "facebook"


def test_mapped_fields_may_replace_status_and_priority_and_nothing_else_of_the_case() -> None:
    codec = data(fields_case={"state": "Status", "haste": "Priority", "subject": "Subject", "order": "Order__c"})
    extra = {"state": "Abierto", "haste": "High", "subject": "mine", "order": "12", "description": "Quiero saber"}
    sent = fields(codec.create_case(TOKEN, request(extra_data=extra), contact_id=CONTACT))
    assert (sent["Status"], sent["Priority"], sent["Order__c"]) == ("Abierto", "High", "12")
    assert (sent["Subject"], sent["Description"]) == ("Ayuda", "Quiero saber")


def test_numbers_and_truths_are_sent_as_such_and_searched_for_as_text() -> None:
    names = {"count": "Count__c", "vip": "Vip__c", "free": "Free__c", "none": "None__c"}
    extra: dict[str, ExtraValue] = {"count": 0, "vip": True, "free": False, "none": ""}
    codec = data(fields_case=names, fields_search={"count": "Count__c", "vip": "Vip__c"})
    sent = fields(codec.create_case(TOKEN, request(extra_data=extra), contact_id=CONTACT))
    assert (sent["Count__c"], sent["Vip__c"], sent["Free__c"]) == (0, True, False)
    assert sent["Vip__c"] is True
    assert "None__c" not in sent
    asked = " ".join(queries(codec.search_contact(TOKEN, request(extra_data=extra))))
    assert "Count__c = '0'" in asked
    assert "Vip__c = 'true'" in asked


KEY = ExternalId("Case", "Chat__c", "a/b'1")


def test_a_case_with_a_name_of_ours_is_made_by_upsert_with_the_same_fields_but_that_one() -> None:
    codec = data(fields_case={"chat": "chat__C", "order": "Order__c"})
    asked = request(extra_data={"chat": "stolen", "order": "12"})
    plain, call = (codec.create_case(TOKEN, asked, contact_id=CONTACT, key=key) for key in (None, KEY))
    assert (call.method, call.url) == (
        "PATCH",
        "https://my.example/services/data/v52.0/sobjects/Case/Chat__c/a%2Fb%271",
    )
    assert call.headers == plain.headers
    assert call.headers["Sforce-Auto-Assign"] == "false"
    assert {**fields(call), "chat__C": "stolen"} == fields(plain)


@pytest.mark.parametrize(("field", "chat_id"), [("", "c"), ("Chat__c", "")])
def test_without_the_field_or_the_chats_id_a_case_has_no_name_of_ours(field: str, chat_id: str) -> None:
    assert data(case_external_id_field=field).case_key(chat_id) is None
    assert data(case_external_id_field="Chat__c").case_key("c") == ExternalId("Case", "Chat__c", "c")


def test_a_case_is_found_by_its_name() -> None:
    assert soql(data().find_case_by_key(TOKEN, KEY).url) == "SELECT Id FROM Case WHERE Chat__c = 'a/b\\'1'"


@pytest.mark.parametrize("status", [200, 201])
def test_an_upsert_tells_the_case_that_it_made_or_found(status: int) -> None:
    assert upserted_id(answered(status, {"id": "500000000000001AAA", "success": True})) == "500000000000001AAA"


def test_an_old_version_does_not_tell_the_case_that_it_found() -> None:
    assert upserted_id(HttpReply(204, {}, b"")) is None


def test_an_upsert_that_meets_several_cases_is_refused() -> None:
    body = ["/services/data/v52.0/sobjects/Case/500000000000001AAA", "/services/data/v52.0/sobjects/Case/5000002"]
    with pytest.raises(RemoteRefused, match="has to be a unique one") as caught:
        upserted_id(answered(300, body))
    assert caught.value.status == 300


def test_an_upsert_that_was_overtaken_by_another_may_be_repeated() -> None:
    with pytest.raises(RemoteUnavailable, match="DUPLICATE_VALUE"):
        upserted_id(answered(400, [{"errorCode": "DUPLICATE_VALUE", "message": "duplicate value found: Chat__c"}]))


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answered(404, [{"errorCode": "NOT_FOUND", "message": "no such field"}]), RemoteRefused),
        (answered(200, {"id": "500000000000001AAA", "success": False}), RemoteRefused),
        (HttpReply(200, {}, b""), RemoteGarbled),
        (HttpReply(503, {}, b""), RemoteUnavailable),
    ],
)
def test_an_upsert_that_failed_tells_no_case(reply: HttpReply, kind: type[RemoteError]) -> None:
    with pytest.raises(kind):
        upserted_id(reply)


def test_an_earlier_case_of_the_same_chat_is_looked_for_by_all_that_marks_it() -> None:
    codec = data(flows={"default": Flow("D'accord", {"whatsapp": FlowQueue("573")})})
    call = codec.find_case(TOKEN, REQUEST, contact_id=CONTACT, since_ms=1_700_000_000_999)
    assert soql(call.url) == (
        f"SELECT Id FROM Case WHERE ContactId = '{CONTACT}' AND Subject = 'D\\'accord' AND Origin = 'whatsapp' "
        "AND CreatedDate >= 2023-11-14T22:13:20Z ORDER BY CreatedDate DESC LIMIT 1"
    )


def test_an_earlier_case_is_found_or_not_but_a_failed_search_is_neither() -> None:
    assert data().found_case(answered(*found({"Id": "500000000000001AAA"}))) == "500000000000001AAA"
    assert data().found_case(answered(*found())) is None
    with pytest.raises(RemoteUnavailable):
        data().found_case(HttpReply(503, {}, b""))


# --- settings ---------------------------------------------------------------------------------------------------------


def settings(**changes: Any) -> Settings:
    needed = {
        "yalo_password": "p", "salesforce_password": "p", "secret_key": "k" * 32, "sfc_client_id": "id",
        "sfc_login_url": "https://login.example", "sfc_base_url": "https://my.example/",
        "sfc_chat_url": "https://chat.example", "sfc_organization_id": "00D", "sfc_deployment_id": "572",
        "sfc_source_flow_bot": 'default={"subject":"S","providers":{"whatsapp":{"button_id":"573"}}}',
    }  # fmt: skip
    return Settings(**(needed | changes))


def test_the_settings_reach_the_codec() -> None:
    made = salesforce_records(
        settings(
            sfc_api_version="58.0",
            sfc_custom_fields_case="order:Order__c",
            sfc_code_phone_remove="1",
            sfc_blocked_chat_field="true",
            sfc_case_external_id_field="Chat__c",
            messages='{"FIRSTNAMECONTACT": "Bot"}',
        )
    )
    codec = SalesforceData(made)
    sent = fields(codec.create_case(TOKEN, request(extra_data={"order": "1"}), contact_id=CONTACT))
    assert (sent["Order__c"], sent["Subject"]) == ("1", "S")
    assert codec.case_key("c") == ExternalId("Case", "Chat__c", "c")
    assert codec.create_contact(TOKEN, REQUEST).url == "https://my.example/services/data/v58.0/sobjects/Contact"
    assert fields(codec.create_contact(TOKEN, REQUEST))["FirstName"] == "Bot"
    assert "CP_BlockedChatYalo__c" in queries(codec.search_contact(TOKEN, REQUEST))[0]
