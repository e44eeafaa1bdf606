"""What the actors of every worker on this host are doing, asked over their ops sockets."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bridge.errors import SettingsError
from bridge.ops.logs import escape
from bridge.ops.settings_check import end_with
from bridge.settings.fields import Settings
from bridge.settings.sources import gather

_SLOWEST_WORKER_S = 5.0
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


def documents(folder: Path) -> list[Document]:
    """What each worker answers; one that does not answer is told with its `error`."""
    return [_ask(path) for path in sorted(folder.glob("bridge-*.sock"))]


def _ask(path: Path) -> Document:
    try:
        answer: Document = json.loads(_read(path))
    except (OSError, ValueError) as error:
        return {"socket": path.name, "error": f"no answer: {error}"}
    return {"socket": path.name, **answer}


def _read(path: Path) -> bytes:
    chunks: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_SLOWEST_WORKER_S)
        connection.connect(str(path))
        while (chunk := connection.recv(65_536)) and len(chunks) * 65_536 < _LARGEST_DOCUMENT:
            chunks.append(chunk)
    return b"".join(chunks)


def show(folder: Path, *, as_json: bool) -> bool:
    """Prints every worker, as tables or as one JSON document; says whether there was any."""
    found = documents(folder)
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
