"""The results of the benchmark: one row for each question, as a table and as JSON."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table

INTRODUCTION = (
    "The last whole run, as `bridge bench --page ops/bench/results.md` writes it. How each row is measured stands in\n"
    "`ops/bench/`, one module a scene; what made it fast, in `ops/decisions/`."
)
LAST = Path(__file__).parent / ".build" / "last.json"


class Row(msgspec.Struct, kw_only=True):
    """One answer. `figures` are all the numbers behind it; `doubts` say why it may not be what it seems."""

    what: str
    measured: str
    floor: str
    goal: str
    reached: bool
    figures: dict[str, Any] = {}
    doubts: list[str] = []


class Report(msgspec.Struct, kw_only=True):
    """All of them, with the machine and the moment."""

    at: str
    machine: str
    command: str
    rows: list[Row]

    @property
    def reached(self) -> bool:
        """Whether every goal was."""
        return all(row.reached for row in self.rows)


def report(rows: list[Row], *, command: str) -> Report:
    """The report of this moment on this machine."""
    return Report(at=time.strftime("%Y-%m-%d %H:%M:%S %z"), machine=machine(), command=command, rows=rows)


def machine() -> str:
    """What it ran on, in a line."""
    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    python = platform.python_version()
    model = names[0] if names else platform.machine()
    return f"{os.cpu_count()} × {model}, {memory_gib:.0f} GiB, Python {python}, load {load:.1f}"


def table(found: Report) -> Table:
    """For a terminal."""
    shown = Table(title=f"bridge bench, {found.at}", caption=found.machine, show_lines=True)
    for name in ("what", "measured", "floor or ratio", "goal", "reached"):
        shown.add_column(name, overflow="fold")
    for row in found.rows:
        measured = "\n".join([row.measured, *(f"[yellow]doubt: {doubt}[/yellow]" for doubt in row.doubts)])
        shown.add_row(row.what, measured, row.floor, row.goal, "[green]yes[/green]" if row.reached else "[red]no[/red]")
    return shown


def markdown(found: Report) -> str:
    """For a page: the table with date, machine and command."""
    lines = ["# What was measured", "", INTRODUCTION, "", f"`{found.command}`, {found.at}, on {found.machine}.", ""]
    lines += ["| what | measured | floor or ratio | goal | reached |", "|---|---|---|---|---|"]
    for row in found.rows:
        measured = "; ".join([row.measured.replace("\n", "; "), *(f"doubt: {doubt}" for doubt in row.doubts)])
        floor = row.floor.replace("\n", "; ")
        lines.append(f"| {row.what} | {measured} | {floor} | {row.goal} | {'yes' if row.reached else 'no'} |")
    return "\n".join(lines) + "\n"


def write(found: Report, path: Path) -> None:
    """As JSON, indented."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
