"""Salesforce as the simulator plays it: login, data, composite (salesforce.md), over real sockets."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bridge.ops.simulator import Simulator
from bridge.ops.simulator.settings import SimulatorSettings

IDENTITIES = SimulatorSettings()
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
CLIENT = {"client_id": IDENTITIES.client_id, "client_secret": IDENTITIES.client_secret}
PASSWORD = CLIENT | {
    "grant_type": "password",
    "username": IDENTITIES.username,
    "password": IDENTITIES.password + IDENTITIES.security_token,
}
ROOT = "/services/data/v52.0"


class Api:
    """A logged-in client of the data API."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.http = requests.Session()
        token = login(simulator, PASSWORD).json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, **request: Any) -> requests.Response:
        return self.http.request(method, f"{self.simulator.url}/salesforce{ROOT}{path}", **request)

    def query(self, soql: str) -> requests.Response:
        return self.call("GET", "/query", params={"q": soql})

    def rows(self, soql: str) -> list[dict[str, Any]]:
        answer = self.query(soql)
        assert answer.status_code == 200, answer.text
        return [
            {name: value for name, value in row.items() if name != "attributes"} for row in answer.json()["records"]
        ]

    def create(self, kind: str, headers: dict[str, str] | None = None, **fields: Any) -> requests.Response:
        return self.call("POST", f"/sobjects/{kind}/", json=fields, headers=headers)

    def composite(self, *parts: dict[str, Any], all_or_none: bool = True) -> list[dict[str, Any]]:
        answer = self.call("POST", "/composite", json={"allOrNone": all_or_none, "compositeRequest": list(parts)})
        assert answer.status_code == 200, answer.text
        parts_answered: list[dict[str, Any]] = answer.json()["compositeResponse"]
        return parts_answered


def login(simulator: Simulator, form: dict[str, str]) -> requests.Response:
    return requests.post(f"{simulator.url}/salesforce/services/oauth2/token", data=form)


def code(answer: requests.Response) -> str:
    return str(answer.json()[0]["errorCode"])


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def api(simulator: Simulator) -> Api:
    return Api(simulator)


# --- login ----------------------------------------------------------------------------------------------------------


def test_password_grant_wants_password_and_security_token(simulator: Simulator) -> None:
    answer = login(simulator, PASSWORD)
    assert answer.status_code == 200
    assert answer.json()["token_type"] == "Bearer"
    assert answer.json()["instance_url"] == f"{simulator.url}/salesforce"


@pytest.mark.parametrize(
    ("changes", "error", "description"),
    [
        ({"password": IDENTITIES.password}, "invalid_grant", "authentication failure"),
        ({"username": "somebody"}, "invalid_grant", "authentication failure"),
        ({"client_secret": "x"}, "invalid_client", "invalid client credentials"),
        ({"client_id": "x"}, "invalid_client_id", "client identifier invalid"),
        ({"grant_type": "magic"}, "unsupported_grant_type", "grant type not supported"),
    ],
)
def test_each_wrong_login_has_its_own_error(
    running: Simulator, changes: dict[str, str], error: str, description: str
) -> None:
    answer = login(running, PASSWORD | changes)
    assert answer.status_code == 400
    assert answer.json() == {"error": error, "error_description": description}


def test_blocked_password_flow_looks_like_a_wrong_password(simulator: Simulator) -> None:
    simulator.configure(password_flow_blocked=True)
    assert login(simulator, PASSWORD).json()["error_description"] == "authentication failure"


def test_client_credentials_need_a_user_to_run_as(simulator: Simulator) -> None:
    form = CLIENT | {"grant_type": "client_credentials"}
    assert login(simulator, form).status_code == 200
    simulator.configure(run_as_user=False)
    assert login(simulator, form).json()["error_description"] == "no client credentials user enabled"


def rsa_pair() -> tuple[bytes, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, public.decode()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({}, None),
        ({"aud": "https://elsewhere.example"}, "invalid_grant"),
        ({"sub": "somebody"}, "invalid_grant"),
        ({"iss": "somebody"}, "invalid_client_id"),
        ({"exp": 1_000_000_000}, "invalid_grant"),
        ({"exp": 9_000_000_000}, "invalid_grant"),
    ],
)
def test_assertion_is_checked_claim_by_claim(running: Simulator, changes: dict[str, Any], error: str | None) -> None:
    private, public = rsa_pair()
    running.configure(jwt_public_key=public)
    audience = "https://login.salesforce.com"
    claims = {"iss": IDENTITIES.client_id, "sub": IDENTITIES.username, "aud": audience, "exp": time.time() + 120}
    assertion = jwt.encode(claims | changes, private, algorithm="RS256")
    answer = login(running, {"grant_type": JWT_GRANT, "assertion": assertion})
    assert answer.json().get("error") == error
    foreign = jwt.encode(claims, rsa_pair()[0], algorithm="RS256")
    assert login(running, {"grant_type": JWT_GRANT, "assertion": foreign}).json()["error"] == "invalid_grant"


# --- the door -------------------------------------------------------------------------------------------------------


def test_expired_token_is_401_until_the_next_login(simulator: Simulator, api: Api) -> None:
    assert api.query("SELECT Id FROM Case").status_code == 200
    simulator.expire_tokens()
    refused = api.query("SELECT Id FROM Case")
    assert (refused.status_code, code(refused)) == (401, "INVALID_SESSION_ID")
    assert Api(simulator).query("SELECT Id FROM Case").status_code == 200


@pytest.mark.parametrize(
    ("header", "expected"),
    [("Bearer ", "INVALID_AUTH_HEADER"), ("Basic x", "INVALID_AUTH_HEADER"), ("Bearer x", "INVALID_SESSION_ID")],
)
def test_malformed_bearer_is_401(running: Simulator, header: str, expected: str) -> None:
    url = f"{running.url}/salesforce{ROOT}/query"
    answer = requests.get(url, params={"q": "SELECT Id FROM Case"}, headers={"Authorization": header})
    assert (answer.status_code, code(answer)) == (401, expected)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("password_expired", "INVALID_OPERATION_WITH_EXPIRED_PASSWORD"),
        ("request_limit_exceeded", "REQUEST_LIMIT_EXCEEDED"),
    ],
)
def test_org_in_trouble_refuses_every_call(simulator: Simulator, setting: str, expected: str) -> None:
    simulator.configure(**{setting: True})
    refused = Api(simulator).query("SELECT Id FROM Case")
    assert (refused.status_code, code(refused)) == (403, expected)


@pytest.mark.parametrize(
    ("method", "path", "status", "expected"),
    [
        ("GET", "/nonsense", 404, "NOT_FOUND"),
        ("GET", "/sobjects/Nonsense/0035K0000000001", 404, "NOT_FOUND"),
        ("PUT", "/sobjects/Contact/0035K0000000001", 405, "METHOD_NOT_ALLOWED"),
    ],
)
def test_unknown_resources_are_refused(running: Simulator, method: str, path: str, status: int, expected: str) -> None:
    answer = Api(running).call(method, path)
    assert (answer.status_code, code(answer)) == (status, expected)


def test_body_that_is_not_json_is_refused(running: Simulator) -> None:
    api = Api(running)
    typed = api.call("POST", "/sobjects/Contact", data="LastName=x", headers={"Content-Type": "text/plain"})
    assert (typed.status_code, code(typed)) == (415, "UNSUPPORTED_MEDIA_TYPE")
    broken = api.call("POST", "/sobjects/Contact", data="{", headers={"Content-Type": "application/json"})
    assert (broken.status_code, code(broken)) == (400, "JSON_PARSER_ERROR")


# --- records --------------------------------------------------------------------------------------------------------


def test_contact_is_created_found_changed_and_deleted(api: Api) -> None:
    created = api.create("Contact", LastName="Ochoa", FirstName="Eduardo", Email="o@example.com", Rfc__c="X1")
    assert created.status_code == 201
    id_ = created.json()["id"]
    assert (id_[:3], len(id_)) == ("003", 18)
    assert api.rows("SELECT Id, Name, rfc__c FROM Contact WHERE Email = 'O@EXAMPLE.COM'") == [
        {"Id": id_, "Name": "Eduardo Ochoa", "rfc__c": "X1"}
    ]
    assert api.call("PATCH", f"/sobjects/Contact/{id_}", json={"Email": "new@example.com"}).status_code == 204
    assert api.rows("SELECT Id FROM Contact WHERE Email = 'o@example.com'") == []
    assert api.call("GET", f"/sobjects/Contact/{id_[:15]}").json()["Email"] == "new@example.com"
    assert api.call("DELETE", f"/sobjects/Contact/{id_}").status_code == 204
    assert api.call("GET", f"/sobjects/Contact/{id_}").status_code == 404


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("Contact", {"FirstName": "Eduardo"}, "REQUIRED_FIELD_MISSING"),
        ("Contact", {"LastName": ""}, "REQUIRED_FIELD_MISSING"),
        ("Contact", {"LastName": "x", "Nonsense": "y"}, "INVALID_FIELD"),
        ("Contact", {"LastName": "x", "Email": "nonsense"}, "INVALID_EMAIL_ADDRESS"),
        ("Contact", {"LastName": "x" * 81}, "STRING_TOO_LONG"),
        ("Contact", {"LastName": 5}, "JSON_PARSER_ERROR"),
        ("Contact", {"LastName": "x", "Id": "0035K0000000001"}, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        ("Contact", {"LastName": "x", "Name": "y"}, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        ("Case", {"Subject": "x"}, "REQUIRED_FIELD_MISSING"),
        ("Case", {"Status": "Nuevo", "ContactId": "0035K9999999999"}, "INVALID_CROSS_REFERENCE_KEY"),
        ("Case", {"Status": "Nuevo", "ContactId": "nobody"}, "MALFORMED_ID"),
        ("Case", {"Status": "Nuevo", "Color__pc": "x"}, "INVALID_FIELD"),
        ("Account", {"FirstName": "x"}, "REQUIRED_FIELD_MISSING"),
        ("Account", {"Name": "x", "PersonEmail": "a@b.mx"}, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        (
            "Account",
            {"Name": "x", "LastName": "y", "RecordTypeId": "012000000000001"},
            "INVALID_FIELD_FOR_INSERT_UPDATE",
        ),
        ("ContentVersion", {"PathOnClient": "a.png"}, "REQUIRED_FIELD_MISSING"),
        ("ContentVersion", {"PathOnClient": "a.png", "VersionData": "?"}, "JSON_PARSER_ERROR"),
        ("ContentDocument", {"Title": "x"}, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"),
    ],
)
def test_bad_record_is_refused_and_leaves_nothing(
    running: Simulator, kind: str, fields: dict[str, Any], expected: str
) -> None:
    before = len(running.records(kind))
    answer = Api(running).create(kind, **fields)
    assert (answer.status_code, code(answer)) == (400, expected)
    assert len(running.records(kind)) == before


def test_field_that_an_org_lacks_is_refused(simulator: Simulator, api: Api) -> None:
    simulator.configure(missing_fields=["CP_BlockedChatYalo__c"])
    assert code(api.query("SELECT Id, CP_BlockedChatYalo__c FROM Contact")) == "INVALID_FIELD"


@pytest.mark.parametrize(("header", "moved"), [(None, True), ("TRUE", True), ("false", False), ("FALSE", False)])
def test_case_keeps_its_owner_only_without_assignment(running: Simulator, header: str | None, moved: bool) -> None:
    headers = {} if header is None else {"Sforce-Auto-Assign": header}
    api = Api(running)
    created = api.create("Case", headers, Status="Nuevo", Subject="Ayuda", OwnerId="0055f000001Own1")
    owner = api.rows(f"SELECT OwnerId FROM Case WHERE Id = '{created.json()['id']}'")[0]["OwnerId"]
    assert (owner == IDENTITIES.default_case_owner) == moved
    assert running.entries("case_created")[-1].details["Sforce-Auto-Assign"] == header


def test_person_account_brings_its_contact(api: Api) -> None:
    person: dict[str, Any] = {
        "PersonEmail": "p@example.com",
        "PersonMobilePhone": "5512345678",
        "PersonBirthDate": "1990-01-01",
    }
    created = api.create("Account", LastName="Paz", RecordTypeId="012000000000001", Vip__pc=True, **person)
    account = api.rows(f"SELECT PersonContactId, IsPersonAccount FROM Account WHERE Id = '{created.json()['id']}'")[0]
    assert account["IsPersonAccount"] is True
    contact = api.rows("SELECT Id, MobilePhone, Vip__c FROM Contact WHERE Email = 'p@example.com'")
    assert contact == [{"Id": account["PersonContactId"], "MobilePhone": "5512345678", "Vip__c": True}]
    another = api.create("Contact", LastName="x", AccountId=created.json()["id"])
    assert code(another) == "INVALID_CROSS_REFERENCE_KEY"


def test_upsert_by_external_id_creates_once(api: Api) -> None:
    path = "/sobjects/Contact/Crm__c/A%2D1"
    first = api.call("PATCH", path, json={"LastName": "Paz"})
    second = api.call("PATCH", path, json={"LastName": "Pazos"})
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    assert api.rows("SELECT LastName FROM Contact WHERE Crm__c = 'A-1'") == [{"LastName": "Pazos"}]


def test_blocked_contact_is_found_as_such(simulator: Simulator, api: Api) -> None:
    simulator.seed_contact(LastName="Malo", Email="m@example.com", blocked=True)
    rows = api.rows("SELECT CP_BlockedChatYalo__c FROM Contact WHERE Email = 'm@example.com'")
    assert rows == [{"CP_BlockedChatYalo__c": True}]


# --- queries --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def people(running: Simulator) -> Api:
    for name, phone in (("O'Brien \\ Sons", "1"), ("Über_100%", "2"), ("Zeta", "3"), ("alfa", "4")):
        running.seed_contact(LastName=name, MobilePhone=phone, Team__c="people")
    return Api(running)


@pytest.mark.parametrize(
    ("where", "phones"),
    [
        (r"LastName = 'O\'Brien \\ Sons'", "1"),
        (r"LastName = '\u00dcber_100%'", "2"),
        ("LastName = 'ZETA'", "3"),
        ("MobilePhone = '1' OR MobilePhone = '3'", "13"),
        ("Team__c = 'people' AND (MobilePhone = '2' OR LastName = 'zeta')", "23"),
        ("Team__c = 'people' AND NOT MobilePhone = '2'", "134"),
        ("MobilePhone IN ('4', '2')", "24"),
        ("Team__c = 'people' AND MobilePhone NOT IN ('4', '2')", "13"),
        (r"LastName LIKE '%\_100\%'", "2"),
        ("LastName LIKE 'Z_ta'", "3"),
        ("Team__c = 'people' AND Email = null ORDER BY LastName DESC LIMIT 2", "23"),
        ("Team__c = 'people' ORDER BY LastName OFFSET 1 LIMIT 1", None),
        ("Team__c = 'people' ORDER BY LastName LIMIT 1 OFFSET 1", "1"),
        ("Team__c = 'people' AND CreatedDate >= 2020-01-01T00:00:00Z AND CP_BlockedChatYalo__c = false", "1234"),
        ("Team__c = 'people' AND CreatedDate = 2020-01-01T00:00:00.000+0000", ""),
    ],
)
def test_condition_selects_the_right_rows(people: Api, where: str, phones: str | None) -> None:
    answer = people.query(f"SELECT MobilePhone FROM Contact WHERE {where}")
    if phones is None:
        assert code(answer) == "MALFORMED_QUERY"
        return
    assert "".join(row["MobilePhone"] for row in answer.json()["records"]) == phones


@pytest.mark.parametrize(
    ("soql", "expected"),
    [
        ("SELECT Id FROM Contact WHERE LastName = 'O'Brien'", "MALFORMED_QUERY"),
        (r"SELECT Id FROM Contact WHERE LastName = 'a\'", "MALFORMED_QUERY"),
        (r"SELECT Id FROM Contact WHERE LastName = 'a\q'", "MALFORMED_QUERY"),
        (r"SELECT Id FROM Contact WHERE LastName = 'a\_'", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact WHERE LastName = 'a' AND Phone = 'b' OR Email = 'c'", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact WHERE LastName = ", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact WHERE (LastName = 'a'", "MALFORMED_QUERY"),
        ("SELECT Id FROM Contact LIMIT 'a'", "MALFORMED_QUERY"),
        ("SELECT Id, Id FROM Contact", "MALFORMED_QUERY"),
        ("SELECT FROM Contact", "MALFORMED_QUERY"),
        ("DELETE FROM Contact", "MALFORMED_QUERY"),
        ("", "MALFORMED_QUERY"),
        ("SELECT Id FROM Nonsense", "INVALID_TYPE"),
        ("SELECT Nonsense FROM Contact", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE Nonsense = 'a'", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE LastName = 5", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE CP_BlockedChatYalo__c = 'true'", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE CreatedDate >= '2020-01-01T00:00:00Z'", "INVALID_FIELD"),
        ("SELECT Id FROM Contact WHERE Id = 'nobody'", "INVALID_QUERY_FILTER_OPERATOR"),
    ],
)
def test_broken_query_is_refused(running: Simulator, soql: str, expected: str) -> None:
    answer = Api(running).query(soql)
    assert (answer.status_code, code(answer)) == (400, expected)


# --- composite ------------------------------------------------------------------------------------------------------


def part(method: str, path: str, reference: str, body: Any = None, **more: Any) -> dict[str, Any]:
    given = {} if body is None else {"body": body}
    return {"method": method, "url": ROOT + path, "referenceId": reference, **given, **more}


def file_parts(case_id: str, data: bytes) -> list[dict[str, Any]]:
    version = {
        "Title": "photo",
        "ContentLocation": "S",
        "PathOnClient": "photo.png",
        "VersionData": base64.b64encode(data).decode(),
    }
    link = {"LinkedEntityId": case_id, "ShareType": "V", "Visibility": "AllUsers"}
    soql = "SELECT+ContentDocumentId+FROM+ContentVersion+WHERE+Id='@{version.id}'"
    return [
        part("POST", "/sobjects/ContentVersion", "version", version),
        part("GET", f"/query?q={soql}", "document"),
        part(
            "POST",
            "/sobjects/ContentDocumentLink",
            "link",
            link | {"ContentDocumentId": "@{document.records[0].ContentDocumentId}"},
        ),
    ]


def test_file_is_stored_and_linked_in_one_request(simulator: Simulator, api: Api) -> None:
    case_id = api.create("Case", Status="Nuevo").json()["id"]
    answers = api.composite(*file_parts(case_id, b"\x89PNG picture"))
    assert [answer["httpStatusCode"] for answer in answers] == [201, 200, 201]
    version = answers[0]["body"]["id"]
    assert api.call("GET", f"/sobjects/ContentVersion/{version}/VersionData").content == b"\x89PNG picture"
    assert simulator.records("ContentDocumentLink")[0]["LinkedEntityId"] == case_id
    assert [entry.kind for entry in simulator.ledger.since(0)][-2:] == ["file_stored", "file_linked"]


def test_failed_part_undoes_all_the_others(simulator: Simulator, api: Api) -> None:
    answers = api.composite(*file_parts("5005K9999999999", b"picture"), part("GET", "/limits", "after"))
    codes = [answer["body"][0]["errorCode"] for answer in answers]
    assert codes == ["PROCESSING_HALTED", "PROCESSING_HALTED", "INVALID_CROSS_REFERENCE_KEY", "PROCESSING_HALTED"]
    assert [answer["httpStatusCode"] for answer in answers] == [400] * 4
    assert simulator.records("ContentVersion") == simulator.records("ContentDocument") == []
    assert simulator.entries("file_stored") == []


def test_without_all_or_none_only_dependants_are_skipped(simulator: Simulator, api: Api) -> None:
    answers = api.composite(
        part("POST", "/sobjects/Contact", "bad", {"FirstName": "x"}),
        part("POST", "/sobjects/Case", "dependant", {"Status": "Nuevo", "ContactId": "@{bad.id}"}),
        part("POST", "/sobjects/Contact", "good", {"LastName": "x"}),
        part("GET", "/sobjects/Contact/@{good.id}", "read"),
        all_or_none=False,
    )
    assert [answer["httpStatusCode"] for answer in answers] == [400, 400, 201, 200]
    assert answers[1]["body"][0]["errorCode"] == "PROCESSING_HALTED"
    assert answers[3]["body"]["Id"] == answers[2]["body"]["id"]
    assert simulator.records("Case") == []


def test_reference_into_an_empty_result_is_refused(api: Api) -> None:
    soql = "SELECT+Id+FROM+Contact+WHERE+Email='nobody@example.com'"
    case = {"Status": "Nuevo", "ContactId": "@{found.records[0].Id}"}
    answers = api.composite(part("GET", f"/query?q={soql}", "found"), part("POST", "/sobjects/Case", "case", case))
    assert "Invalid reference specified" in answers[1]["body"][0]["message"]


def test_part_carries_its_own_headers(simulator: Simulator, api: Api) -> None:
    case = {"Status": "Nuevo", "OwnerId": "0055f000001Own1"}
    api.composite(part("POST", "/sobjects/Case", "case", case, httpHeaders={"Sforce-Auto-Assign": "false"}))
    assert simulator.records("Case")[0]["OwnerId"] == "0055f000001Own1"


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [part("GET", "/limits", f"r{number}") for number in range(26)],
        [part("GET", "/limits", "same"), part("GET", "/limits", "same")],
        [part("GET", "/limits", "1st")],
        [part("GET", "/query?q=SELECT+Id+FROM+Case", f"r{number}") for number in range(6)],
        [part("FETCH", "/limits", "r")],
        [{"method": "GET", "url": f"{ROOT}/limits"}],
    ],
)
def test_malformed_whole_is_400(running: Simulator, parts: list[dict[str, Any]]) -> None:
    body = {"allOrNone": True, "compositeRequest": parts}
    assert Api(running).call("POST", "/composite", json=body).status_code == 400


def test_url_of_a_part_must_be_encoded_and_relative_to_the_instance(running: Simulator) -> None:
    spaced = part("GET", "/query?q=SELECT Id FROM Case", "r")
    absolute = {"method": "GET", "url": f"{running.url}/salesforce{ROOT}/limits", "referenceId": "r"}
    for wrong in (spaced, absolute):
        assert Api(running).composite(wrong)[0]["httpStatusCode"] == 400
