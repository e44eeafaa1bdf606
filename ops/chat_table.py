"""The chat's table as a page: `python -m bridge.ops.chat_table` writes `ops/docs/chat-table.md`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from bridge.chat.table import TABLE
from bridge.events import Event
from bridge.records import ChatState

PAGE = Path(__file__).resolve().parent / "docs/chat-table.md"

_HEAD = """\
# The table of a chat

Made by `python -m bridge.ops.chat_table` from `TABLE` in `bridge/chat/table.py`; a test fails when it is not
current. An event that has no row in a state changes nothing there. Actions (`bridge/chat/actions/`) change the
record of the chat, and nothing else; the commands that follow are read off the record (`bridge/chat/pending.py`).
A chat leaves `closing` by itself when nothing is pending any more.

```mermaid
stateDiagram-v2
    [*] --> new"""
_SETTLED = """\
    closing --> closed: nothing is pending
    closing --> failed: nothing is pending
    closed --> [*]
    failed --> [*]
```

## Overview
"""


def chat_table() -> str:
    """The page: a Mermaid diagram of the changes of state, an overview, and a table for each state."""
    return "\n".join([_HEAD, *_arrows(), _SETTLED, *_overview(), *_states()])


def main() -> None:
    """Writes the page."""
    PAGE.write_text(chat_table(), "utf-8")
    print(f"wrote {PAGE}")


def _arrows() -> Iterator[str]:
    """One arrow for each pair of states, with the events that lead from one to the other."""
    for before, row in TABLE.items():
        events: dict[str, list[str]] = defaultdict(list)
        for event, cell in row.items():
            if cell.state is not before:
                events[cell.state.value].append(event.__name__)
        yield from (f"    {before.value} --> {after}: {', '.join(names)}" for after, names in events.items())


def _states() -> Iterator[str]:
    for state, row in TABLE.items():
        yield from (f"## State: {state.value}", "")
        if not row:
            yield from ("No event changes anything.", "")
            continue
        yield from ("| event | next state | actions |", "|---|---|---|")
        for event, cell in row.items():
            after = "" if cell.state is state else cell.state.value
            yield f"| {event.__name__} | {after} | {', '.join(map(_name, cell.actions))} |"
        yield ""


def _overview() -> Iterator[str]:
    """Events × states; a cell is the next state, `stays`, or empty where the event has no row."""
    rows = {state: row for state, row in TABLE.items() if row}
    events = list(dict.fromkeys(event for row in rows.values() for event in row))
    yield from ("| event | " + " | ".join(state.value for state in rows) + " |", "|---" * (len(rows) + 1) + "|")
    for event in sorted(events, key=lambda event: event.__name__):
        yield f"| {event.__name__} | " + " | ".join(_next(state, event) for state in rows) + " |"
    yield ""


def _next(state: ChatState, event: type[Event]) -> str:
    cell = TABLE[state].get(event)
    if cell is None:
        return ""
    return "stays" if cell.state is state else f"→ {cell.state.value}"


def _name(act: Callable[..., object]) -> str:
    return getattr(act, "__name__", repr(act))


if __name__ == "__main__":
    main()
