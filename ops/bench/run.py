"""The whole benchmark: scene after scene, one table, one JSON file."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from bridge.ops.bench import connects, crowd, relay, webhooks, workers
from bridge.ops.bench.plan import FULL, QUICK, Plan
from bridge.ops.bench.report import Report, Row, markdown, report, table, write

Scene = Callable[[Plan], list[Row]]


def run(*, quick: bool, path: Path, only: list[str], page: Path | None = None) -> Report:
    """Plays the scenes (all, or `only` those), prints the table, writes the JSON and, when asked, a page."""
    console = Console()
    if shutil.which("redis-server") is None:
        raise RuntimeError("redis-server is not installed, and nothing is measured without it")
    began_s = time.monotonic()

    def say(sentence: str) -> None:
        console.print(f"[dim]{time.monotonic() - began_s:5.0f} s[/dim]  {sentence}")

    rows: list[Row] = []
    for name, play in _scenes(say).items():
        if only and name not in only:
            continue
        say(name)
        rows += play(QUICK if quick else FULL)
    found = report(rows, command=_command(quick=quick, only=only))
    console.print(table(found))
    write(found, path)
    if page is not None:
        page.write_text(markdown(found), "utf-8")
    say(f"all figures are in {path}")
    return found


def _scenes(say: Callable[[str], None]) -> dict[str, Scene]:
    return {
        "webhooks": webhooks.play,
        "relay": relay.play,
        "workers": workers.play,
        "connects": connects.play,
        "crowd": lambda plan: crowd.play(plan, say),
    }


def _command(*, quick: bool, only: list[str]) -> str:
    return " ".join(["bridge bench", *(["--quick"] if quick else []), *(f"--only {name}" for name in only)])
