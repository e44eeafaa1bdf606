"""Runs a SOQL query on the org: names and literal types checked as Salesforce does, the index used where it helps."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from bridge.ops.simulator.org import DataError, Org, Record
from bridge.ops.simulator.schema import Field, ObjectType, is_id
from bridge.ops.simulator.soql import Comparison, Condition, Junction, Literal, Malformed, Order, Query, parse

MOST = 2000
_ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_LITERALS = {
    "id": "string",
    "string": "string",
    "email": "string",
    "base64": "string",
    "boolean": "boolean",
    "number": "number",
    "date": "moment",
    "datetime": "moment",
}


def run(org: Org, text: str, *, version: str) -> dict[str, Any]:
    """The answer of `/query`. Raises DataError: MALFORMED_QUERY, INVALID_TYPE, INVALID_FIELD and their kin."""
    try:
        query = parse(text)
    except Malformed as error:
        raise DataError("MALFORMED_QUERY", str(error)) from error
    kind = org.kind(query.object, status=400)
    fields = _selected(org, kind, query)
    _check(org, kind, query.where)
    found = [record for record in _candidates(org, kind, query.where) if _holds(kind, query.where, record)]
    _sort(org, kind, query.order, found)
    stop = query.offset + MOST if query.limit is None else query.offset + query.limit
    rows = [_row(kind, fields, record, version) for record in found[query.offset : stop]]
    return {"totalSize": len(rows), "done": True, "records": rows}


def attributes(kind: ObjectType, id_: str, version: str) -> dict[str, str]:
    """What every record of an answer begins with."""
    return {"type": kind.name, "url": f"/services/data/{version}/sobjects/{kind.name}/{id_}"}


def _selected(org: Org, kind: ObjectType, query: Query) -> list[Field]:
    fields = [org.field(kind, name) for name in query.fields]
    names = [field.name.lower() for field in fields]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise DataError("MALFORMED_QUERY", f"duplicate field selected: {twice}")
    return fields


def _row(kind: ObjectType, fields: list[Field], record: Record, version: str) -> dict[str, Any]:
    return {
        "attributes": attributes(kind, record["Id"], version),
        **{field.name: stored(record, field, version) for field in fields},
    }


def stored(record: Record, field: Field, version: str) -> Any:
    """The field's value; a file's bytes are shown as the path where they are fetched."""
    if field.type == "base64":
        return f"/services/data/{version}/sobjects/ContentVersion/{record['Id']}/{field.name}"
    return _value(record, field.name)


def _value(record: Record, name: str) -> Any:
    if name in record:
        return record[name]
    # Custom fields are spelt as their first writer spelt them.
    return next((value for key, value in record.items() if key.lower() == name.lower()), None)


# --- checking -------------------------------------------------------------------------------------------------------


def _check(org: Org, kind: ObjectType, condition: Condition | None) -> None:
    if isinstance(condition, Junction):
        for part in condition.parts:
            _check(org, kind, part)
    elif condition is not None:
        field = org.field(kind, condition.field)
        literals = condition.value if isinstance(condition.value, list) else [condition.value]
        for literal in literals:
            _check_literal(field, literal)


def _check_literal(field: Field, literal: Literal) -> None:
    custom = field.name.lower().endswith(("__c", "__pc"))
    if literal.kind == "null" or (custom and field.type == "string"):
        return
    wanted = _LITERALS[field.type]
    if literal.kind != wanted:
        quoted = "should be enclosed in quotes" if wanted == "string" else "should not be enclosed in quotes"
        message = f"value of filter criterion for field '{field.name}' must be of type {field.type} and {quoted}"
        raise DataError("INVALID_FIELD", message)
    if field.type == "id" and not is_id(literal.value):
        raise DataError("INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {literal.value}")
    if literal.kind == "moment" and (len(literal.value) == 10) != (field.type == "date"):
        message = f"value of filter criterion for field '{field.name}' must be of type {field.type}"
        raise DataError("INVALID_FIELD", message)


# --- finding --------------------------------------------------------------------------------------------------------


def _candidates(org: Org, kind: ObjectType, condition: Condition | None) -> list[Record]:
    """A small superset of what matches where an index gives one, in the order of creation; else everything."""
    indexed = _indexed(org, kind, condition)
    if indexed is None:
        return org.records(kind.name)
    return sorted(indexed.values(), key=lambda record: str(record["Id"]))


def _indexed(org: Org, kind: ObjectType, condition: Condition | None) -> dict[str, Record] | None:
    if isinstance(condition, Comparison):
        return _equal(org, kind, condition)
    if condition is None or condition.word == "not":
        return None
    found = [_indexed(org, kind, part) for part in condition.parts]
    known = [records for records in found if records is not None]
    if condition.word == "and":
        return min(known, key=len) if known else None
    return {id_: record for records in known for id_, record in records.items()} if len(known) == len(found) else None


def _equal(org: Org, kind: ObjectType, comparison: Comparison) -> dict[str, Record] | None:
    literal = comparison.value
    field = kind.field(comparison.field)
    if comparison.op != "=" or not isinstance(literal, Literal) or literal.kind != "string" or field is None:
        return None
    if field.type == "id" and field.name != "Id":
        return None
    if field.name == "Id":
        return {record["Id"]: record for record in _by_id(org, kind, literal.value)}
    return {record["Id"]: record for record in org.equals(kind, comparison.field, literal.value)}


def _by_id(org: Org, kind: ObjectType, id_: str) -> list[Record]:
    try:
        return [org.get(kind, id_)]
    except DataError:
        return []


def _holds(kind: ObjectType, condition: Condition | None, record: Record) -> bool:
    if condition is None:
        return True
    if isinstance(condition, Comparison):
        return _compare(kind, condition, record)
    held = (_holds(kind, part, record) for part in condition.parts)
    return not all(held) if condition.word == "not" else all(held) if condition.word == "and" else any(held)


def _compare(kind: ObjectType, comparison: Comparison, record: Record) -> bool:
    field = kind.field(comparison.field)
    assert field is not None
    value = _folded(field, _value(record, field.name))
    if isinstance(comparison.value, list):
        among = value in [_folded(field, literal.value) for literal in comparison.value]
        return among == (comparison.op == "in")
    wanted = comparison.value.value
    if comparison.op == "like":
        return isinstance(value, str) and _pattern(str(wanted)).fullmatch(value) is not None
    wanted = _folded(field, wanted)
    if comparison.op in ("=", "!="):
        return bool(value == wanted) == (comparison.op == "=")
    return value is not None and wanted is not None and _ORDERED[comparison.op](value, wanted)


def _folded(field: Field, value: Any) -> Any:
    """The value as it is compared: text without case, ids by their 15 characters, moments as moments."""
    if not isinstance(value, str):
        return value
    if field.type == "id":
        return value[:15]
    if field.type == "datetime":
        return datetime.fromisoformat(value).astimezone(UTC)
    return date.fromisoformat(value) if field.type == "date" else value.lower()


def _pattern(like: str) -> re.Pattern[str]:
    """A LIKE pattern: `%` any text, `_` one character, escaped ones themselves."""
    pieces = re.findall(r"\\[_%]|[_%]|[^_%\\]+|\\", like.lower())
    wild = {"%": ".*", "_": ".", r"\%": "%", r"\_": "_"}
    return re.compile("".join(wild.get(piece) or re.escape(piece) for piece in pieces), re.DOTALL)


def _sort(org: Org, kind: ObjectType, order: list[Order], records: list[Record]) -> None:
    for key in reversed(order):
        field = org.field(kind, key.field)
        filled = [record for record in records if _value(record, field.name) is not None]
        empty = [record for record in records if _value(record, field.name) is None]
        filled.sort(key=lambda record: _folded(field, _value(record, field.name)), reverse=key.descending)
        records[:] = [*filled, *empty] if key.nulls_last else [*empty, *filled]
