"""The org's records: inserts and updates with the checks that Salesforce makes, an index, and a rollback."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import PurePosixPath
from typing import Any, ClassVar

from bridge.ops.simulator.ledger import Ledger
from bridge.ops.simulator.schema import OBJECTS, Field, ObjectType, is_id, make_id
from bridge.ops.simulator.settings import SimulatorSettings

Record = dict[str, Any]
INTEGRATION_USER = "0055f000000InteAAA"
_BASE64_LIMIT = 37_500_000
_PERSON_FIELDS = {
    "FirstName": "FirstName",
    "LastName": "LastName",
    "PersonEmail": "Email",
    "PersonMobilePhone": "MobilePhone",
    "PersonHomePhone": "HomePhone",
    "PersonBirthdate": "Birthdate",
    "OwnerId": "OwnerId",
}


class DataError(Exception):
    """One error as the data API words it: `[{"message", "errorCode", "fields"}]` under a status."""

    def __init__(self, code: str, message: str, *, status: int = 400, fields: tuple[str, ...] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {"message": message, "errorCode": code}
        if fields is not None:
            self.body["fields"] = list(fields)


class Org:
    """Records by object and id. `blobs` holds the bytes of files by version id."""

    def __init__(self, settings: SimulatorSettings, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger
        self._tables: dict[str, dict[str, Record]] = {kind.name: {} for kind in OBJECTS.values()}
        self._index: defaultdict[tuple[str, str, str], dict[str, None]] = defaultdict(dict)
        self._numbers: defaultdict[str, int] = defaultdict(int)
        self._undo: list[Callable[[], None]] | None = None
        self._unsaid: list[tuple[str, dict[str, Any]]] = []
        self.blobs: dict[str, bytes] = {}

    # --- reading ----------------------------------------------------------------------------------------------------

    def kind(self, name: str, *, status: int = 404) -> ObjectType:
        """The object of that name. Raises DataError: NOT_FOUND in a path, INVALID_TYPE in a query."""
        kind = OBJECTS.get(name.lower())
        if kind is None and status == 404:
            raise DataError("NOT_FOUND", "The requested resource does not exist", status=404)
        if kind is None:
            raise DataError("INVALID_TYPE", f"sObject type '{name}' is not supported.")
        return kind

    def field(self, kind: ObjectType, name: str) -> Field:
        """The field of that name. Raises DataError INVALID_FIELD."""
        field = kind.field(name)
        missing = {gone.lower() for gone in self._settings.missing_fields}
        if field is None or name.lower() in missing:
            raise DataError("INVALID_FIELD", f"No such column '{name}' on sobject of type {kind.name}", fields=(name,))
        return field

    def records(self, kind: str) -> list[Record]:
        """Every record of an object, oldest first."""
        return list(self._tables[OBJECTS[kind.lower()].name].values())

    def known(self, kind: str, id_: str) -> Record | None:
        """One record, or None."""
        return self._tables[kind].get(id_[:15])

    def get(self, kind: ObjectType, id_: str) -> Record:
        """One record. Raises DataError NOT_FOUND."""
        record = self._tables[kind.name].get(id_[:15]) if is_id(id_) else None
        if record is None:
            raise DataError("NOT_FOUND", "The requested resource does not exist", status=404)
        return record

    def equals(self, kind: ObjectType, field: str, value: str) -> list[Record]:
        """The records whose field has that text, without regard to case."""
        table = self._tables[kind.name]
        return [table[short] for short in self._index.get((kind.name, field.lower(), value.lower()), ())]

    # --- writing ----------------------------------------------------------------------------------------------------

    def insert(self, kind: ObjectType, body: Mapping[str, Any], *, auto_assign: str | None = None) -> str:
        """A new record's id. Raises DataError."""
        if any(name.lower() == "id" for name in body):
            message = f"The Id field should not be specified in the sobject data of type {kind.name}."
            raise DataError("INVALID_FIELD_FOR_INSERT_UPDATE", message, fields=("Id",))
        record = self._checked(kind, body)
        self._complete(kind, record)
        return self._special.get(kind.name, Org._insert_plain)(self, kind, record, auto_assign)

    def update(self, kind: ObjectType, id_: str, body: Mapping[str, Any]) -> None:
        """Changes a record. Raises DataError."""
        record = self.get(kind, id_)
        changes = self._checked(kind, body)
        emptied = tuple(name for name in kind.required if name in changes and changes[name] in (None, ""))
        if emptied:
            raise _required(emptied)
        self._replace(kind, {**record, **changes, "LastModifiedDate": _now(), "SystemModstamp": _now()})
        if kind.name == "Account" and record["IsPersonAccount"] and _contact_of(changes):
            self.update(OBJECTS["contact"], record["PersonContactId"], _contact_of(changes))

    def delete(self, kind: ObjectType, id_: str) -> None:
        """Deletes a record. Raises DataError NOT_FOUND."""
        record = self.get(kind, id_)
        self._remove(kind, record)
        self._remember(lambda: self._put(kind, record))

    # --- transactions -----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """From here on everything can be undone."""
        self._undo = []

    def commit(self) -> None:
        """What was done stays, and goes into the ledger."""
        self._undo = None
        for kind, fields in self._unsaid:
            self._ledger.record(kind, **fields)
        self._unsaid.clear()

    def roll_back(self) -> None:
        """Nothing since `begin` has happened."""
        for undo in reversed(self._undo or []):
            undo()
        self._undo = None
        self._unsaid.clear()

    # --- checks -----------------------------------------------------------------------------------------------------

    def _checked(self, kind: ObjectType, body: Mapping[str, Any]) -> Record:
        record: Record = {}
        for name, value in body.items():
            field = self.field(kind, name)
            if not field.writable:
                message = f"Unable to create/update fields: {field.name}. Please check its security settings."
                raise DataError("INVALID_FIELD_FOR_INSERT_UPDATE", message, fields=(field.name,))
            record[field.name] = None if value is None else self._value(field, value)
        return record

    def _value(self, field: Field, value: Any) -> Any:
        custom = field.name.endswith(("__c", "__pc")) and field.type == "string"
        # A custom field may be a number or a checkbox; only its writer knows.
        if not (custom and isinstance(value, bool | int | float)):
            _CHECKS[field.type](field, value)
        if field.refers and not self._exists(field, value):
            raise DataError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", fields=(field.name,))
        return value

    def _exists(self, field: Field, id_: str) -> bool:
        return any(id_[:15] in self._tables[name] for name in field.refers)

    def _complete(self, kind: ObjectType, record: Record) -> None:
        required = kind.required or (("LastName",) if _is_person(record) else ("Name",))
        if kind.name == "ContentDocument":
            raise DataError("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "entity type cannot be inserted: Content Document")
        missing = tuple(name for name in required if record.get(name) in (None, ""))
        if missing:
            raise _required(missing)

    # --- inserts ----------------------------------------------------------------------------------------------------

    def _insert_plain(self, kind: ObjectType, record: Record, auto_assign: str | None = None) -> str:
        self._numbers[kind.name] += 1
        now = _now()
        id_ = make_id(kind.prefix, self._numbers[kind.name])
        system = {"Id": id_, "CreatedDate": now, "LastModifiedDate": now, "SystemModstamp": now, "IsDeleted": False}
        self._replace(kind, {"OwnerId": INTEGRATION_USER, **record, **system})
        return id_

    def _insert_contact(self, kind: ObjectType, record: Record, auto_assign: str | None) -> str:
        account = self._tables["Account"].get(str(record.get("AccountId") or "")[:15])
        if account is not None and account["IsPersonAccount"]:
            raise DataError("INVALID_CROSS_REFERENCE_KEY", "a person account has one contact", fields=("AccountId",))
        return self._insert_person(record, person_account=False)

    def _insert_person(self, record: Record, *, person_account: bool) -> str:
        name = " ".join(filter(None, (record.get("FirstName"), record["LastName"])))
        defaults = {"CP_BlockedChatYalo__c": False, "IsPersonAccount": person_account, "Name": name}
        id_ = self._insert_plain(OBJECTS["contact"], {**defaults, **record})
        self._say("contact_created", id=id_, text=name, details=record)
        return id_

    def _insert_account(self, kind: ObjectType, record: Record, auto_assign: str | None) -> str:
        person = _is_person(record)
        strangers = tuple(name for name in record if (name == "Name" if person else _is_personal(name)))
        if strangers:
            message = f"Unable to create/update fields: {', '.join(strangers)}."
            raise DataError("INVALID_FIELD_FOR_INSERT_UPDATE", message, fields=strangers)
        if not person:
            return self._insert_plain(kind, {"IsPersonAccount": False, "PersonContactId": None, **record})
        name = " ".join(filter(None, (record.get("FirstName"), record["LastName"])))
        defaults = {"CP_BlockedChatYalo__pc": False, "IsPersonAccount": True, "Name": name, "PersonContactId": None}
        id_ = self._insert_plain(kind, {**defaults, **record})
        contact_id = self._insert_person({**_contact_of(record), "AccountId": id_}, person_account=True)
        self._replace(kind, {**self.get(kind, id_), "PersonContactId": contact_id})
        self._say("account_created", id=id_, text=name, details=record)
        return id_

    def _insert_case(self, kind: ObjectType, record: Record, auto_assign: str | None) -> str:
        # Left out, the header counts as TRUE: the case goes to the default owner (salesforce.md, "Case assignment").
        if (auto_assign or "true").lower() != "false":
            record = {**record, "OwnerId": self._settings.default_case_owner}
        number = f"{len(self._tables['Case']) + 1:08d}"
        id_ = self._insert_plain(kind, {"Priority": "Medium", **record, "CaseNumber": number, "IsClosed": False})
        details = {**self._tables["Case"][id_[:15]], "Sforce-Auto-Assign": auto_assign}
        self._say("case_created", id=id_, text=str(record.get("Subject") or ""), details=details)
        return id_

    def _insert_version(self, kind: ObjectType, record: Record, auto_assign: str | None) -> str:
        data = base64.b64decode(record.pop("VersionData"), validate=True)
        path = PurePosixPath(record["PathOnClient"])
        title = record.get("Title") or path.stem
        document = record.get("ContentDocumentId") or self._insert_plain(
            OBJECTS["contentdocument"], {"Title": title, "ContentSize": len(data)}
        )
        file = {
            "Title": title,
            "ContentDocumentId": document,
            "FileExtension": path.suffix.lstrip("."),
            "ContentSize": len(data),
            "Checksum": hashlib.md5(data, usedforsecurity=False).hexdigest(),
            "IsLatest": True,
        }
        id_ = self._insert_plain(kind, {**record, **file})
        self.blobs[id_[:15]] = data
        self._remember(lambda: self.blobs.pop(id_[:15], None))
        self._say("file_stored", id=id_, text=str(path), details={**file, "head": data[:16].hex()})
        if record.get("FirstPublishLocationId"):
            link = {"ContentDocumentId": document, "LinkedEntityId": record["FirstPublishLocationId"], "ShareType": "V"}
            self.insert(OBJECTS["contentdocumentlink"], link)
        return id_

    def _insert_link(self, kind: ObjectType, record: Record, auto_assign: str | None) -> str:
        entity = record["LinkedEntityId"]
        linked = self.equals(kind, "ContentDocumentId", record["ContentDocumentId"])
        if any(link["LinkedEntityId"][:15] == entity[:15] for link in linked):
            raise DataError("DUPLICATE_VALUE", "the document is linked to that record", fields=())
        id_ = self._insert_plain(kind, {"Visibility": "AllUsers", **record})
        self._say("file_linked", id=id_, text=entity, details=record)
        return id_

    _special: ClassVar[dict[str, Callable[[Org, ObjectType, Record, str | None], str]]] = {
        "Contact": _insert_contact,
        "Account": _insert_account,
        "Case": _insert_case,
        "ContentVersion": _insert_version,
        "ContentDocumentLink": _insert_link,
    }

    # --- the table --------------------------------------------------------------------------------------------------

    def _replace(self, kind: ObjectType, record: Record) -> None:
        before = self._tables[kind.name].get(record["Id"][:15])
        if before is not None:
            self._remove(kind, before)
        self._put(kind, record)
        self._remember(lambda: self._restore(kind, record, before))

    def _restore(self, kind: ObjectType, record: Record, before: Record | None) -> None:
        self._remove(kind, record)
        if before is not None:
            self._put(kind, before)

    def _put(self, kind: ObjectType, record: Record) -> None:
        short = record["Id"][:15]
        self._tables[kind.name][short] = record
        for key in _keys(kind, record):
            self._index[key][short] = None

    def _remove(self, kind: ObjectType, record: Record) -> None:
        short = record["Id"][:15]
        self._tables[kind.name].pop(short, None)
        for key in _keys(kind, record):
            self._index[key].pop(short, None)

    def _remember(self, undo: Callable[[], object]) -> None:
        if self._undo is not None:
            self._undo.append(lambda: (undo(), None)[1])

    def _say(self, entry: str, **fields: Any) -> None:
        """Into the ledger: now, or when the transaction is committed."""
        if self._undo is None:
            self._ledger.record(entry, **fields)
        else:
            self._unsaid.append((entry, fields))


def _keys(kind: ObjectType, record: Record) -> list[tuple[str, str, str]]:
    return [
        (kind.name, name.lower(), value.lower())
        for name, value in record.items()
        if isinstance(value, str) and len(value) <= 255
    ]


def _is_person(record: Record) -> bool:
    return bool(record.get("RecordTypeId")) and ("LastName" in record or "Name" not in record)


def _is_personal(name: str) -> bool:
    return name != "OwnerId" and (name in _PERSON_FIELDS or name.endswith("__pc"))


def _contact_of(account: Record) -> Record:
    """The contact's side of a person account's fields; custom ones lose the `p` of `__pc`."""
    custom = {name[:-2] + "c": value for name, value in account.items() if name.endswith("__pc")}
    return {**{_PERSON_FIELDS[name]: value for name, value in account.items() if name in _PERSON_FIELDS}, **custom}


def _required(names: tuple[str, ...]) -> DataError:
    return DataError("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(names)}]", fields=names)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"


# --- values ---------------------------------------------------------------------------------------------------------


def _check_string(field: Field, value: Any) -> None:
    if not isinstance(value, str):
        raise _wrong_type(field, value)
    if len(value) > field.length:
        message = f"{field.name}: data value too large: {value[:40]} (max length={field.length})"
        raise DataError("STRING_TOO_LONG", message, fields=(field.name,))
    if field.one_of and value not in field.one_of:
        message = f"bad value for restricted picklist field: {value}"
        raise DataError("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, fields=(field.name,))


def _check_email(field: Field, value: Any) -> None:
    _check_string(field, value)
    name, at, host = value.partition("@")
    if value and (not name or not at or "." not in host or " " in value):
        message = f"{field.name}: invalid email address: {value}"
        raise DataError("INVALID_EMAIL_ADDRESS", message, fields=(field.name,))


def _check_id(field: Field, value: Any) -> None:
    if not is_id(value):
        raise DataError("MALFORMED_ID", f"{field.name}: id value of incorrect type: {value}", fields=(field.name,))


def _check_boolean(field: Field, value: Any) -> None:
    if not isinstance(value, bool):
        raise _wrong_type(field, value)


def _check_number(field: Field, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong_type(field, value)


def _check_date(field: Field, value: Any) -> None:
    try:
        date.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise _wrong_type(field, value) from error


def _check_base64(field: Field, value: Any) -> None:
    if not isinstance(value, str) or len(value) > _BASE64_LIMIT:
        raise _wrong_type(field, "")
    try:
        base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise _wrong_type(field, value[:40]) from error


def _wrong_type(field: Field, value: Any) -> DataError:
    message = f"Cannot deserialize instance of {field.type} from value {value!r} of {field.name}"
    return DataError("JSON_PARSER_ERROR", message)


_CHECKS: dict[str, Callable[[Field, Any], None]] = {
    "id": _check_id,
    "string": _check_string,
    "email": _check_email,
    "boolean": _check_boolean,
    "number": _check_number,
    "date": _check_date,
    "datetime": _check_string,
    "base64": _check_base64,
}
