"""Composite requests: up to 25 parts in order, references between them, all or none (salesforce.md, "Composite")."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from bridge.ops.simulator.data_call import DataAnswer, DataCall
from bridge.ops.simulator.org import DataError, Org

MOST = 25
MOST_QUERIES = 5
_REFERENCE = re.compile(r"@\{(\w+)((?:\.\w+|\[\d+\])*)\}")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
_ROLLED_BACK = "The transaction was rolled back since another operation in the same transaction failed."


class Part(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """One subrequest."""

    method: Literal["GET", "POST", "PATCH", "PUT", "DELETE"]
    url: str
    reference_id: str
    body: dict[str, Any] | None = None
    http_headers: dict[str, str] = {}


class CompositeBody(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """The whole request."""

    composite_request: list[Part]
    all_or_none: bool = False
    collate_subrequests: bool = False


class Unresolved(Exception):
    """A reference leads nowhere."""


class Composite:
    """Runs composite requests; `answer` does one part within the open transaction."""

    def __init__(self, org: Org, answer: Callable[[DataCall], DataAnswer]) -> None:
        self._org = org
        self._answer = answer

    def run(self, body: Any) -> dict[str, Any]:
        """The answer, which is 200 even when parts fail. Raises DataError for a malformed whole."""
        composite = _understood(body)
        all_or_none = composite.all_or_none
        results: dict[str, dict[str, Any]] = {}
        if all_or_none:
            self._org.begin()
        for part in composite.composite_request:
            results[part.reference_id] = self._one(part, results, alone=not all_or_none)
            if all_or_none and results[part.reference_id]["httpStatusCode"] >= 400:
                self._org.roll_back()
                return {"compositeResponse": _halted(composite, results[part.reference_id])}
        if all_or_none:
            self._org.commit()
        return {"compositeResponse": list(results.values())}

    def _one(self, part: Part, results: Mapping[str, dict[str, Any]], *, alone: bool) -> dict[str, Any]:
        if alone:
            self._org.begin()
        try:
            answer = self._answer(_call(part, results))
        except Unresolved as error:
            failure = DataError("PROCESSING_HALTED", str(error))
        except DataError as error:
            failure = error
        else:
            if alone:
                self._org.commit()
            return _result(part, answer.status, answer.body)
        if alone:
            self._org.roll_back()
        return _result(part, failure.status, [failure.body])


def _understood(body: Any) -> CompositeBody:
    try:
        composite = msgspec.convert(body, CompositeBody)
    except msgspec.ValidationError as error:
        raise DataError("JSON_PARSER_ERROR", str(error)) from error
    references = [part.reference_id for part in composite.composite_request]
    if not 1 <= len(references) <= MOST:
        raise DataError("INVALID_INPUT", f"A composite request has 1 to {MOST} subrequests, not {len(references)}")
    if sum("/query" in part.url for part in composite.composite_request) > MOST_QUERIES:
        raise DataError("INVALID_INPUT", f"A composite request has at most {MOST_QUERIES} queries")
    if len(set(references)) < len(references):
        raise DataError("INVALID_INPUT", "Duplicate referenceId in the composite request")
    if not all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", reference) for reference in references):
        raise DataError("INVALID_INPUT", "A referenceId begins with a letter and holds letters, digits and underscores")
    return composite


def _call(part: Part, results: Mapping[str, dict[str, Any]]) -> DataCall:
    """The part as a call of its own, references filled in."""
    url = _filled(part.url, results)
    if re.search(r"\s", url) or not url.startswith("/services/data/"):
        raise DataError("INVALID_INPUT", f"Illegal url of subrequest {part.reference_id}: {url[:100]}")
    split = urlsplit(url)
    return DataCall(
        method=part.method,
        path=unquote(split.path),
        params=dict(parse_qsl(split.query, keep_blank_values=True)),
        headers={name.lower(): value for name, value in part.http_headers.items()},
        body=_filled(part.body, results),
    )


def _filled(value: Any, results: Mapping[str, dict[str, Any]]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(inner, results) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, results) for inner in value]
    if not isinstance(value, str) or "@{" not in value:
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole:
        return _resolve(whole, results)
    return _REFERENCE.sub(lambda found: str(_resolve(found, results)), value)


def _resolve(found: re.Match[str], results: Mapping[str, dict[str, Any]]) -> Any:
    name, path = found.groups()
    if name not in results or results[name]["httpStatusCode"] >= 400:
        raise Unresolved(f"The request could not be processed because of a reference to {name}, which did not succeed.")
    value = results[name]["body"]
    for key, place in _STEP.findall(path):
        try:
            value = value[int(place)] if place else value[key]
        except (KeyError, IndexError, TypeError) as error:
            sentence = f"Invalid reference specified. No value for {name}{path} found in {name}."
            raise Unresolved(sentence) from error
    if isinstance(value, dict | list) or value is None:
        raise Unresolved(f"Invalid reference specified. {name}{path} is no single value.")
    return value


def _halted(composite: CompositeBody, failed: dict[str, Any]) -> list[dict[str, Any]]:
    """Every part carries PROCESSING_HALTED but the one that failed, which says why."""
    halted = [{"errorCode": "PROCESSING_HALTED", "message": _ROLLED_BACK}]
    return [
        failed if part.reference_id == failed["referenceId"] else _result(part, 400, halted)
        for part in composite.composite_request
    ]


def _result(part: Part, status: int, body: Any) -> dict[str, Any]:
    return {"body": body, "httpHeaders": {}, "httpStatusCode": status, "referenceId": part.reference_id}
