"""`bridge dump`: shows the actors of every worker on this host, read from their ops sockets."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from bridge.errors import SettingsError
from bridge.ops.logs import escape
from bridge.ops.ops_socket import check_owner
from bridge.ops.settings_check import end_with
from bridge.settings.fields import Settings
from bridge.settings.sources import gather

_PATIENCE_S = 5.0  # for all workers of a host together
_LARGEST_DOCUMENT = 64 * 1024 * 1024
_COLUMNS = (
    "user", "state", "session", "health", "at_desk", "owed_to_agent", "owed_to_user", "mailbox", "last_poll_s", "agent"
)  # fmt: skip
_POOL_COLUMNS = ("name", "size", "busy", "queued", "retrying")

Document = Mapping[str, Any]


def socket_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Where the sockets are, by OPS_SOCKET_DIR; no other setting is needed to look."""
    try:
        given = gather(os.environ if environ is None else environ).given
    except SettingsError as error:
        end_with(error.faults)
    default = Settings.model_fields["ops_socket_dir"].get_default(call_default_factory=True, validated_data={})
    return Path(given.get("ops_socket_dir") or default)


class _Shape(msgspec.Struct):
    """The parts of an answer that the tables need; the rest is shown as it is."""

    worker: dict[str, Any] = {}
    registry: dict[str, Any] = {}
    interconnections: list[dict[str, Any]] = []
    pools: list[dict[str, Any]] = []


def documents(folder: Path) -> list[Document]:
    """The answer of each worker; a worker that does not answer, or answers another shape, is listed with its `error`.

    Raises PermissionError for a folder of another user, because its owner can answer in place of the workers.
    """
    try:
        check_owner(folder)
    except FileNotFoundError:
        return []
    deadline_s = time.monotonic() + _PATIENCE_S
    return [_ask(path, deadline_s) for path in sorted(folder.glob("bridge-*.sock"))]


def _ask(path: Path, deadline_s: float) -> Document:
    try:
        answer = msgspec.json.decode(_read(path, deadline_s), type=dict[str, Any])
        msgspec.convert(answer, _Shape)
    except (OSError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        return {"socket": path.name, "error": f"no answer: {error}"}
    return {**answer, "socket": path.name}


def _read(path: Path, deadline_s: float) -> bytes:
    document = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_left_s(deadline_s))
        connection.connect(str(path))
        while chunk := connection.recv(65_536):
            document += chunk
            if len(document) > _LARGEST_DOCUMENT:
                raise ValueError(f"more than {_LARGEST_DOCUMENT} bytes")
            connection.settimeout(_left_s(deadline_s))
    return bytes(document)


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError(f"not within {_PATIENCE_S:g} s")
    return left_s


def show(folder: Path, *, as_json: bool) -> bool:
    """Prints every worker, as tables or as one JSON document; says whether there was any.

    Raises SystemExit with a sentence when the folder cannot be trusted.
    """
    try:
        found = documents(folder)
    except PermissionError as error:
        sys.exit(f"{error}: run `bridge dump` as the user that the service runs as")
    if as_json:
        print(json.dumps({"workers": found}, indent=2))
        return bool(found)
    for document in found:
        _print(document)
    return bool(found)


def _print(document: Document) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(_title(document), markup=False, highlight=False, style="bold")
    if "error" in document:
        console.print(f"  {escape(str(document['error']))}", markup=False, highlight=False)
        return
    console.print(_table("Interconnections", _COLUMNS, document.get("interconnections", ())))
    console.print(_table("Pools", _POOL_COLUMNS, document.get("pools", ())))


def _title(document: Document) -> str:
    worker, registry = document.get("worker", {}), document.get("registry", {})
    parts = [
        f"worker {worker.get('pid', document['socket'])}",
        f"partitions {_cell(worker.get('partitions'))}",
        f"registry: {registry.get('interconnections', 0)} interconnections, mailbox {registry.get('mailbox', 0)}",
    ]
    return " · ".join(parts[:1] if "error" in document else parts)


def _table(title: str, columns: Iterable[str], rows: Iterable[Mapping[str, object]]) -> Any:
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    table = Table(*(column.replace("_", " ") for column in columns), title=title, title_justify="left", box=SIMPLE)
    for row in rows:
        table.add_row(*(Text(_SHORTENED.get(column, _cell)(row.get(column))) for column in columns))
    return table


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(held)}" for name, held in value.items())
    if isinstance(value, (list, tuple)):
        return f"{len(value)} of them" if len(value) > 8 else ", ".join(map(str, value))
    return "" if value is None else escape(str(value))


def _short_id(value: object) -> str:
    text = _cell(value)
    return text if len(text) <= 9 else f"{text[:8]}…"


_SHORTENED = {"session": _short_id}
