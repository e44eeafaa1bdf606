"""The body of a poll's answer: strict JSON first, then whatever can be read of it (liveagent.md, "Long poll")."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import msgspec

from bridge.errors import RemoteGarbled
from bridge.wire import HttpReply, parse

_LARGEST = 2**63 - 1
_SEQUENCE = re.compile(rb'"sequence"\s*:\s*"?(\d{1,18})(?![\d.eE])')


class Batch(msgspec.Struct, frozen=True):
    """What one poll brought: its number, its messages, and where the event stream of the desk is."""

    sequence: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)]
    messages: list[Any] = []
    offset: Any = 0


class Unreadable(RemoteGarbled):
    """A batch that cannot be read; `sequence` is its number."""

    def __init__(self, sentence: str, *, sequence: int) -> None:
        super().__init__(sentence, status=200)
        self.sequence = sequence


def read_batch(reply: HttpReply) -> Batch:
    """The batch in an answer. Raises RemoteGarbled; Unreadable where only its number can be read."""
    try:
        return parse(reply, Batch)
    except RemoteGarbled as error:
        batch = _leniently(reply.body)
        if batch is not None:
            return batch
        if number := _SEQUENCE.search(reply.body):
            raise Unreadable(str(error), sequence=int(number.group(1))) from error
        raise


def _leniently(body: bytes) -> Batch | None:
    """The batch although it holds broken characters, half of an emoji, a number as text, or no list of messages."""
    try:
        found = json.loads(body.decode("utf-8", "replace"))
        sequence = int(found["sequence"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if not 0 <= sequence <= _LARGEST:
        return None
    messages = found.get("messages") or []
    return Batch(sequence, _clean(messages) if isinstance(messages, list) else [messages], found.get("offset", 0))


def _clean(value: Any) -> Any:
    """The value without lone surrogates, which no JSON encoder writes."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(name): _clean(item) for name, item in value.items()}
    return value
