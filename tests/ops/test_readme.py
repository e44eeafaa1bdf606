"""The README: short, its settings load, its sections are what a newcomer needs."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import pytest

from bridge.errors import SettingsError
from bridge.settings.faults import PLACEHOLDERS
from bridge.settings.load import load_settings, warnings_about

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_settings_of_the_example_are_enough_to_start_with(tmp_path: Path) -> None:
    [example] = re.findall(r"^ *```ini\n(.*?)^ *```$", section("Run it"), re.DOTALL | re.MULTILINE)
    env_file = tmp_path / ".env"
    env_file.write_text(re.sub("^ +", "", example, flags=re.MULTILINE))
    environ = {"ENV_FILE": str(env_file)}
    with pytest.raises(SettingsError) as caught:
        load_settings(environ)
    assert {fault.partition(" is still the placeholder")[1] for fault in caught.value.faults} == {
        " is still the placeholder"
    }, "only the secrets are to be replaced"
    for placeholder in PLACEHOLDERS:
        example = example.replace(f"={placeholder}\n", f"={uuid.uuid4().hex}\n")
    env_file.write_text(re.sub("^ +", "", example, flags=re.MULTILINE))
    settings = load_settings(environ)
    assert settings.workers == 2
    assert settings.sfc_login_flow == "password"
    assert settings.integrations_wa_bot_id == "shop-wa"
    assert warnings_about(environ) == []


@pytest.mark.parametrize("folder", ["ops/docs", "ops/protocols", "ops/decisions"])
def test_it_leads_to_every_folder_of_pages(folder: str) -> None:
    pages = {page.name for page in (ROOT / folder).glob("*.md")}
    linked = set(re.findall(rf"\]\({folder}/([\w.-]+)\)", README))
    assert linked == ({"README.md"} if "README.md" in pages else pages)


@pytest.mark.parametrize("page", ["LICENSE", "CHANGELOG.md", "CONTRIBUTING.md"])
def test_it_links_to_what_the_root_cannot_hold(page: str) -> None:
    assert f"](ops/{page})" in README


def test_it_begins_with_five_sentences_and_a_glossary() -> None:
    opening = README.partition("\n\n")[2].partition("\n\n")[0]
    assert len(re.findall(r"[.:](?= |\n|$)", opening)) <= 8
    assert section("Words").count("\n| ") >= 10


def test_it_is_short_enough_to_be_read() -> None:
    assert len(README.splitlines()) <= 130
