"""Context as the store keeps it: a sorted set a user, in the order of arrival."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from bridge.records import ContextEntry

# Larger scores are an arrival in microseconds. An earlier version kept the sender's time in milliseconds.
MICROSECONDS = 1e14


class _StoredContext(msgspec.Struct, array_like=True):
    """A context entry with its message's id, so that two equal texts of one moment stay two."""

    message_id: str
    entry: ContextEntry


def encode_context(message_id: str, entry: ContextEntry) -> bytes:
    """A member of the set."""
    return msgspec.json.encode(_StoredContext(message_id, entry))


def decode_context(members: Iterable[tuple[bytes, float]], *, oldest_ms: int) -> list[ContextEntry]:
    """The entries that came at `oldest_ms` or later, of members with their scores."""
    kept = (member for member, score in members if _arrival_ms(score) >= oldest_ms)
    return [msgspec.json.decode(member, type=_StoredContext).entry for member in kept]


def _arrival_ms(score: float) -> float:
    return score / 1000 if score > MICROSECONDS else score
