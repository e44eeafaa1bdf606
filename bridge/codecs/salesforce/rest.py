"""Salesforce's REST dialect: token, versioned paths, quoting, composites, and what follows from a refusal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote as percent_encode

import msgspec

from bridge.errors import RemoteError, RemoteGarbled, RemoteRefused, RemoteUnavailable
from bridge.messages import ExtraValue
from bridge.wire import HttpCall, HttpReply, json_call, parse, raise_for_status, retry_after_s

WHO = "Salesforce"

# What an operator does about each refusal (salesforce.md, "Login" and "Requests and refusals").
ADVICE: Mapping[str, str] = {
    "invalid_grant": (
        "The user name, password or security token is wrong, or the org does not allow this login flow: check "
        "SFC_USERNAME, SFC_PASSWORD and SFC_SECURITY_TOKEN, then the user's login history in Salesforce."
    ),
    "invalid_client": "The client secret is not the connected app's: check SFC_CLIENT_SECRET.",
    "invalid_client_id": "The client id is not a connected app's: check SFC_CLIENT_ID.",
    "INVALID_OPERATION_WITH_EXPIRED_PASSWORD": (
        "The password of the user in SFC_USERNAME has expired: ask the org's administrator to have it reset, then set "
        "the new SFC_PASSWORD and SFC_SECURITY_TOKEN and restart (a reset issues a new security token)."
    ),
    "REQUEST_LIMIT_EXCEEDED": (
        "The org has used up its API requests: ask its administrator what uses them, or to have the limit raised."
    ),
    "INVALID_SESSION_ID": (
        "The access token has expired or was revoked and a new one is asked for; if this goes on, ask the org's "
        "administrator about the session settings of the user in SFC_USERNAME."
    ),
    "INVALID_AUTH_HEADER": (
        "The access token that was sent is empty or malformed, so getting one failed before: look for the last error "
        "of the Salesforce login."
    ),
}

# Their status is a 4xx, but the same request may succeed a moment later.
PASSING = frozenset(
    {"UNABLE_TO_LOCK_ROW", "QUERY_TIMEOUT", "SERVER_UNAVAILABLE", "unknown_error", "temporarily_unavailable"}
)

_RECORD_ID = re.compile(r"[a-zA-Z0-9]{15}(?:[a-zA-Z0-9]{3})?")
_SOQL_ESCAPES = {code: f"\\u{code:04x}" for code in (*range(0x20), 0x7F, 0x2028, 0x2029)} | {
    ord("\\"): "\\\\",
    ord("'"): "\\'",
    ord('"'): '\\"',
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
    ord("\b"): "\\b",
    ord("\f"): "\\f",
}


class Token(msgspec.Struct, frozen=True):
    """The answer to a login: the bearer of every data call, and the address of the org. Not printed."""

    access_token: str
    instance_url: str = ""

    def __repr__(self) -> str:
        return f"Token(instance_url={self.instance_url!r})"


class Subrequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of a composite; later ones may say `@{reference_id.field}`."""

    method: str
    url: str
    reference_id: str = msgspec.field(name="referenceId")
    body: Mapping[str, str] | None = None


class ExternalId(msgspec.Struct, frozen=True):
    """A record with an id of ours: the unique external id field of its object, and its value."""

    sobject: str
    field: str
    value: str


class Org(msgspec.Struct, frozen=True):
    """Where an org's data API is; `api_version` is written `52` or `52.0`.

    Without a `base_url` the address that came with the token counts.
    """

    base_url: str
    api_version: str

    @property
    def path(self) -> str:
        """`/services/data/v52.0`, which every path of the data API begins with."""
        return f"/services/data/v{self.api_version.partition('.')[0]}.0"

    def query_path(self, soql: str) -> str:
        """The path that asks `soql`, whole and percent-encoded."""
        return f"{self.path}/query?q={percent_encode(soql, safe='')}"

    def query(self, token: Token, soql: str) -> HttpCall:
        """Asks for rows."""
        return self._call(token, "GET", self.query_path(soql))

    def create(
        self, token: Token, sobject: str, *, fields: Mapping[str, ExtraValue], headers: Mapping[str, str] | None = None
    ) -> HttpCall:
        """Creates one record; `created_id` reads the answer."""
        call = self._call(token, "POST", f"{self.path}/sobjects/{sobject}", body=fields)
        return msgspec.structs.replace(call, headers={**call.headers, **(headers or {})})

    def upsert(
        self,
        token: Token,
        record: ExternalId,
        *,
        fields: Mapping[str, ExtraValue],
        headers: Mapping[str, str] | None = None,
    ) -> HttpCall:
        """Creates the record, or changes it where it is there; `upserted_id` reads the answer."""
        path = f"{self.path}/sobjects/{record.sobject}/{record.field}/{percent_encode(record.value, safe='')}"
        call = self._call(token, "PATCH", path, body=fields)
        return msgspec.structs.replace(call, headers={**call.headers, **(headers or {})})

    def composite(self, token: Token, steps: Sequence[Subrequest], *, all_or_none: bool) -> HttpCall:
        """Several steps in one call; `composite_replies` reads the answer."""
        body = {"allOrNone": all_or_none, "compositeRequest": steps}
        return self._call(token, "POST", f"{self.path}/composite", body=body)

    def _call(self, token: Token, method: str, path: str, *, body: object = None) -> HttpCall:
        base_url = self.base_url or token.instance_url.rstrip("/")
        return json_call(method, base_url + path, body, headers={"Authorization": f"Bearer {token.access_token}"})


def quote(value: str) -> str:
    """The value as a SOQL string, with its quotes (salesforce.md, "SOQL strings").

    `@{` cannot survive in it, so that no value is taken for a composite's reference.
    """
    return "'" + value.translate(_SOQL_ESCAPES).replace("@{", "\\u0040{") + "'"


# --- answers --------------------------------------------------------------------------------------------------------


class _Fault(msgspec.Struct, rename={"error_code": "errorCode"}):
    """A data API's error or an OAuth one; an answer holds one of them, bare or in a list."""

    error_code: str = ""
    message: str = ""
    error: str = ""
    error_description: str = ""


class _Created(msgspec.Struct):
    id: str
    success: bool


class _SubReply(msgspec.Struct, rename="camel"):
    http_status_code: int
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Composite(msgspec.Struct, rename="camel"):
    composite_response: list[_SubReply]


class _Rows(msgspec.Struct):
    records: list[dict[str, Any]]


def wants_new_token(error: RemoteError) -> bool:
    """True if the call may be repeated once with a new token (salesforce.md, "Requests and refusals")."""
    return error.status == 401 or error.code in ("INVALID_SESSION_ID", "INVALID_AUTH_HEADER")


def raise_for_fault(reply: HttpReply, *, who: str = WHO, hide: Iterable[str] = ()) -> None:
    """Raises for every status that is not 2xx: `code` is Salesforce's own, the sentence ends in `ADVICE`.

    RemoteUnavailable for 5xx, 408, 429 and codes that pass by themselves, RemoteRefused otherwise. What is in `hide`
    is struck from the sentence, should the answer repeat it.
    """
    if 200 <= reply.status < 300:
        return
    code, said = fault_of(reply)
    if not code:
        raise_for_status(reply, who)
    for secret in filter(None, hide):
        said = said.replace(secret, "***")
    status_line = f"[{reply.status}] - Error call with status : {code} message:{said}"
    sentence = f"{who}: {status_line}. {ADVICE.get(code, '')}".rstrip()
    if code in PASSING or reply.status in (408, 429) or reply.status >= 500:
        raise RemoteUnavailable(sentence, status=reply.status, code=code, retry_after_s=retry_after_s(reply.headers))
    raise RemoteRefused(sentence, status=reply.status, code=code)


def fault_of(reply: HttpReply) -> tuple[str, str]:
    """Code and message of a refusal; the code is empty when the body is not a Salesforce error."""
    try:
        decoded = msgspec.json.decode(reply.body, type=list[_Fault] | _Fault)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "", ""
    faults = decoded if isinstance(decoded, list) else [decoded]
    if not faults:
        return "", ""
    first = faults[0]
    return (first.error_code or first.error)[:80], _without_query(first.message or first.error_description)


def _without_query(said: str) -> str:
    # Salesforce quotes the refused query before the error, and it holds an e-mail address or a phone number.
    _, mark, after = said.partition("ERROR at ")
    return " ".join((mark + after or said).split())[:300]


def created_id(reply: HttpReply) -> str:
    """The new record's id. Raises RemoteError."""
    raise_for_fault(reply)
    made = parse(reply, _Created)
    if not made.success:
        raise RemoteRefused(f"{WHO}: the record was not created", status=reply.status)
    return checked_id(made.id)


def upserted_id(reply: HttpReply) -> str | None:
    """The id of the record that an upsert made or found; None where an API before v46 found it, and says only 204.

    Raises RemoteError.
    """
    if reply.status == 204:
        return None
    code, said = fault_of(reply)
    if reply.status == 300:
        sentence = f"{WHO}: [300] - several records have this external id: the field has to be a unique one"
        raise RemoteRefused(sentence, status=300, code=code)
    if reply.status == 400 and code == "DUPLICATE_VALUE":
        # Another upsert of the same record may have been first: the next try finds its record.
        sentence = f"{WHO}: [400] - Error call with status : {code} message:{said}"
        raise RemoteUnavailable(sentence, status=400, code=code)
    return created_id(reply)


def checked_id(value: object) -> str:
    """`value` if it is a record's id of 15 or 18 characters. Raises RemoteGarbled."""
    if isinstance(value, str) and _RECORD_ID.fullmatch(value):
        return value
    raise RemoteGarbled(f"{WHO}: a record's id was expected in the answer", status=200)


def rows(reply: HttpReply) -> list[dict[str, Any]]:
    """The records that a query found. Raises RemoteError."""
    raise_for_fault(reply)
    return parse(reply, _Rows).records


def composite_replies(reply: HttpReply) -> list[HttpReply]:
    """The answer of every step, in order, when all went well: a composite is 200 even when its steps fail.

    Raises RemoteError for the step that failed, not for those that were halted because of it.
    """
    raise_for_fault(reply)
    answered = parse(reply, _Composite).composite_response
    steps = [HttpReply(step.http_status_code, {}, bytes(step.body)) for step in answered]
    if not steps:
        raise RemoteGarbled(f"{WHO}: a composite was answered without its steps", status=reply.status)
    for step in sorted(steps, key=lambda step: fault_of(step)[0] == "PROCESSING_HALTED"):
        raise_for_fault(step)
    return steps
