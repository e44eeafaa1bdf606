"""Strikes a user's own data from the sentences of remotes: some answer with what they were sent."""

from __future__ import annotations

import re
from functools import lru_cache

from bridge.errors import BridgeError
from bridge.messages import ConnectRequest

STRUCK = "***"
# A shorter value would strike parts of ordinary words.
_SHORTEST = 3
_LOCAL_DIGITS = 10


def strike(error: BridgeError, request: ConnectRequest) -> None:
    """Strikes name, e-mail, phone number and user id of a chat's request from the sentence of an error."""
    error.args = tuple(_pattern(request).sub(STRUCK, part) if isinstance(part, str) else part for part in error.args)


def _pattern(request: ConnectRequest) -> re.Pattern[str]:
    return _compiled((request.name, request.email, request.phone_number, request.user_id))


@lru_cache(maxsize=1024)
def _compiled(values: tuple[str, ...]) -> re.Pattern[str]:
    numbers = {re.sub(r"\D", "", value)[-_LOCAL_DIGITS:] for value in values[2:]}
    words = {word for value in (*values, *numbers) for word in (value, value.strip()) if len(word) >= _SHORTEST}
    # The longest first, so that no part of it is left.
    alternatives = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(alternatives or r"(?!)", re.IGNORECASE)
