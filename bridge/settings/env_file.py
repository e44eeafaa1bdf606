"""Reads the .env file that ENV_FILE names. A line that is not understood is a fault: its setting would be lost."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import msgspec
from dotenv.parser import Binding, parse_stream

from bridge.errors import SettingsError

_HAS_REMARK = re.compile(r"[^'\"\s].*?\s#")


class EnvFile(msgspec.Struct, frozen=True):
    """The variables of the file by their full names, and a sentence for each value that was cut short."""

    variables: dict[str, str] = {}
    warnings: list[str] = []


def read_env_file(path: Path) -> EnvFile:
    """The variables of a .env file. Raises SettingsError with one sentence: the file, the line, the cure."""
    bindings = list(parse_stream(StringIO(_text_of(path))))
    for binding in bindings:
        _check(path, binding)
    variables = {binding.key: binding.value for binding in bindings if binding.key and binding.value is not None}
    return EnvFile(variables, [_cut_short(path, binding) for binding in bindings if _is_cut_short(binding)])


def _text_of(path: Path) -> str:
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise SettingsError([f"ENV_FILE names {str(path)!r}, which cannot be read: {error.strerror}."]) from None
    except UnicodeDecodeError:
        raise SettingsError([f"ENV_FILE names {str(path)!r}, which cannot be read: not UTF-8."]) from None
    if text.lstrip().startswith("{"):
        raise SettingsError([f"ENV_FILE names {str(path)!r}, which looks like JSON; write NAME=value on each line."])
    return text


def _check(path: Path, binding: Binding) -> None:
    place = f"ENV_FILE names {str(path)!r}, and its line {_line(binding)}"
    if binding.error:
        raise SettingsError(
            [f"{place} is not understood; write NAME=value, and put a value with quotes in it into single quotes."]
        )
    if binding.key and binding.value is None:
        raise SettingsError([f"{place} has no '='; write NAME=value, or begin a remark with '#'."])


def _line(binding: Binding) -> int:
    """The number of its first line that is not empty."""
    written = binding.original.string
    blank = written[: len(written) - len(written.lstrip())]
    return binding.original.line + blank.count("\n")


def _is_cut_short(binding: Binding) -> bool:
    written = binding.original.string.partition("=")[2].strip()
    return bool(binding.key) and _HAS_REMARK.match(written) is not None


def _cut_short(path: Path, binding: Binding) -> str:
    return (
        f"{binding.key} in line {_line(binding)} of {str(path)!r} ends before ' #', which begins a remark; "
        "put the value into single quotes if '#' belongs to it."
    )
