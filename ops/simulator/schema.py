"""The org's objects: their fields, types, lengths, what is required, what only Salesforce may write."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

FieldType = Literal["id", "string", "email", "boolean", "date", "datetime", "number", "base64"]

_CHECKSUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")


class Field(msgspec.Struct, frozen=True):
    """A field; `refers` names the objects whose ids it may hold and that must exist."""

    name: str
    type: FieldType = "string"
    length: int = 255
    writable: bool = True
    refers: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()


class ObjectType(msgspec.Struct, frozen=True):
    """An object: fields by lower-case name (names are matched without regard to case), and what an insert needs."""

    name: str
    prefix: str
    fields: dict[str, Field]
    required: tuple[str, ...] = ()
    custom: tuple[str, ...] = ("__c",)

    def field(self, name: str) -> Field | None:
        """The field of that name; any name with a custom field's ending is one."""
        known = self.fields.get(name.lower())
        return known or (Field(name, length=131_072) if name.lower().endswith(self.custom) else None)


def _object(name: str, prefix: str, fields: list[Field], **options: tuple[str, ...]) -> ObjectType:
    system = [
        Field("Id", "id", writable=False),
        Field("CreatedDate", "datetime", writable=False),
        Field("LastModifiedDate", "datetime", writable=False),
        Field("SystemModstamp", "datetime", writable=False),
        Field("IsDeleted", "boolean", writable=False),
    ]
    return ObjectType(name, prefix, {field.name.lower(): field for field in [*system, *fields]}, **options)


_PERSON = [Field("FirstName", length=40), Field("LastName", length=80), Field("Salutation", length=40)]
_OWNER = [Field("OwnerId", "id"), Field("RecordTypeId", "id"), Field("Description", length=32_000)]
_PHONES = [Field("Phone", length=40), Field("Fax", length=40)]

OBJECTS = {
    kind.name.lower(): kind
    for kind in (
        _object(
            "Contact",
            "003",
            [
                *_PERSON,
                *_OWNER,
                *_PHONES,
                Field("Name", writable=False),
                Field("Email", "email", 80),
                Field("MobilePhone", length=40),
                Field("HomePhone", length=40),
                Field("Title", length=128),
                Field("Birthdate", "date"),
                Field("AccountId", "id", refers=("Account",)),
                Field("IsPersonAccount", "boolean", writable=False),
                Field("CP_BlockedChatYalo__c", "boolean"),
            ],
            required=("LastName",),
        ),
        _object(
            "Account",
            "001",
            [
                *_PERSON,
                *_OWNER,
                *_PHONES,
                Field("Name"),
                Field("PersonEmail", "email", 80),
                Field("PersonMobilePhone", length=40),
                Field("PersonHomePhone", length=40),
                Field("PersonBirthdate", "date"),
                Field("PersonContactId", "id", writable=False),
                Field("IsPersonAccount", "boolean", writable=False),
                Field("CP_BlockedChatYalo__pc", "boolean"),
            ],
            custom=("__c", "__pc"),
        ),
        _object(
            "Case",
            "500",
            [
                *_OWNER,
                Field("CaseNumber", writable=False),
                Field("ContactId", "id", refers=("Contact",)),
                Field("AccountId", "id", refers=("Account",)),
                Field("ParentId", "id", refers=("Case",)),
                Field("Subject"),
                Field("Origin", length=40),
                Field("Status", length=40),
                Field("Priority", length=40),
                Field("Type", length=40),
                Field("Reason", length=40),
                Field("SuppliedName", length=80),
                Field("SuppliedEmail", "email", 80),
                Field("SuppliedPhone", length=40),
                Field("IsClosed", "boolean", writable=False),
            ],
            required=("Status",),
        ),
        _object(
            "ContentVersion",
            "068",
            [
                Field("Title"),
                Field("PathOnClient", length=500),
                Field("ContentLocation", length=40, one_of=("S", "E", "L", "")),
                Field("VersionData", "base64"),
                Field("Description", length=1000),
                Field("ContentDocumentId", "id", refers=("ContentDocument",)),
                Field("FirstPublishLocationId", "id", refers=("Case", "Contact", "Account")),
                Field("FileExtension", length=40, writable=False),
                Field("FileType", length=20, writable=False),
                Field("ContentSize", "number", writable=False),
                Field("Checksum", length=50, writable=False),
                Field("IsLatest", "boolean", writable=False),
                Field("OwnerId", "id"),
            ],
            required=("PathOnClient", "VersionData"),
        ),
        _object(
            "ContentDocument",
            "069",
            [Field("Title"), Field("LatestPublishedVersionId", "id", writable=False), Field("ContentSize", "number")],
        ),
        _object(
            "ContentDocumentLink",
            "06A",
            [
                Field("ContentDocumentId", "id", refers=("ContentDocument",)),
                Field("LinkedEntityId", "id", refers=("Case", "Contact", "Account")),
                Field("ShareType", one_of=("V", "C", "I")),
                Field("Visibility", one_of=("AllUsers", "InternalUsers", "SharedUsers")),
            ],
            required=("ContentDocumentId", "LinkedEntityId", "ShareType"),
        ),
    )
}


def make_id(prefix: str, number: int) -> str:
    """The 18-character id of an object's n-th record."""
    short = f"{prefix}5K{number:010d}"
    return short + checksum(short)


def checksum(short: str) -> str:
    """The three characters that make a 15-character id safe where case is lost."""
    chunks = (short[start : start + 5] for start in (0, 5, 10))
    bits = (sum(1 << place for place, letter in enumerate(chunk) if letter.isupper()) for chunk in chunks)
    return "".join(_CHECKSUM[value] for value in bits)


def is_id(value: object) -> bool:
    """Whether it has the form of an id, with the right checksum where it is long."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        return False
    return len(value) == 15 or checksum(value[:15]) == value[15:]
