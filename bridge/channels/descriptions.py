"""What is not text, said in a line that an agent can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def location_line(latitude: object, longitude: object, *names: str | None) -> str:
    """A place: its names, if it has any, and a link to the map."""
    place = ", ".join(name for name in names if name)
    link = f"https://maps.google.com/?q={latitude},{longitude}"
    return f"Ubicación: {place} {link}" if place else f"Ubicación: {link}"


def contacts_line(contacts: Sequence[Mapping[str, object]]) -> str:
    """Contacts that the user shared, one a line."""
    return "\n".join(f"Contacto: {_contact(contact)}" for contact in contacts)


def reaction_line(emoji: str | None) -> str:
    """A reaction to an earlier message, or that it was taken back."""
    return f"Reacción: {emoji}" if emoji else "Reacción eliminada"


def sticker_line() -> str:
    """A sticker; what is on it stays with the user."""
    return "Sticker"


def _contact(contact: Mapping[str, object]) -> str:
    phones = _each(contact.get("phones"), "phone", "wa_id", "waId")
    emails = _each(contact.get("emails"), "email")
    return ", ".join([_name(contact.get("name")), *phones, *emails])


def _name(name: object) -> str:
    if isinstance(name, Mapping):
        return _first(name, "formatted_name", "formattedName", "first_name", "firstName") or "sin nombre"
    return name if isinstance(name, str) and name else "sin nombre"


def _each(entries: object, *keys: str) -> list[str]:
    listed = entries if isinstance(entries, list) else []
    return [value for entry in listed if isinstance(entry, Mapping) and (value := _first(entry, *keys))]


def _first(mapping: Mapping[str, object], *keys: str) -> str:
    values = (mapping.get(key) for key in keys)
    return next((value for value in values if isinstance(value, str) and value), "")
