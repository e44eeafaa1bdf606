"""The pages in `ops/docs/`: settings are the code's, examples are answered as they say, files that they name exist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import house_plan
import pytest

from bridge.codecs.salesforce.rest import ADVICE
from bridge.http.operations import OPERATIONS
from bridge.ops.service_process import ServiceProcess
from bridge.ops.settings_table import BEGIN, END, settings_table
from bridge.ops.simulator.environ import sandbox_environ
from bridge.ops.simulator.server import Simulator
from bridge.settings.load import variable_name

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "ops" / "docs"
SETTINGS = (DOCS / "settings.md").read_text("utf-8")
OPERATING = (DOCS / "operating.md").read_text("utf-8")
HOUSE = (DOCS / "house.md").read_text("utf-8")
API = (DOCS / "api.md").read_text("utf-8")
PROTOCOLS_AND_DECISIONS = [*(ROOT / "ops/protocols").glob("*.md"), *(ROOT / "ops/decisions").glob("*.md")]
HAND_WRITTEN = [ROOT / "README.md", ROOT / "ops" / "CONTRIBUTING.md", *DOCS.glob("*.md")]


# --- settings ---------------------------------------------------------------------------------------------------------


def table() -> str:
    return SETTINGS.partition(BEGIN)[2].partition(END)[0].strip()


def test_the_table_of_settings_is_current() -> None:
    assert table() == settings_table().strip(), "run `.venv/bin/python -m bridge.ops.settings_table`"


def test_every_setting_that_a_page_names_exists() -> None:
    prose = "\n".join(page.read_text("utf-8") for page in HAND_WRITTEN).replace(table(), "")
    groups = (
        "REDIS|INTEGRATIONS|SFC|BOTRUNNER|MAX|DELIVERY|SESSION|WEBHOOK|BODY|MAILBOX|ENV|SECRETS|SECRET|MAIN|TRUSTED"
    )
    named = set(re.findall(rf"\b(?:{groups})_[A-Z_]+[A-Z]\b", prose))
    assert {name for name in named if f"`SALESFORCE_INTEGRATION_{name}`" not in table()} == set()
    assert len(named) > 15


# --- what they say of the code ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [*HAND_WRITTEN, *PROTOCOLS_AND_DECISIONS], ids=lambda page: page.name)
def test_every_file_and_folder_that_a_page_names_is_there(page: Path) -> None:
    there = {path.relative_to(ROOT).as_posix() for folder in _folders() for path in folder.rglob("*")}
    text = page.read_text("utf-8")
    modules = set(re.findall(r"[\w./]*\w\.(?:py|lua)\b", text))
    folders = {name.rstrip("/") for name in re.findall(r"`((?:bridge|actors|http|ops|tests)/[\w./-]*)`", text)}
    missing = {name for name in modules | folders if not any(f"/{path}".endswith(f"/{name}") for path in there)}
    assert {name for name in missing if not (ROOT / name).exists()} == set()


def test_the_walk_through_the_house_names_every_folder_of_code() -> None:
    table_of_folders = HOUSE.partition("## Folders\n")[2].partition("\n## ")[0]
    folders = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "ops").glob("*/*.py")}
    folders |= {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "actors").glob("*/*.py")}
    folders |= {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "bridge").glob("[!aho]*/*.py")}
    assert {folder for folder in folders if f"`{folder}/`" not in table_of_folders} == set()
    assert len(folders) > 12


def _folders() -> list[Path]:
    return [ROOT / name for name in ("bridge", "actors", "http", "ops", "tests")]


@pytest.mark.parametrize("page", [*HAND_WRITTEN, *PROTOCOLS_AND_DECISIONS], ids=lambda page: page.name)
def test_a_page_uses_plain_words(page: Path) -> None:
    own_words = re.sub(r'"[^"\n]*"|`[^`\n]*`', "", page.read_text("utf-8"))
    assert house_plan.BANNED.findall(own_words) == []


def test_every_error_that_the_code_has_advice_for_is_explained() -> None:
    assert {code for code in ADVICE if f"`{code}`" not in OPERATING} == set()


# --- the API by example -----------------------------------------------------------------------------------------------


class Example(NamedTuple):
    """A command of the page, and the answer that it promises; `…` stands for anything."""

    command: str
    answer: str

    def fits(self, given: str) -> bool:
        wanted = ".*".join(map(re.escape, self.answer.split("…")))
        return re.fullmatch(wanted, given.strip(), re.DOTALL) is not None


def examples() -> list[Example]:
    [block] = re.findall(r"^```bash\n(.*?)^```$", API, re.DOTALL | re.MULTILINE)
    parts = re.findall(r"((?:^(?!#>).*\n)+)^#> ?(.*)$", block, re.MULTILINE)
    return [Example(command, answer) for command, answer in parts]


def test_every_operation_of_the_api_has_an_example() -> None:
    shown = "\n".join(example.command for example in examples())
    for operation in OPERATIONS:
        path = re.escape(operation.path).replace(r"\{user_id\}", r"\d+").replace(r"\{provider\}", r"\w+")
        assert re.search(rf"\$BRIDGE{path}(?=[\s?])", shown), operation.path
    assert len(examples()) > len(OPERATIONS)


def test_the_examples_fit_the_sandbox_as_they_stand() -> None:
    password = sandbox_environ("")[variable_name("yalo_password")]
    assert examples()[0].command == (
        f"BRIDGE=${{BRIDGE:-http://localhost:8080}}\nYALO_PASSWORD=${{YALO_PASSWORD:-{password}}}\n"
    )


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl to try the examples with")
def test_every_example_is_answered_as_it_says(tmp_path: Path) -> None:
    with (
        Simulator() as simulator,
        ServiceProcess(sandbox_environ(simulator.url, ops_socket_dir=str(tmp_path))) as service,
    ):
        answers = _tried(service)
    Path(service.log.name).unlink()
    for example, answer in zip(examples(), answers, strict=True):
        assert example.fits(answer), (example.command, answer)


def _tried(service: ServiceProcess) -> list[str]:
    """What each example is answered, in one shell, so that a later one may use what an earlier one set."""
    mark = "-- next --"
    script = f"\necho '{mark}'\n".join(example.command for example in examples())
    environ = {"PATH": os.environ["PATH"], "BRIDGE": service.url}
    ran = subprocess.run(["bash", "-c", script], env=environ, capture_output=True, text=True, timeout=40, check=False)
    assert ran.stderr == ""
    return ran.stdout.split(mark)
