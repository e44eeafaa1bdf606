"""Contact, case, queue and login: every row of salesforce.md, seen at the org and at the desk."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from conftest import Serve
from personas import WAIT, Bot, BotUser, together
from profiles import IMPATIENT, PRODUCTION, SIGNED

from bridge.ops.simulator import Simulator
from bridge.ops.simulator.org import Record

FAILED = "could not create chat in salesforce"
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def contacts_of(user: BotUser) -> list[Record]:
    """Every contact with the user's e-mail."""
    return [contact for contact in user.simulator.records("Contact") if contact.get("Email") == user.email]


def logins(simulator: Simulator, grant: str) -> int:
    """How often somebody logged in that way."""
    return len([entry for entry in simulator.entries("login") if entry.text == grant])


# --- the contact ------------------------------------------------------------------------------------------------------


def test_a_contact_is_found_by_its_email(simulator: Simulator, user: BotUser) -> None:
    known = simulator.seed_contact(Email=user.email.upper(), MobilePhone="5500000000")
    user.wait_on_hold()
    assert user.agent.contact["Id"] == known
    assert user.agent.case["ContactId"] == known
    assert contacts_of(user) == []


def test_a_contact_is_found_by_its_phone_without_the_countrys_code(simulator: Simulator, user: BotUser) -> None:
    known = simulator.seed_contact(Email="other@example.com", MobilePhone=user.phone.removeprefix("521"))
    user.wait_on_hold()
    assert user.agent.contact["Id"] == known
    assert contacts_of(user) == []


def test_a_contact_is_found_by_a_field_of_the_operators(simulator: Simulator, serve: Serve) -> None:
    user = serve(PRODUCTION).new_user()
    known = simulator.seed_contact(Email="other2@example.com", Customer_Number__c=f"C-{user.id}")
    user.wait_on_hold(customer=f"C-{user.id}", loyalty="")
    assert user.agent.contact["Id"] == known


def test_the_email_comes_before_the_phone_and_the_phone_before_other_fields(simulator: Simulator, serve: Serve) -> None:
    user = serve(PRODUCTION).new_user()
    by_field = simulator.seed_contact(Email="f@example.com", Loyalty__c=f"L-{user.id}")
    by_phone = simulator.seed_contact(Email="p@example.com", MobilePhone=user.phone.removeprefix("521"))
    by_email = simulator.seed_contact(Email=user.email)
    user.wait_on_hold(loyalty=f"L-{user.id}")
    assert user.agent.contact["Id"] == by_email
    other = serve(PRODUCTION).new_user(phone=user.phone)
    other.wait_on_hold(loyalty=f"L-{user.id}")
    assert other.agent.contact["Id"] == by_phone != by_field


def test_an_unknown_user_becomes_a_contact(serve: Serve) -> None:
    user = serve(PRODUCTION).new_user().wait_on_hold(city="Iguala", address="not mapped")
    contact = user.agent.contact
    told = {name: contact.get(name) for name in ("FirstName", "LastName", "Email", "MobilePhone", "City__c")}
    assert told == {
        "FirstName": "Bot:",
        "LastName": user.name,
        "Email": user.email,
        "MobilePhone": user.phone.removeprefix("521"),
        "City__c": "Iguala",
    }
    assert contact["IsPersonAccount"] is False
    assert len(contacts_of(user)) == 1


def test_the_contacts_first_name_is_the_default_where_no_other_is_set(user: BotUser) -> None:
    user.wait_on_hold()
    assert user.agent.contact["FirstName"] == "Contacto Bot - "


def test_an_unknown_user_becomes_a_person_account_where_there_is_a_record_type(
    simulator: Simulator, serve: Serve
) -> None:
    user = serve(SIGNED).new_user()
    user.connect(city="Iguala")
    simulator.wait_for_chat(user.name)
    contact = user.agent.contact
    [account] = [record for record in simulator.records("Account") if record.get("PersonContactId") == contact["Id"]]
    names = ("FirstName", "LastName", "PersonEmail", "PersonMobilePhone", "PersonBirthdate", "RecordTypeId", "City__pc")
    assert [account.get(name) for name in names] == [
        "Contacto Bot - ",
        user.name,
        user.email,
        user.phone.removeprefix("521"),
        "1921-01-01",
        "012000000000002",
        "Iguala",
    ]
    assert user.agent.case["ContactId"] == account["PersonContactId"]


def test_the_bot_may_ask_for_a_person_account_itself(simulator: Simulator, user: BotUser) -> None:
    user.wait_on_hold(AccountRecordTypeId="012000000000007")
    [account] = [record for record in simulator.records("Account") if record.get("PersonEmail") == user.email]
    assert account["RecordTypeId"] == "012000000000007"
    assert user.agent.contact["Id"] == account["PersonContactId"]


def test_a_blocked_contact_may_chat_where_blocking_is_switched_off(simulator: Simulator, user: BotUser) -> None:
    simulator.seed_contact(Email=user.email, blocked=True)
    user.talk()


def test_a_contact_that_is_not_blocked_may_chat_where_blocking_is_switched_on(
    simulator: Simulator, serve: Serve
) -> None:
    user = serve(PRODUCTION).new_user()
    simulator.seed_contact(Email=user.email, blocked=False)
    user.talk()


PHONES = {
    "5213312345678": "3312345678",
    "523312345679": "3312345679",
    "13312345670": "3312345670",
    "3312345671": "3312345671",
    "52123456": "52123456",
    "5213312345": "5213312345",
    "543312345672": "543312345672",
    "52199999999": "52199999999",
}


def test_the_first_country_code_that_leaves_ten_digits_is_cut_off_a_long_number(serve: Serve) -> None:
    bot = serve(PRODUCTION)

    def journey(phone: str, kept: str) -> None:
        user = bot.new_user(phone=phone).wait_on_hold()
        assert user.agent.contact["MobilePhone"] == kept

    together({phone: partial(journey, phone, kept) for phone, kept in PHONES.items()})


def test_a_user_without_a_phone_number_gets_a_chat(user: BotUser) -> None:
    body = user.connect_body()
    del body["phoneNumber"]
    assert user.bot.call("POST", "/v1/chats/connect", body).status_code == 200
    user.must_read(WAIT)
    assert user.agent.contact.get("MobilePhone") in (None, "")


# --- searching --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", ["Email", "MobilePhone"])
def test_a_search_that_fails_makes_no_contact_and_no_chat(simulator: Simulator, user: BotUser, broken: str) -> None:
    simulator.seed_contact(Email=user.email)
    simulator.configure(missing_fields=[broken])
    answer = user.bot.connect(user)
    assert answer.status_code == 502
    assert answer.json()["ErrorDescription"].startswith(f"{FAILED} : ")
    user.must_go_back("from-sf-timeout")
    assert len(contacts_of(user)) == 1
    assert not simulator.entries("chat_requested", user.name)


def test_quotes_in_a_search_are_escaped(simulator: Simulator, serve: Serve) -> None:
    bot = serve(PRODUCTION)
    simulator.seed_contact(Email="victim@example.com", Loyalty__c="secret")
    user = bot.new_user(email="o'brien@example.com", name='Conan O\'Brien \\ "hijo"')
    user.wait_on_hold(loyalty="' OR Loyalty__c != '", customer="\\' OR Name LIKE '%")
    assert user.agent.contact["Email"] == "o'brien@example.com"
    assert user.agent.contact["LastName"] == user.name
    again = bot.new_user(email="o'brien@example.com", name="otra vez").wait_on_hold()
    assert again.agent.contact["Id"] == user.agent.contact["Id"]


def test_a_name_that_looks_like_a_composite_reference_is_stored_as_it_is(user: BotUser) -> None:
    user.name = f"@{{ref.id}} {user.id}"
    user.wait_on_hold(description="@{search1.records[0].Id}")
    assert user.agent.contact["LastName"] == user.name
    assert user.agent.case["Description"] == "@{search1.records[0].Id}"


# --- the case ---------------------------------------------------------------------------------------------------------


def test_a_case_has_the_fields_that_the_org_expects(simulator: Simulator, user: BotUser) -> None:
    user.wait_on_hold()
    case = user.agent.case
    names = ("RecordTypeId", "ContactId", "OwnerId", "Subject", "Description", "Origin", "Status", "Priority")
    assert [case[name] for name in names] == [
        "012000000000001",
        user.agent.contact["Id"],
        "005000000000001",
        "Ayuda desde el bot",
        "Caso levantado por el Bot : Ayuda desde el bot",
        "whatsapp",
        "Nuevo",
        "Medium",
    ]
    [opened] = [entry for entry in simulator.entries("case_created") if entry.id == case["Id"]]
    assert opened.details["Sforce-Auto-Assign"].lower() == "false"


def test_the_cases_origin_is_the_provider(bot: Bot) -> None:
    user = bot.new_messenger_user().wait_on_hold()
    assert (user.agent.case["Origin"], user.agent.case["OwnerId"]) == ("facebook", "005000000000002")


def test_the_bot_may_give_the_case_its_description(user: BotUser) -> None:
    user.wait_on_hold(description="No llegó mi pedido")
    assert user.agent.case["Description"] == "No llegó mi pedido"


def test_mapped_fields_reach_the_case_and_may_replace_status_and_priority(serve: Serve) -> None:
    user = serve(PRODUCTION).new_user().wait_on_hold(order=1225222565, step="Abierto", urgency="High", other="no")
    case = user.agent.case
    assert (case["Order__c"], case["Status"], case["Priority"]) == (1225222565, "Abierto", "High")
    plain = serve(PRODUCTION).new_user().wait_on_hold()
    assert (plain.agent.case["Status"], plain.agent.case["Priority"]) == ("Nuevo", "Medium")


FLOWS: list[tuple[str, dict[str, str], str, str, str | None]] = [
    ("whatsapp", {"motive": "SFB001"}, "573000000000003", "Pedidos; envíos = todo", "005000000000003"),
    ("facebook", {"motive": "SFB001"}, "573000000000004", "Pedidos; envíos = todo", None),
    ("whatsapp", {"motive": "unheard-of"}, "573000000000001", "Ayuda", "005000000000001"),
    ("facebook", {}, "573000000000002", "Ayuda", "005000000000002"),
    ("facebook", {"motive": "only-messenger"}, "573000000000005", "Solo", None),
]


def test_the_flow_chooses_the_subject_the_queue_and_the_owner(serve: Serve) -> None:
    bot = serve(PRODUCTION)

    def journey(provider: str, extra: dict[str, str], button: str, subject: str, owner: str | None) -> None:
        user: BotUser = bot.new_user() if provider == "whatsapp" else bot.new_messenger_user()
        user.wait_on_hold(**extra)
        assert (user.agent.request["buttonId"], user.agent.case["Subject"]) == (button, subject)
        assert owner in (None, user.agent.case["OwnerId"])

    together({f"{flow[0]} {flow[1]}": partial(journey, *flow) for flow in FLOWS})


def test_a_flow_without_a_queue_for_the_provider_is_refused_with_a_sentence(simulator: Simulator, serve: Serve) -> None:
    bot = serve(PRODUCTION)
    user = bot.new_user()
    answer = bot.connect(user, motive="only-messenger")
    assert answer.status_code == 502
    assert "SFC_SOURCE_FLOW_BOT" in answer.json()["ErrorDescription"]
    user.must_go_back("wa-late")
    assert not simulator.entries("chat_requested", user.name)


def test_the_answer_quotes_why_salesforce_refused_the_case(simulator: Simulator, user: BotUser) -> None:
    simulator.configure(missing_fields=["Origin"])
    answer = user.bot.connect(user)
    assert answer.status_code == 502
    assert "Origin" in answer.json()["ErrorDescription"]
    user.must_go_back("from-sf-timeout")


# --- the request at the desk ------------------------------------------------------------------------------------------


def test_chasitor_init_has_exactly_the_expected_body(user: BotUser) -> None:
    user.wait_on_hold()
    request, case, contact = user.agent.request, user.agent.case["Id"], user.agent.contact["Id"]

    def detail(label: str, value: str) -> dict[str, Any]:
        return {"label": label, "value": value, "transcriptFields": [label], "displayToAgent": True}

    def entity(name: str, label: str) -> dict[str, Any]:
        field = {"fieldName": "Id", "label": label, "doFind": True, "isExactMatch": True, "doCreate": False}
        return {
            "entityName": name,
            "linkToEntityName": name,
            "linkToEntityField": "Id",
            "saveToTranscript": name,
            "showOnCreate": True,
            "entityFieldsMaps": [field],
        }

    fixed = {
        "organizationId": "00D000000000001",
        "deploymentId": "572000000000001",
        "buttonId": "573000000000001",
        "userAgent": "Yalo Bot",
        "language": "es-MX",
        "screenResolution": "1900x1080",
        "visitorName": user.name,
        "receiveQueueUpdates": True,
        "isPost": True,
    }
    assert {name: request[name] for name in fixed} == fixed
    details = [{name: d[name] for name in detail("", "")} for d in request["prechatDetails"]]
    assert details == [detail("CaseId", case), detail("ContactId", contact)]
    assert request["prechatEntities"] == [entity("Case", "CaseId"), entity("Contact", "ContactId")]


# --- the token --------------------------------------------------------------------------------------------------------


def test_a_token_that_expired_is_replaced_once_and_the_call_is_repeated(simulator: Simulator, bot: Bot) -> None:
    bot.new_user().wait_on_hold()
    before = logins(simulator, "password")
    simulator.expire_tokens()
    users = [bot.new_user() for _ in range(6)]
    together({user.name: user.wait_on_hold for user in users})
    assert logins(simulator, "password") == before + 1
    assert [len(user.agent.cases) for user in users] == [1] * 6


def test_a_token_that_expires_between_two_steps_is_replaced(simulator: Simulator, user: BotUser) -> None:
    user.bot.new_user().wait_on_hold()
    before = logins(simulator, "password")
    armed = simulator.add_fault(
        "/salesforce/services/data/*/sobjects/Case",
        status=401,
        body='[{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]',
        headers={"Content-Type": "application/json"},
    )
    user.talk()
    assert (armed.hits, logins(simulator, "password")) == (1, before + 1)
    assert len(user.agent.cases) == 1


def test_a_file_is_attached_though_the_token_expired_during_the_chat(simulator: Simulator, user: BotUser) -> None:
    user.talk()
    simulator.expire_tokens()
    user.send_file("image", f"{simulator.url}/media/photo.png")
    user.agent.must_read("**El usuario adjunto una imagen al caso**")
    assert len(user.agent.files) == 1


def test_the_bridge_logs_in_by_client_credentials_where_there_is_no_password(
    simulator: Simulator, serve: Serve
) -> None:
    simulator.configure(password_flow_blocked=True)
    user = serve(IMPATIENT).new_user()
    user.connect()
    assert logins(simulator, "client_credentials") >= 1


def test_the_bridge_logs_in_by_a_signed_assertion_where_there_is_a_key(simulator: Simulator, serve: Serve) -> None:
    simulator.configure(password_flow_blocked=True)
    user = serve(SIGNED).new_user()
    user.connect()
    assert logins(simulator, JWT_GRANT) >= 1


def test_the_token_is_refreshed_on_schedule(simulator: Simulator, serve: Serve) -> None:
    serve(SIGNED)
    before = logins(simulator, JWT_GRANT)
    simulator.wait_for(lambda: logins(simulator, JWT_GRANT) > before, 5)


def test_an_expired_password_is_reported_and_not_tried_again_and_again(simulator: Simulator, user: BotUser) -> None:
    simulator.configure(password_expired=True)
    before = simulator.requests(status=403)
    answer = user.bot.connect(user)
    assert answer.status_code == 502
    assert "INVALID_OPERATION_WITH_EXPIRED_PASSWORD" in answer.json()["ErrorDescription"]
    assert simulator.requests(status=403) == before + 1
    user.must_go_back("from-sf-timeout")


def test_a_login_that_is_refused_is_logged_without_a_secret(simulator: Simulator, user: BotUser) -> None:
    user.bot.new_user().wait_on_hold()
    simulator.configure(password="another")
    simulator.expire_tokens()
    refused = len(simulator.entries("login_refused"))
    answer = user.bot.connect(user)
    assert answer.status_code == 502
    assert "invalid_grant" in answer.json()["ErrorDescription"]
    assert "sandbox-password" not in answer.text
    assert len(simulator.entries("login_refused")) == refused + 1
    user.must_go_back("from-sf-timeout")
