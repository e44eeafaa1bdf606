"""How the sandbox tells its story: who said what to whom, and what the service did, on any width of terminal."""

from __future__ import annotations

import io
import sys
from typing import TextIO

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

_WHO_WIDTH = 24
_NARROW = 72


class Narrator:
    """Writes to `out`, standard output by default; in colour on a terminal only."""

    def __init__(self, out: TextIO | None = None) -> None:
        out = out or sys.stdout
        if isinstance(out, io.TextIOWrapper):
            # A terminal that knows no arrows shows question marks rather than ending the story.
            out.reconfigure(errors="replace")
        self._console = Console(file=out, highlight=False, markup=False, emoji=False)

    def title(self, text: str) -> None:
        """Begins a part."""
        self._console.print()
        self._console.print(Text(text, style="bold"))
        self._console.print(Rule(style="dim"))

    def tell(self, text: str = "") -> None:
        """A sentence of the sandbox's own."""
        self._console.print(Text(text))

    def said(self, who: str, whom: str, text: str) -> None:
        """Words on their way from one to another."""
        parties, words = Text(f"{who} → {whom}", style="bold cyan"), Text(_closed_up(text))
        if self._console.width < _NARROW:
            self._console.print(parties)
            self._console.print(Padding(words, (0, 0, 0, 2)))
            return
        line = Table.grid(padding=(0, 2), expand=True)
        line.add_column(width=_WHO_WIDTH)
        line.add_column(ratio=1)
        line.add_row(parties, words)
        self._console.print(line)

    def did(self, text: str) -> None:
        """Something that the service did, or had done, on the way."""
        indent = 2 if self._console.width < _NARROW else _WHO_WIDTH + 2
        self._console.print(Padding(Text(f"· {text}", style="dim"), (0, 0, 0, indent)))

    def verbatim(self, text: str) -> None:
        """Something to copy: as it is, however wide the terminal."""
        self._console.print(Text(text), soft_wrap=True)


def _closed_up(text: str) -> str:
    return "\n".join(line for line in text.strip().splitlines() if line.strip())
