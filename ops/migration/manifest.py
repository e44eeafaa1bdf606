"""The variables of an old service, read from where an operator has them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from dotenv import dotenv_values

from bridge.errors import SettingsError
from bridge.settings.sources import PREFIXES


def read_manifest(path: Path) -> dict[str, str]:
    """The variables in a file: KEY=value lines, or what `kubectl get deployment NAME -o json` prints.

    Names lose their prefix. A value that comes from a Secret or a ConfigMap is not in the manifest: it counts as given,
    with a text that says so. Raises SettingsError.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path} cannot be read: {error}."]) from error
    found = _from_json(path, text) if text.lstrip().startswith("{") else _from_lines(text)
    return without_prefixes(found)


def without_prefixes(variables: Mapping[str, str]) -> dict[str, str]:
    """The same variables by their names without a prefix; what has no prefix of ours is left out."""
    return {
        name.removeprefix(prefix): text
        for prefix in PREFIXES
        for name, text in variables.items()
        if name.startswith(prefix)
    }


def _from_lines(text: str) -> dict[str, str]:
    parsed = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {name: value for name, value in parsed.items() if value is not None}


def _from_json(path: Path, text: str) -> dict[str, str]:
    try:
        document = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise SettingsError([f"{path} is not JSON: {error}."]) from error
    return {entry["name"]: _value(entry) for entry in _entries(document) if isinstance(entry.get("name"), str)}


def _entries(document: Any) -> Iterator[dict[str, Any]]:
    """Every entry of every list called `env`, however deep it lies: a Deployment, a List of them or a bare Pod."""
    if isinstance(document, list):
        for part in document:
            yield from _entries(part)
    elif isinstance(document, dict):
        for name, part in document.items():
            if name == "env" and isinstance(part, list):
                yield from (entry for entry in part if isinstance(entry, dict))
            else:
                yield from _entries(part)


def _value(entry: dict[str, Any]) -> str:
    # Long enough that a secret which is not shown is not taken for a short one.
    return str(entry["value"]) if "value" in entry else "(not in the manifest: it comes from a Secret or ConfigMap)"
