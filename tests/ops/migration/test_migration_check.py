"""`bridge migrate check`: what the settings of the replaced service will do here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.errors import SettingsError
from bridge.ops.migration.differences import DIFFERENCES, KNOWN_TEXTS, Weight, differences
from bridge.ops.migration.manifest import read_manifest
from bridge.ops.migration.report import report
from bridge.settings.sources import FIELD_OF

OLD = {
    "ENVIRONMENT": "prod",
    "SECRET_KEY": "twenty-characters-20",
    "MESSAGES": '{"waitAgent": "Aguarde"}',
    "SFC_API_VERSION": "58",
    "REDIS_ADDRESS": "redis:6379",
    "KAFKA_HOST": "kafka",
}


def subjects(weight: Weight, **variables: str) -> list[str]:
    return [row.subject for row in differences(variables) if row.weight is weight]


def check(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from bridge.ops.cli import main; main()", "migrate", "check", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_a_short_key_and_a_missing_signature_stop_the_service_outside_dev_only() -> None:
    assert subjects(Weight.STOPS, **OLD) == ["SECRET_KEY", "INTEGRATIONS_SIGNATURE"]
    assert subjects(Weight.STOPS, **OLD | {"ENVIRONMENT": "dev"}) == []
    assert subjects(Weight.STOPS, **OLD | {"SECRET_KEY": "k" * 32, "INTEGRATIONS_SIGNATURE": "s"}) == []


def test_a_signature_that_was_never_checked_is_announced() -> None:
    assert "INTEGRATIONS_SIGNATURE" in subjects(Weight.CHANGES, **OLD | {"INTEGRATIONS_SIGNATURE": "s"})
    assert "INTEGRATIONS_SIGNATURE" not in subjects(Weight.CHANGES, **OLD)


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ("", False),
        ("{}", False),
        ('{"waitAgent": "x"}', True),
        ("no json", False),
        (json.dumps(dict.fromkeys(KNOWN_TEXTS, "x")), False),
    ],
)
def test_texts_are_a_difference_where_only_some_are_given(messages: str, told: bool) -> None:
    assert ("MESSAGES" in subjects(Weight.CHANGES, MESSAGES=messages)) is told


def test_the_weightiest_come_first() -> None:
    weights = [row.weight for row in differences(OLD)]
    assert weights == sorted(weights, key=list(Weight).index)
    assert len(weights) > len(set(weights))


def test_every_variable_that_a_row_names_is_a_setting() -> None:
    named = {row.subject for row in DIFFERENCES if row.subject.isupper()}
    assert named - FIELD_OF.keys() == set()


def test_lines_and_a_deployment_in_json_say_the_same(tmp_path: Path) -> None:
    lines = tmp_path / "old.env"
    lines.write_text("SALESFORCE_INTEGRATION_ENVIRONMENT=prod\nSALESFORCE-INTEGRATION_CLIENT=shop\nPATH=/bin\n")
    entries = [
        {"name": "SALESFORCE-INTEGRATION_ENVIRONMENT", "value": "prod"},
        {"name": "SALESFORCE-INTEGRATION_CLIENT", "value": "shop"},
        {"name": "OTHER", "value": "1"},
    ]
    deployment = tmp_path / "old.json"
    deployment.write_text(json.dumps({"spec": {"template": {"spec": {"containers": [{"env": entries}]}}}}))
    assert read_manifest(lines) == read_manifest(deployment) == {"ENVIRONMENT": "prod", "CLIENT": "shop"}


def test_a_secret_that_the_manifest_does_not_show_counts_as_long_enough(tmp_path: Path) -> None:
    entry = {"name": "SALESFORCE-INTEGRATION_SECRET_KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"env": [entry, {"name": "SALESFORCE-INTEGRATION_ENVIRONMENT", "value": "prod"}]}))
    assert "SECRET_KEY" not in subjects(Weight.STOPS, **read_manifest(path))


@pytest.mark.parametrize("text", [None, "{", "{]"])
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "old.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsError, match=r"old\.json"):
        read_manifest(path)


def test_the_report_groups_by_weight_and_says_what_to_do() -> None:
    lines, starts = report(OLD)
    assert not starts
    assert lines[0] == "does not start:"
    assert "    -> Set a new key: openssl rand -hex 32. Tokens that were signed with the old key end with it." in lines


def test_the_command_ends_with_1_where_the_service_would_not_start(tmp_path: Path) -> None:
    path = tmp_path / "old.env"
    path.write_text("\n".join(f"SALESFORCE_INTEGRATION_{name}='{text}'" for name, text in OLD.items()))
    ended = check(path)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "does not start:" in ended.stdout
    path.write_text("SALESFORCE_INTEGRATION_ENVIRONMENT=dev\n")
    assert check(path).returncode == 0
    missing = check(tmp_path / "nowhere")
    assert missing.returncode == 2
    assert "Traceback" not in missing.stderr
