"""Salesforce's records: contact, person account, case, and the queue of a chat (salesforce.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from bridge.codecs.salesforce.rest import (
    ExternalId,
    Org,
    Subrequest,
    Token,
    checked_id,
    composite_replies,
    quote,
    rows,
)
from bridge.errors import PayloadError, RemoteRefused
from bridge.flows import Flow
from bridge.messages import ConnectRequest, ExtraValue
from bridge.wire import HttpCall, HttpReply

BLOCKED_FIELD = "CP_BlockedChatYalo__c"
DEFAULT_FLOW = "default"
# Of the 25 steps of a composite at most five may be queries (Salesforce, REST API guide, Composite).
MOST_QUERIES = 5
_LOCAL_DIGITS = 10
# Longest values of the fields. Salesforce refuses a record with a longer one, and then there is no chat.
_LENGTHS = {"FirstName": 40, "LastName": 80, "Subject": 255, "Description": 32_000}


class SalesforceConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The names and values that differ from org to org."""

    org: Org
    flows: Mapping[str, Flow]
    flow_field: str = "source_flow_bot"
    record_type_id: str = ""
    account_record_type_id: str = ""
    birth_date: str = "1921-01-01T00:00:00"
    blocked_chat_field: bool = False
    case_external_id_field: str = ""
    code_phone_remove: tuple[str, ...] = ("521", "52")
    fields_case: Mapping[str, str] = {}
    fields_contact: Mapping[str, str] = {}
    fields_account: Mapping[str, str] = {}
    fields_search: Mapping[str, str] = {}
    first_name_contact: str = "Contacto Bot - "
    description_case: str = "Caso levantado por el Bot"


class Route(msgspec.Struct, frozen=True):
    """The queue of a chat: the case's subject, the desk's button, and the case's owner, if one is set."""

    subject: str
    button_id: str
    owner_id: str = ""


class FoundContact(msgspec.Struct, frozen=True):
    """A contact of the org."""

    contact_id: str
    blocked: bool = False


class SalesforceData:
    """Requests to the data API for one user's records, and their answers. Every parse raises RemoteError."""

    def __init__(self, config: SalesforceConfig) -> None:
        self.config = config

    # --- contact ------------------------------------------------------------------------------------------------

    def search_contact(self, token: Token, request: ConnectRequest) -> HttpCall:
        """One composite of queries: by e-mail, by mobile phone, by each custom search field that the request holds.

        From the fifth on they share one query, because Salesforce takes no more. Raises PayloadError where there is
        nothing to search by: an empty value would find any contact without one.
        """
        conditions = [f"{field} = {quote(value)}" for field, value in self._criteria(request) if value]
        if not conditions:
            raise PayloadError("there is no e-mail, phone number or other value to search a contact by")
        asked = conditions[: MOST_QUERIES - 1]
        if rest := conditions[MOST_QUERIES - 1 :]:
            asked.append(" OR ".join(rest))
        queries = [self._search_query(index, condition) for index, condition in enumerate(asked, start=1)]
        return self.config.org.composite(token, queries, all_or_none=False)

    def found_contact(self, reply: HttpReply) -> FoundContact | None:
        """The first row of the first query that has one, else None. One failed query fails the search."""
        found = [row for step in composite_replies(reply) for row in rows(step)]
        if not found:
            return None
        blocked = self.config.blocked_chat_field and found[0].get(BLOCKED_FIELD) is True
        return FoundContact(checked_id(found[0].get("Id")), blocked)

    def create_contact(self, token: Token, request: ConnectRequest) -> HttpCall:
        """Creates a contact; `rest.created_id` reads the answer."""
        fields = {
            **_mapped(self.config.fields_contact, request),
            **self._names(request),
            "Email": request.email,
            "MobilePhone": self.phone(request),
        }
        return self.config.org.create(token, "Contact", fields=_filled(fields))

    # --- person account -----------------------------------------------------------------------------------------

    def account_record_type_id(self, request: ConnectRequest) -> str:
        """The record type of a person account, when one is to be made instead of a contact; else empty."""
        return _extra_text(request, "AccountRecordTypeId") or self.config.account_record_type_id

    def create_account(self, token: Token, request: ConnectRequest) -> HttpCall:
        """Creates a person account, and its contact with it; `created_id` reads the answer."""
        # Not in one composite with `read_person_contact`: there a name could be taken for a reference (`@{…}`).
        fields = {
            **_mapped(self.config.fields_account, request),
            **self._names(request),
            "PersonEmail": request.email,
            "PersonMobilePhone": self.phone(request),
            # The setting is written with a time, the field holds a date.
            "PersonBirthDate": datetime.fromisoformat(self.config.birth_date).date().isoformat(),
            "RecordTypeId": self.account_record_type_id(request),
        }
        return self.config.org.create(token, "Account", fields=_filled(fields))

    def read_person_contact(self, token: Token, account_id: str) -> HttpCall:
        """Asks for the contact that came with a person account."""
        return self.config.org.query(token, f"SELECT PersonContactId FROM Account WHERE Id = {quote(account_id)}")

    def person_contact_id(self, reply: HttpReply) -> str:
        """That contact's id."""
        found = rows(reply)
        if not found or not found[0].get("PersonContactId"):
            raise RemoteRefused(
                "Salesforce: the new account has no contact. Check that SFC_ACCOUNT_RECORD_TYPE_ID is the record type "
                "of a person account.",
                status=reply.status,
            )
        return checked_id(found[0]["PersonContactId"])

    # --- case ---------------------------------------------------------------------------------------------------

    def route(self, request: ConnectRequest) -> Route:
        """The queue of the flow that the request names, or of `default`. Raises RemoteRefused where neither has one."""
        flows = self.config.flows
        flow = flows.get(_extra_text(request, self.config.flow_field)) or flows.get(DEFAULT_FLOW)
        queue = flow.providers.get(request.provider) if flow else None
        if flow is None or queue is None:
            sentence = f"SFC_SOURCE_FLOW_BOT has no queue for {request.provider} in the flow that was asked for"
            raise RemoteRefused(sentence, code="NO_FLOW")
        return Route(flow.subject, queue.button_id, queue.owner_id)

    def create_case(
        self, token: Token, request: ConnectRequest, *, contact_id: str, key: ExternalId | None = None
    ) -> HttpCall:
        """Creates the chat's case; `created_id` reads the answer. Raises RemoteRefused as `route` does.

        With a `key` it is an upsert, and `upserted_id` reads the answer.
        """
        fields = self._case_fields(request, contact_id)
        # Left out, Salesforce moves the case away from its owner (salesforce.md, "Case assignment").
        headers = {"Sforce-Auto-Assign": "false"}
        if key is None:
            return self.config.org.create(token, "Case", fields=fields, headers=headers)
        # Salesforce refuses a body that holds the field that the path names.
        rest = {field: value for field, value in fields.items() if field.lower() != key.field.lower()}
        return self.config.org.upsert(token, key, fields=rest, headers=headers)

    def case_key(self, chat_id: str) -> ExternalId | None:
        """The external id of the chat's case, so that repeated upserts make one case; None when no field is set."""
        field = self.config.case_external_id_field
        return ExternalId("Case", field, chat_id) if field and chat_id else None

    def find_case_by_key(self, token: Token, key: ExternalId) -> HttpCall:
        """Asks for the case of that name; `found_case` reads the answer."""
        return self.config.org.query(token, f"SELECT Id FROM Case WHERE {key.field} = {quote(key.value)}")

    def _case_fields(self, request: ConnectRequest, contact_id: str) -> dict[str, ExtraValue]:
        route = self.route(request)
        fields = {
            "Status": "Nuevo",
            "Priority": "Medium",
            **_mapped(self.config.fields_case, request),
            "RecordTypeId": self.config.record_type_id,
            "ContactId": contact_id,
            "OwnerId": route.owner_id,
            "Subject": route.subject,
            "Description": self._description(request, route),
            "Origin": request.provider,
        }
        return _filled(fields)

    def find_case(self, token: Token, request: ConnectRequest, *, contact_id: str, since_ms: int) -> HttpCall:
        """Asks for the newest case that an earlier `create_case` since then may have made."""
        conditions = {
            "ContactId": quote(contact_id),
            "Subject": quote(_cut("Subject", self.route(request).subject)),
            "Origin": quote(request.provider),
        }
        where = " AND ".join(f"{field} = {value}" for field, value in conditions.items())
        newest = f"CreatedDate >= {_moment(since_ms)} ORDER BY CreatedDate DESC LIMIT 1"
        return self.config.org.query(token, f"SELECT Id FROM Case WHERE {where} AND {newest}")

    def found_case(self, reply: HttpReply) -> str | None:
        """That case's id, or None."""
        found = rows(reply)
        return checked_id(found[0].get("Id")) if found else None

    # --- values -------------------------------------------------------------------------------------------------

    def phone(self, request: ConnectRequest) -> str:
        """The phone number; of more than ten digits the first code that leaves at least ten is cut."""
        digits = re.sub(r"\D", "", request.phone_number)
        if len(digits) <= _LOCAL_DIGITS:
            return request.phone_number
        for code in self.config.code_phone_remove:
            if digits.startswith(code) and len(digits) - len(code) >= _LOCAL_DIGITS:
                return digits[len(code) :]
        return request.phone_number

    def _criteria(self, request: ConnectRequest) -> Sequence[tuple[str, str]]:
        custom = {field: _extra_text(request, key) for key, field in self.config.fields_search.items()}
        return [("Email", request.email), ("MobilePhone", self.phone(request)), *custom.items()]

    def _search_query(self, number: int, condition: str) -> Subrequest:
        blocked = f", {BLOCKED_FIELD}" if self.config.blocked_chat_field else ""
        soql = f"SELECT Id{blocked} FROM Contact WHERE {condition} LIMIT 1"
        return Subrequest(method="GET", url=self.config.org.query_path(soql), reference_id=f"search{number}")

    def _names(self, request: ConnectRequest) -> dict[str, str]:
        return {"FirstName": self.config.first_name_contact, "LastName": request.name}

    def _description(self, request: ConnectRequest, route: Route) -> str:
        return _extra_text(request, "description") or f"{self.config.description_case} : {route.subject}"


def _extra_text(request: ConnectRequest, key: str) -> str:
    """A value of the request's extra data as text; empty when it is missing."""
    value = request.extra_data.get(key, "")
    return value if isinstance(value, str) else json.dumps(value)


def _mapped(fields: Mapping[str, str], request: ConnectRequest) -> dict[str, ExtraValue]:
    """The request's extra data under the names that Salesforce has for them; numbers and truths stay what they are."""
    return {field: request.extra_data[key] for key, field in fields.items() if key in request.extra_data}


def _filled(fields: Mapping[str, ExtraValue]) -> dict[str, ExtraValue]:
    cut = {field: _cut(field, value) if isinstance(value, str) else value for field, value in fields.items()}
    return {field: value for field, value in cut.items() if value != ""}


def _cut(field: str, value: str) -> str:
    return value[: _LENGTHS.get(field, len(value))]


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
