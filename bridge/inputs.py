"""What a stranger may write: JSON bodies, ids and times, and how each is checked."""

from __future__ import annotations

import re
from collections.abc import Hashable
from functools import cache
from typing import Annotated, Any, TypeVar, cast

import msgspec

from bridge.errors import PayloadError

USER_ID_PATTERN = "^[A-Za-z0-9+][A-Za-z0-9+@._:-]{0,127}$"
SLUG_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"

# Characters of the longest text that a webhook may bring: at most 64 KiB as UTF-8, four times what WhatsApp allows.
LONGEST_TEXT = 16_384
LongText = Annotated[str, msgspec.Meta(max_length=LONGEST_TEXT)]
Title = Annotated[str, msgspec.Meta(max_length=1024)]
ShortText = Annotated[str, msgspec.Meta(max_length=255)]
FileUrl = Annotated[str, msgspec.Meta(max_length=4096)]
MessageId = Annotated[str, msgspec.Meta(max_length=512)]
Timestamp = int | float | ShortText | None

EARLIEST_MS = 1_000_000_000_000
SECONDS_END = 100_000_000_000
DAY_MS = 86_400_000

Shape = TypeVar("Shape")
_user_id = re.compile(USER_ID_PATTERN)


@cache
def _decoder(shape: Hashable) -> msgspec.json.Decoder[Any]:
    # Building one for each call takes longer than the decoding.
    return msgspec.json.Decoder(shape)


def decode(raw: bytes, shape: type[Shape]) -> Shape:
    """The JSON body as `shape`.

    Raises PayloadError for everything else: other bytes, another shape, lone surrogates, NaN, deep nesting.
    """
    try:
        # msgspec does not check the UTF-8 of strings that it skips.
        raw.decode()
        decoded: Shape = _decoder(cast(Hashable, shape)).decode(raw)
        return decoded
    except UnicodeDecodeError as error:
        raise PayloadError("invalid payload received : the body is not UTF-8") from error
    except RecursionError as error:
        raise PayloadError("invalid payload received : the body is nested too deep") from error
    except msgspec.ValidationError as error:
        raise PayloadError(f"invalid payload received : {error}") from error
    except msgspec.DecodeError as error:
        raise PayloadError("invalid payload received : the body is not JSON") from error


def checked_user_id(given: str) -> str:
    """The id, if all its characters are safe in a key, a path and a log. Raises PayloadError."""
    if _user_id.fullmatch(given):
        return given
    raise PayloadError("the user id must have 1 to 128 letters, digits or one of + @ . _ : -")


def moment_ms(given: Timestamp, now_ms: int) -> int:
    """A channel's timestamp in milliseconds. A small number is seconds; a senseless one gives `now_ms`.

    A message is worth more than its time: no delivery is refused for it.
    """
    try:
        number = float(given or 0)
    except (ValueError, OverflowError):
        return now_ms
    at_ms = number * 1000 if number < SECONDS_END else number
    return int(at_ms) if EARLIEST_MS <= at_ms <= now_ms + DAY_MS else now_ms
