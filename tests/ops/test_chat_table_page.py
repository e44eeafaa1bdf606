"""The page of the chat's table: it is current, and it holds every cell."""

from __future__ import annotations

import pytest

from bridge.chat.table import TABLE
from bridge.ops.chat_table import PAGE, chat_table
from bridge.records import ChatState


def test_the_page_of_the_table_is_current() -> None:
    assert PAGE.read_text("utf-8") == chat_table(), "run `.venv/bin/python -m bridge.ops.chat_table`"


@pytest.mark.parametrize("state", ChatState)
def test_the_page_has_a_row_for_every_event_of_a_state(state: ChatState) -> None:
    section = chat_table().partition(f"## State: {state.value}\n")[2].partition("\n## ")[0]
    rows = [line.split(" | ")[0].removeprefix("| ") for line in section.splitlines() if line.startswith("| ")]
    assert rows[1:] == [event.__name__ for event in TABLE[state]]


def test_the_diagram_has_an_arrow_for_every_change_of_state() -> None:
    diagram = chat_table().partition("```mermaid\n")[2].partition("```")[0]
    arrows = {tuple(line.strip().partition(":")[0].split(" --> ")) for line in diagram.splitlines() if " --> " in line}
    changes = {
        (before.value, cell.state.value)
        for before, row in TABLE.items()
        for cell in row.values()
        if cell.state is not before
    }
    settled = {("closing", "closed"), ("closing", "failed")}
    ends = {("[*]", "new"), ("closed", "[*]"), ("failed", "[*]")}
    assert arrows == changes | settled | ends
