"""What is not text, described in a line that an agent can read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, TypeVar

import msgspec

from bridge.inputs import LONGEST_TEXT, ShortText, Title

MOST_LISTED = 100
CUT = "…"
Shape = TypeVar("Shape")
RawList = Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MOST_LISTED)]
_NOTHING = msgspec.Raw(b"null")


class ContactName(msgspec.Struct, rename={"formatted_camel": "formattedName", "first_camel": "firstName"}):
    """A contact's name, in either spelling of its keys."""

    formatted_name: Title | None = None
    formatted_camel: Title | None = None
    first_name: Title | None = None
    first_camel: Title | None = None


class ContactPhone(msgspec.Struct, rename={"wa_camel": "waId"}):
    """One of a contact's phone numbers, in either spelling of its keys."""

    phone: ShortText | None = None
    wa_id: ShortText | None = None
    wa_camel: ShortText | None = None


class ContactEmail(msgspec.Struct):
    """One of a contact's e-mail addresses."""

    email: ShortText | None = None


class Contact(msgspec.Struct):
    """A contact that a user shared. What is not understood of it is left out."""

    name: msgspec.Raw = _NOTHING
    phones: msgspec.Raw = _NOTHING
    emails: msgspec.Raw = _NOTHING


def location_line(latitude: object, longitude: object, *names: str | None) -> str:
    """A place: its names, if it has any, and a link to the map."""
    place = ", ".join(name for name in names if name)
    link = f"https://maps.google.com/?q={latitude},{longitude}"
    return f"Ubicación: {place} {link}" if place else f"Ubicación: {link}"


def contacts_line(contacts: Sequence[msgspec.Raw]) -> str:
    """Contacts that the user shared, one a line; cut, with a mark, at the longest text."""
    lines: list[str] = []
    left = LONGEST_TEXT
    for contact in contacts:
        lines.append(f"Contacto: {_contact(contact)}")
        left -= len(lines[-1]) + 1
        if left < 0:
            break
    whole = "\n".join(lines)
    return whole if left >= 0 else whole[: LONGEST_TEXT - len(CUT)] + CUT


def reaction_line(emoji: str | None) -> str:
    """A reaction to an earlier message, or that it was taken back."""
    return f"Reacción: {emoji}" if emoji else "Reacción eliminada"


def sticker_line() -> str:
    """A sticker; its picture is not passed on."""
    return "Sticker"


def _contact(raw: msgspec.Raw) -> str:
    contact: Contact = _understood(raw, Contact) or Contact()
    return ", ".join([_name(contact.name), *_phones(contact.phones), *_emails(contact.emails)])


def _name(raw: msgspec.Raw) -> str:
    name: str | ContactName | None = _understood(raw, Title | ContactName)
    if isinstance(name, ContactName):
        name = name.formatted_name or name.formatted_camel or name.first_name or name.first_camel
    return name or "sin nombre"


def _phones(raw: msgspec.Raw) -> Iterator[str]:
    for phone in _each(raw, ContactPhone):
        if number := phone.phone or phone.wa_id or phone.wa_camel:
            yield number


def _emails(raw: msgspec.Raw) -> Iterator[str]:
    for email in _each(raw, ContactEmail):
        if email.email:
            yield email.email


def _each(raw: msgspec.Raw, shape: type[Shape]) -> Iterator[Shape]:
    for item in _understood(raw, RawList) or ():
        if understood := _understood(item, shape):
            yield understood


def _understood(raw: msgspec.Raw, shape: Any) -> Any:
    try:
        return msgspec.json.decode(raw, type=shape)
    except (msgspec.MsgspecError, RecursionError):
        return None
