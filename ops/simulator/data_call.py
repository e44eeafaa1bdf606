"""One call of the data API and its answer, top-level or inside a composite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class DataCall(msgspec.Struct, kw_only=True):
    """One request, top-level or inside a composite; header names in lower case."""

    method: str
    path: str
    params: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    body: Any = None
    version: str = ""


class DataAnswer(msgspec.Struct):
    """Status and JSON body; bytes for a file."""

    status: int
    body: Any = None
