"""extraData of a connect: only the keys that the settings name are read (settings.md, "Connect")."""

from __future__ import annotations

import msgspec

from bridge.inputs import decode
from bridge.settings.load import Settings

# Keys with a fixed meaning. A list or an object in them is ignored, because only a text has a meaning there.
_FIXED = ("description", "AccountRecordTypeId")


class ExtraDataKeys:
    """The keys that are read. Bots send other keys as well, which the replaced service ignored."""

    def __init__(self, settings: Settings) -> None:
        self._mapped = frozenset(
            (
                *settings.sfc_custom_fields_case,
                *settings.sfc_custom_fields_contact,
                *settings.sfc_custom_fields_account,
                *settings.sfc_custom_fields_to_search_contact,
            )
        )
        self._read = self._mapped | {settings.sfc_source_flow_field, *_FIXED}

    def select(self, raw: msgspec.Raw) -> object:
        """The values of those keys; null is the same as missing. A list or an object stays only where a map names it.

        A value that is not an object is returned as it is, and the check refuses it. Raises PayloadError for bad JSON.
        """
        if not is_object(raw):
            return value_of(raw)
        given = decode(bytes(raw), dict[str, msgspec.Raw])
        values = {key: value_of(given[key]) for key in self._read & given.keys()}
        return {key: value for key, value in values.items() if self._means_something(key, value)}

    def _means_something(self, key: str, value: object) -> bool:
        return value is not None and (key in self._mapped or not isinstance(value, list | dict))


def is_object(raw: msgspec.Raw) -> bool:
    """Whether this is a JSON object."""
    return bytes(memoryview(raw)[:1]) == b"{"


def value_of(raw: msgspec.Raw) -> object:
    """The value; of a list or an object only that it is one, because a million empty lists take a second to build."""
    if is_object(raw):
        return {}
    return [] if bytes(memoryview(raw)[:1]) == b"[" else decode(bytes(raw), object)
