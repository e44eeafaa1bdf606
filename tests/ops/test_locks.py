"""The lock files: what a production install and the checks are made from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

OPS = Path(__file__).resolve().parents[2] / "ops"
LOCKS = ("requirements.lock", "requirements-dev.lock")
TOOLS = {"hypothesis", "mypy", "pytest", "responses", "ruff", "schemathesis", "uv"}


def pins(lock: str) -> dict[str, str]:
    """Package → version."""
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", (OPS / lock).read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host_and_no_folder(lock: str) -> None:
    text = (OPS / lock).read_text("utf-8")
    assert re.findall(r"://|--(?:extra-)?index-url|--find-links|@ |/home/|/tmp/", text) == []


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_in_a_lock_has_a_hash(lock: str) -> None:
    text = (OPS / lock).read_text("utf-8")
    packages = re.split(r"\n(?=[a-z])", text.partition("\n#    ./ops/lock\n")[2])
    assert packages
    assert [package for package in packages if "--hash=sha256:" not in package] == []


def test_the_production_lock_holds_no_tool_of_the_tests() -> None:
    assert pins("requirements.lock").keys() & TOOLS == set()
    assert pins("requirements-dev.lock").keys() >= TOOLS


def test_the_tests_run_with_the_versions_of_production() -> None:
    assert pins("requirements.lock").items() <= pins("requirements-dev.lock").items()
