"""The README: its table of settings is the code's, its settings load, its examples are answered as it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from bridge.codecs.salesforce.rest import ADVICE
from bridge.http.operations import OPERATIONS
from bridge.ops.service_process import ServiceProcess
from bridge.ops.settings_table import settings_table
from bridge.ops.simulator.environ import sandbox_environ
from bridge.ops.simulator.server import Simulator
from bridge.settings.load import load_settings, unknown_variables, variable_name

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
BEGIN, END = "<!-- settings: `bridge settings` -->\n", "<!-- end of settings -->"


def table() -> str:
    return README.partition(BEGIN)[2].partition(END)[0].strip()


def section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)


# --- settings ---------------------------------------------------------------------------------------------------------


def test_the_table_of_settings_is_what_bridge_settings_prints() -> None:
    assert table() == settings_table().strip(), "paste what `bridge settings` prints between the two markers"


def test_the_settings_of_the_example_are_enough_to_start_with(tmp_path: Path) -> None:
    (example,) = blocks("ini", section("Run it"))
    env_file = tmp_path / ".env"
    env_file.write_text(re.sub("^ +", "", example, flags=re.MULTILINE))
    environ = {"ENV_FILE": str(env_file)}
    settings = load_settings(environ)
    assert settings.workers == 2
    assert settings.sfc_login_flow == "password"
    assert settings.integrations_wa_bot_id == "shop-wa"
    assert unknown_variables(environ) == []


def test_every_setting_that_it_speaks_of_exists() -> None:
    prose = README.replace(table(), "")
    groups = "REDIS|INTEGRATIONS|SFC|BOTRUNNER|MAX|DELIVERY|SESSION|WEBHOOK|BODY|MAILBOX|ENV|SECRETS|SECRET|MAIN|YALO"
    spoken = set(re.findall(rf"\b(?:{groups})_[A-Z_]+[A-Z]\b", prose)) - {"YALO_ROLE"}
    assert {name for name in spoken if f"`SALESFORCE_INTEGRATION_{name}`" not in table()} == set()
    assert len(spoken) > 15


# --- what it tells of the code ----------------------------------------------------------------------------------------


def test_every_file_that_it_names_is_there() -> None:
    text = section("One message through the house") + section("Contribute")
    spoken = set(re.findall(r"[\w./]*\w\.(?:py|lua)\b", text))
    there = [
        path.as_posix() for folder in ("bridge", "actors", "http", "ops", "tests") for path in _files(ROOT / folder)
    ]
    missing = {name for name in spoken if not any(f"/{path}".endswith(f"/{name}") for path in there)}
    assert missing == set()
    assert len(spoken) > 20


def _files(folder: Path) -> Iterator[Path]:
    return (path.relative_to(ROOT) for path in folder.rglob("*.*"))


def test_every_error_that_the_code_has_advice_for_is_explained() -> None:
    assert {code for code in ADVICE if f"`{code}`" not in section("Operate it")} == set()


def test_it_is_short_enough_to_be_read() -> None:
    assert len(README.replace(table(), "").splitlines()) < 350


def test_its_links_lead_somewhere() -> None:
    titles = {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", README, re.M)
    }
    links = set(re.findall(r"\]\(#([^)]*)\)", README))
    assert links <= titles
    assert links


# --- the API by example -----------------------------------------------------------------------------------------------


class Example(NamedTuple):
    """A command of the README, and the answer that it promises; `…` stands for anything."""

    command: str
    answer: str

    def fits(self, given: str) -> bool:
        wanted = ".*".join(map(re.escape, self.answer.split("…")))
        return re.fullmatch(wanted, given.strip(), re.DOTALL) is not None


def examples() -> list[Example]:
    (block,) = blocks("bash", section("The API by example"))
    parts = re.findall(r"((?:^(?!#>).*\n)+)^#> ?(.*)$", block, re.MULTILINE)
    return [Example(command, answer) for command, answer in parts]


def test_every_operation_of_the_api_has_an_example() -> None:
    shown = "\n".join(example.command for example in examples())
    for operation in OPERATIONS:
        path = re.escape(operation.path).replace(r"\{user_id\}", r"\d+").replace(r"\{provider\}", r"\w+")
        assert re.search(rf"\$BRIDGE{path}(?=[\s?])", shown), operation.path
    assert len(examples()) > len(OPERATIONS)


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
    password = service.environ[variable_name("yalo_password")]
    environ = {"PATH": os.environ["PATH"], "BRIDGE": service.url, "YALO_PASSWORD": password}
    ran = subprocess.run(["bash", "-c", script], env=environ, capture_output=True, text=True, timeout=40, check=False)
    assert ran.stderr == ""
    return ran.stdout.split(mark)
