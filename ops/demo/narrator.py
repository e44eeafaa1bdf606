"""How the sandbox tells its story: who said what to whom, and what the service did, on any width of terminal."""

from __future__ import annotations

import io
import sys
from typing import TextIO

from rich.console import Console
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
            # On a terminal without arrows print question marks instead of raising UnicodeEncodeError.
            out.reconfigure(errors="replace")
        self._console = Console(file=out, highlight=False, markup=False, emoji=False)
        self._narrow = self._console.width < _NARROW

    def title(self, text: str) -> None:
        """Begins a part."""
        self.result(text)
        self._console.print(Rule(style="dim"))

    def result(self, text: str) -> None:
        """Says how it went."""
        self._console.print()
        self._console.print(Text(text, style="bold"))

    def tell(self, text: str = "") -> None:
        """A sentence of the sandbox's own."""
        self._console.print(Text(text))

    def said(self, who: str, whom: str, text: str) -> None:
        """A text from one person to another."""
        parties, words = Text(f"{who} → {whom}", style="bold cyan"), Text(_closed_up(text))
        if self._narrow:
            self._console.print(parties)
            self._row(2, Text(), words)
        else:
            self._row(_WHO_WIDTH, parties, words)

    def did(self, text: str) -> None:
        """One thing that the service did."""
        mark = Text("·", style="dim", justify="right")
        self._row(2 if self._narrow else _WHO_WIDTH, mark, Text(text, style="dim"))

    def verbatim(self, text: str) -> None:
        """Text to copy: not wrapped, whatever the width of the terminal."""
        self._console.print(Text(text), soft_wrap=True)

    def _row(self, width: int, left: Text, right: Text) -> None:
        row = Table.grid(padding=(0, 1))
        row.add_column(width=width)
        row.add_column()
        row.add_row(left, right)
        self._console.print(row)


def _closed_up(text: str) -> str:
    return "\n".join(line for line in text.strip().splitlines() if line.strip())
