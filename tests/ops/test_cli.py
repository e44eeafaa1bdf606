"""The command `bridge`, run as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from bridge.ops.simulator.environ import sandbox_environ
from bridge.settings.load import Settings, variable_name

ROOT = Path(__file__).resolve().parents[2]
UNDERSCORE, HYPHEN = "SALESFORCE_INTEGRATION_", "SALESFORCE-INTEGRATION_"


def bridge(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    quiet = {name: text for name, text in os.environ.items() if not name.startswith((UNDERSCORE, HYPHEN))}
    return subprocess.run(
        [sys.executable, "-c", "from bridge.ops.cli import main; main()", *arguments],
        cwd=ROOT,
        env={**quiet, **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_serve_without_settings_lists_every_fault_and_ends_with_2() -> None:
    ended = bridge("serve")
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[0] == "bridge cannot start: 11 settings are wrong."
    assert f"  - {UNDERSCORE}SECRET_KEY is required, but not set; example: " in ended.stderr


def test_serve_suggests_the_variable_that_a_mistyped_one_may_mean() -> None:
    environ = sandbox_environ("http://127.0.0.1:9")
    environ[f"{UNDERSCORE}SECRETKEY"] = environ.pop(f"{UNDERSCORE}SECRET_KEY")
    ended = bridge("serve", **environ)
    assert f"did you mean {UNDERSCORE}SECRET_KEY?" in ended.stderr
    assert "a-key-for-the-sandbox" not in ended.stderr


def test_the_options_of_serve_beat_the_settings_and_are_checked_as_they_are() -> None:
    environ = sandbox_environ("http://127.0.0.1:9") | {f"{HYPHEN}WORKERS": "1", f"{HYPHEN}PORT": "1"}
    assert "which needs Redis" in bridge("serve", "--workers", "2", **environ).stderr
    assert "PORT is not a whole number (it is 'http')" in bridge("serve", "--bind", "0.0.0.0:http", **environ).stderr
    assert bridge("serve", "--bind", "8080", **environ).returncode == 2


def test_gunicorn_itself_reports_the_same_faults() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "gunicorn", "-c", "ops/gunicorn_conf.py"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert "bridge cannot start: 11 settings are wrong." in ended.stderr
    assert "Traceback" not in ended.stderr


def test_settings_prints_a_row_for_every_variable() -> None:
    rows = bridge("settings").stdout.splitlines()[2:]
    names = [row.split("`")[1] for row in rows]
    assert names == [variable_name(field) for field in Settings.model_fields]
    assert all(row.replace("\\|", "").count("|") == 5 for row in rows)
    port = next(row for row in rows if f"`{UNDERSCORE}PORT`" in row)
    assert "| `8080` |" in port
    required = next(row for row in rows if f"`{UNDERSCORE}SECRET_KEY`" in row)
    assert required.endswith("|  | yes |")


def test_dump_without_a_service_says_so(tmp_path: Path) -> None:
    ended = bridge("dump", **{f"{UNDERSCORE}OPS_SOCKET_DIR": str(tmp_path)})
    assert ended.returncode == 1
    assert f"No service runs on this host: there is no socket in {tmp_path}" in ended.stderr


@pytest.mark.parametrize("command", ["serve", "sandbox", "simulate", "dump", "settings"])
def test_every_command_has_a_help(command: str) -> None:
    assert bridge(command, "--help").returncode == 0


def test_the_command_starts_without_what_it_does_not_need() -> None:
    code = "import sys, bridge.ops.cli; print(*{'gevent', 'pydantic', 'requests'} & sys.modules.keys())"
    assert bridge_python(code) == ""


def bridge_python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    ).stdout.strip()


def test_version_is_the_installed_one() -> None:
    assert bridge("--version").stdout == f"bridge {version('bridge')}\n"


def test_the_shell_can_complete_commands() -> None:
    command = [Path(sys.executable).with_name("bridge"), "--show-completion", "bash"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert "_BRIDGE_COMPLETE=complete_bash" in shown.stdout
