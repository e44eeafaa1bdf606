"""The decisions: an index that lists every page, and one form for all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "ops" / "decisions"
PAGES = sorted(FOLDER.glob("[0-9]*.md"))
HEADINGS = ["Context", "Decision", "Figures", "Consequence"]
each = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@each
def test_a_decision_has_number_title_date_and_the_four_headings(page: Path) -> None:
    text = page.read_text("utf-8")
    assert re.match(rf"# {page.name[:4]} \S.*\n\n\d{{4}}-\d\d-\d\d\n\n## ", text)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS


@each
def test_a_decision_is_in_the_index_under_its_title_and_date(page: Path) -> None:
    title, date = page.read_text("utf-8").split("\n", 3)[0:3:2]
    row = f"| [{title.removeprefix('# ')}]({page.name}) | {date} | "
    assert row in (FOLDER / "README.md").read_text("utf-8")


def test_no_two_decisions_share_a_number() -> None:
    numbers = [page.name[:4] for page in PAGES]
    assert numbers == sorted(set(numbers))


def test_the_folder_holds_decisions_and_their_index_only() -> None:
    assert set(FOLDER.iterdir()) == {*PAGES, FOLDER / "README.md"}
