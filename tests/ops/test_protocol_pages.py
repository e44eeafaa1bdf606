"""The pages of `ops/protocols/`: every citation leads to a section that exists, and no other document is cited."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "ops" / "protocols"
FOLDERS = ("bridge", "actors", "http", "ops", "tests")
SUFFIXES = {".py", ".lua", ".md", ".html", ".ini", ".toml", ".sh", ""}
MARKS = ("[documented]", "[seen]", "[assumed]")


class Citation(NamedTuple):
    """A document that a file names, and the section of it; no section means the whole page."""

    document: str
    section: str = ""


# --- the finder -------------------------------------------------------------------------------------------------------

_DOCUMENT = re.compile(r"(?<![\w/.-])([\w./-]*\w\.md)\b(?:, ((?:\"[^\"]+\"(?: and )?)+))?")
_LINK = re.compile(r"\]\([^)]*\)")
_NO_PAGE = re.compile(r"§ ?\d|\bseeds/\d|\bthe seeds\b")


def citations(text: str) -> Iterator[Citation]:
    """Every document that the text names with each section; a citation may go on in the next line."""
    joined = re.sub(r"\s*\n[ \t#>-]*", " ", _LINK.sub("]", text))
    for document, sections in _DOCUMENT.findall(joined):
        titles = re.findall(r'"([^"]+)"', sections)
        yield from (Citation(document, title) for title in titles or [""])


def titles(page: Path) -> list[str]:
    """The sections of a page, without its own title."""
    return re.findall(r"^##+ (.+?) *$", page.read_text("utf-8"), re.MULTILINE)


def fault_of(citation: Citation, near: Path) -> str:
    """What is wrong with a citation in the file `near`; empty when it leads somewhere."""
    page = PAGES / citation.document.removeprefix("ops/protocols/")
    if page.is_file():
        missing = citation.section and citation.section not in titles(page)
        return f"{citation.document} has no section {citation.section!r}" if missing else ""
    beside = [folder / citation.document for folder in (ROOT, near.parent, ROOT / "ops", ROOT / "ops" / "docs")]
    return "" if any(path.is_file() for path in beside) else f"there is no document {citation.document}"


def anchor(title: str) -> str:
    """A section's anchor, as Markdown viewers make it."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def files() -> list[Path]:
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if _is_ours(path)]
    return [ROOT / "README.md", ROOT / "setup.py", *found]


def _is_ours(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    linked = not path.resolve().is_relative_to(ROOT / parts[0])
    made = any(part.startswith(".") or part == "__pycache__" or part.endswith(".egg-info") for part in parts)
    return path.is_file() and not linked and not made and path.suffix in SUFFIXES and path != Path(__file__)


# --- the tree ---------------------------------------------------------------------------------------------------------


def test_every_citation_leads_to_a_section_that_exists() -> None:
    found = [(path, citation) for path in files() for citation in citations(path.read_text("utf-8"))]
    faults = [f"{path.relative_to(ROOT)}: {fault}" for path, cited in found if (fault := fault_of(cited, path))]
    assert faults == []
    assert len([cited for _, cited in found if cited.section]) > 50


def test_no_section_is_cited_by_a_number_and_no_source_outside_the_project() -> None:
    assert [path for path in files() if _NO_PAGE.search(path.read_text("utf-8"))] == []


def test_every_link_of_a_page_leads_to_a_file_and_a_section() -> None:
    broken = []
    for page in [ROOT / "README.md", *(ROOT / "ops").rglob("*.md")]:
        if not _is_ours(page):
            continue
        for name, section in re.findall(r"\]\((?!\w+://)([^)#\s]*)#?([^)\s]*)\)", page.read_text("utf-8")):
            target = (page.parent / name).resolve() if name else page
            known = (
                {anchor(title) for title in titles(target)} if target.suffix == ".md" and target.is_file() else set()
            )
            if not target.exists() or (section and section not in known):
                broken.append(f"{page.relative_to(ROOT)} links to {name}#{section}")
    assert broken == []


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.name)
def test_the_index_of_protocols_lists_every_page(page: Path) -> None:
    assert page.name == "README.md" or f"[{page.name}]({page.name})" in (PAGES / "README.md").read_text("utf-8")


@pytest.mark.parametrize("page", sorted(set(PAGES.glob("*.md")) - {PAGES / "README.md"}), ids=lambda page: page.name)
def test_every_section_says_how_sure_its_facts_are(page: Path) -> None:
    parts = re.split(r"^## (.+)$", page.read_text("utf-8"), flags=re.MULTILINE)[1:]
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    assert [title for title, body in sections.items() if title != "Sources" and not any(m in body for m in MARKS)] == []


# --- the finder itself ------------------------------------------------------------------------------------------------


def faults(text: str) -> list[str]:
    return [fault for citation in citations(text) if (fault := fault_of(citation, ROOT / "README.md"))]


def test_the_finder_sees_a_section_that_is_missing() -> None:
    assert faults('"""Ends the chat (liveagent.md, "Shouting")."""') == ["liveagent.md has no section 'Shouting'"]
    assert faults('# ops/protocols/botflow.md, "Delays" and "Hurry"') == [
        "ops/protocols/botflow.md has no section 'Hurry'"
    ]


def test_the_finder_sees_a_citation_over_two_lines() -> None:
    assert faults('    # The rule (liveagent.md,\n    # "Shouting").') == ["liveagent.md has no section 'Shouting'"]
    assert faults('    The rule (liveagent.md, "Two polls\n    at once").') == []


def test_the_finder_sees_a_document_that_is_not_in_the_project() -> None:
    assert faults("As in elsewhere.md.") == ["there is no document elsewhere.md"]
    assert faults("As in ops/bench/results.md.") == []


def test_the_finder_knows_what_leads_somewhere() -> None:
    text = 'liveagent.md, "Long poll" and "Reconnect"; botflow.md'
    assert list(citations(text)) == [
        Citation("liveagent.md", "Long poll"),
        Citation("liveagent.md", "Reconnect"),
        Citation("botflow.md"),
    ]
    assert faults(text) == []
