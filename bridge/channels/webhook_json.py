"""JSON of webhooks, read as the replaced service read it: keys in any case, half an emoji as U+FFFD."""

from __future__ import annotations

import re

import msgspec

MOST_KEYS = 20_000
# In valid JSON only a key is followed by a colon, so no text is taken for one.
_KEY = re.compile(rb'"([A-Za-z_]{2,32})"(?=\s*:)')
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
# Every escape is matched from its backslash on, so that `\\ud83d`, a backslash and five characters, is not mistaken.
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)


class WebhookJson:
    """Gives the keys of a body the case in which `shapes` name them, and mends what would make all of it unreadable."""

    def __init__(self, *shapes: type[msgspec.Struct]) -> None:
        self._known = {key.encode() for shape in shapes for key in _keys(shape)}
        self._by_lower = {key.lower(): key for key in self._known}

    def normalized(self, raw: bytes) -> bytes:
        """The body as the shapes expect it. Keys stay as they are where there are more than MOST_KEYS of them."""
        if _HALF.search(raw):
            raw = _ESCAPE.sub(_whole, raw)
        found = _KEY.findall(raw)
        if len(found) > MOST_KEYS or not any(key.lower() in self._by_lower for key in {*found} - self._known):
            return raw
        return _KEY.sub(self._named, raw)

    def _named(self, match: re.Match[bytes]) -> bytes:
        return b'"%s"' % self._by_lower.get(match[1].lower(), match[1])


def _whole(match: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if match["half"] else match[0]


def _keys(shape: type[msgspec.Struct]) -> tuple[str, ...]:
    tag_field = shape.__struct_config__.tag_field
    return (*shape.__struct_encode_fields__, *([tag_field] if tag_field else []))
