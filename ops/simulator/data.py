"""The data API: what a method and a path under `/services/data/vNN.N` do to the org; no HTTP library here."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from bridge.ops.simulator import query
from bridge.ops.simulator.composite import Composite
from bridge.ops.simulator.data_call import DataAnswer, DataCall
from bridge.ops.simulator.org import DataError, Org
from bridge.ops.simulator.settings import SimulatorSettings

_PASSWORD_EXPIRED = (
    "The users password has expired, you must call SetPassword before attempting any other API operations"
)
_ROOT = re.compile(r"/services/data/(v\d\d\.\d)(/.*)?")


Route = tuple[re.Pattern[str], dict[str, Callable[..., DataAnswer]]]


class DataApi:
    """Answers data calls. A write that fails leaves nothing behind."""

    def __init__(self, settings: SimulatorSettings, org: Org) -> None:
        self._settings = settings
        self._org = org
        self._composite = Composite(org, self.answer_part)
        self._parts: list[Route] = [
            (re.compile(r"/query/?"), {"GET": self._query}),
            (re.compile(r"/limits/?"), {"GET": self._limits}),
            (re.compile(r"/sobjects/(\w+)/?"), {"POST": self._create}),
            (re.compile(r"/sobjects/ContentVersion/(\w+)/VersionData"), {"GET": self._file}),
            (re.compile(r"/sobjects/(\w+)/Id/(\w+)"), {"GET": self._read, "PATCH": self._update}),
            (re.compile(r"/sobjects/(\w+)/(\w+)/([^/]+)"), {"GET": self._read_external, "PATCH": self._upsert}),
            (re.compile(r"/sobjects/(\w+)/(\w+)"), {"GET": self._read, "PATCH": self._update, "DELETE": self._delete}),
        ]

    def answer(self, call: DataCall) -> DataAnswer:
        """A top-level call. Raises DataError."""
        if self._settings.password_expired:
            raise DataError("INVALID_OPERATION_WITH_EXPIRED_PASSWORD", _PASSWORD_EXPIRED, status=403)
        if self._settings.request_limit_exceeded:
            raise DataError("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", status=403)
        if call.method == "POST" and re.fullmatch(r"/services/data/v\d\d\.\d/composite/?", call.path):
            return DataAnswer(200, self._composite.run(call.body))
        self._org.begin()
        try:
            answer = self.answer_part(call)
        except DataError:
            self._org.roll_back()
            raise
        self._org.commit()
        return answer

    def answer_part(self, call: DataCall) -> DataAnswer:
        """A call within somebody's transaction. Raises DataError."""
        rooted = _ROOT.fullmatch(call.path)
        if rooted is None:
            raise _not_found()
        call.version = rooted.group(1)
        for pattern, acts in self._parts:
            found = pattern.fullmatch(rooted.group(2) or "")
            if found:
                return self._act(acts, call, found)
        raise _not_found()

    def _act(self, acts: dict[str, Callable[..., DataAnswer]], call: DataCall, found: re.Match[str]) -> DataAnswer:
        act = acts.get(call.method)
        if act is None:
            message = f"HTTP Method '{call.method}' not allowed. Allowed are {','.join(acts)}"
            raise DataError("METHOD_NOT_ALLOWED", message, status=405)
        if call.method in ("POST", "PATCH") and not isinstance(call.body, dict):
            raise DataError("JSON_PARSER_ERROR", "Unexpected content: the body is no JSON object")
        return act(call, *found.groups())

    # --- the resources ----------------------------------------------------------------------------------------------

    def _query(self, call: DataCall) -> DataAnswer:
        if "q" not in call.params:
            raise DataError("MALFORMED_QUERY", "A query string has to be specified")
        return DataAnswer(200, query.run(self._org, call.params["q"], version=call.version))

    def _limits(self, call: DataCall) -> DataAnswer:
        return DataAnswer(200, {"DailyApiRequests": {"Max": 100_000, "Remaining": 99_000}})

    def _create(self, call: DataCall, name: str) -> DataAnswer:
        auto_assign = call.headers.get("sforce-auto-assign")
        id_ = self._org.insert(self._org.kind(name), call.body, auto_assign=auto_assign)
        return DataAnswer(201, {"id": id_, "success": True, "errors": []})

    def _read(self, call: DataCall, name: str, id_: str) -> DataAnswer:
        kind = self._org.kind(name)
        record = self._org.get(kind, id_)
        asked = call.params.get("fields", "")
        names = asked.split(",") if asked else [*(field.name for field in kind.fields.values()), *record]
        fields = {field.name: field for field in (self._org.field(kind, name) for name in names)}
        shown = {name: query.stored(record, field, call.version) for name, field in fields.items()}
        return DataAnswer(200, {"attributes": query.attributes(kind, record["Id"], call.version), **shown})

    def _file(self, call: DataCall, id_: str) -> DataAnswer:
        record = self._org.get(self._org.kind("ContentVersion"), id_)
        return DataAnswer(200, self._org.blobs[record["Id"][:15]])

    def _update(self, call: DataCall, name: str, id_: str) -> DataAnswer:
        self._org.update(self._org.kind(name), id_, call.body)
        return DataAnswer(204)

    def _delete(self, call: DataCall, name: str, id_: str) -> DataAnswer:
        self._org.delete(self._org.kind(name), id_)
        return DataAnswer(204)

    def _read_external(self, call: DataCall, name: str, field: str, value: str) -> DataAnswer:
        found = self._external(name, field, value)
        if not found:
            raise _not_found()
        return self._read(call, name, found[0])

    def _upsert(self, call: DataCall, name: str, field: str, value: str) -> DataAnswer:
        found = self._external(name, field, value)
        if len(found) > 1:
            raise DataError("DUPLICATE_EXTERNAL_ID", f"{field}: more than one record found", status=300)
        if found:
            self._org.update(self._org.kind(name), found[0], call.body)
            return DataAnswer(200, {"id": found[0], "success": True, "errors": [], "created": False})
        answer = self._create(msgspec.structs.replace(call, body={**call.body, field: value}), name)
        return DataAnswer(201, {**answer.body, "created": True})

    def _external(self, name: str, field: str, value: str) -> list[str]:
        kind = self._org.kind(name)
        if not self._org.field(kind, field).name.lower().endswith("__c"):
            message = f"Provided external ID field does not exist or is not accessible: {field}"
            raise DataError("NOT_FOUND", message, status=404)
        return [record["Id"] for record in self._org.equals(kind, field, value)]


def _not_found() -> DataError:
    return DataError("NOT_FOUND", "The requested resource does not exist", status=404)
