"""The sources of settings: what hides what, what is wrong with a file, and what is only told."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from bridge.errors import SettingsError
from bridge.ops.simulator.environ import sandbox_environ
from bridge.settings.load import Settings, load_settings, variable_name, warnings_about

UNDERSCORE = "SALESFORCE_INTEGRATION_"
HYPHEN = "SALESFORCE-INTEGRATION_"
URL = "http://127.0.0.1:9"
SECRETS = [name for name, field in Settings.model_fields.items() if field.annotation is SecretStr]
PEM = "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----"


def value_of(secret: str) -> str:
    return PEM if secret == "sfc_private_key" else f"the value of {secret}"


def refused(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ)
    return caught.value.faults


def with_file(tmp_path: Path, text: str) -> dict[str, str]:
    """The environment of the sandbox, with a .env file of these lines."""
    (tmp_path / ".env").write_text(text)
    return sandbox_environ(URL, env_file=str(tmp_path / ".env"))


# --- an empty variable hides nothing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("empty", ["", "  ", "\n"])
@pytest.mark.parametrize("prefix", [UNDERSCORE, HYPHEN])
@pytest.mark.parametrize("secret", SECRETS)
def test_an_empty_variable_does_not_hide_a_secret(secret: str, prefix: str, empty: str, tmp_path: Path) -> None:
    name = variable_name(secret).removeprefix(UNDERSCORE)
    (tmp_path / name).write_text(value_of(secret))
    kafka = {"kafka_host": "k", "kafka_user": "u", "kafka_password": "p", "kafka_topic": "t"}
    environ = sandbox_environ(URL, secrets_dir=str(tmp_path), redis_address="redis:6379", **kafka)
    environ |= {UNDERSCORE + name: empty, prefix + name: empty}
    assert getattr(load_settings(environ), secret).get_secret_value() == value_of(secret)


def test_an_empty_variable_hides_neither_the_env_file_nor_the_other_prefix(tmp_path: Path) -> None:
    environ = with_file(tmp_path, f"{UNDERSCORE}CLIENT=file\n") | {UNDERSCORE + "CLIENT": ""}
    assert load_settings(environ).client == "file"
    environ = sandbox_environ(URL, client="shell") | {HYPHEN + "CLIENT": ""}
    assert load_settings(environ).client == "shell"


def test_an_empty_list_in_the_environment_is_a_list(tmp_path: Path) -> None:
    environ = with_file(tmp_path, f"{UNDERSCORE}KEYWORDS_LEAVE=salir\n") | {UNDERSCORE + "KEYWORDS_LEAVE": ""}
    assert load_settings(environ).keywords_leave == ()


# --- the .env file ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("A=1\n\nthis makes no sense\n", "its line 3 is not understood; write NAME=value"),
        ("A=1\nB='never closed\nC=2\n", "its line 2 is not understood; write NAME=value"),
        ('A="{"subject":"x"}"\n', "its line 1 is not understood; write NAME=value"),
        ("\nPASSWORD\n", "its line 2 has no '='"),
        ('{"A": 1}', "which looks like JSON"),
    ],
)
def test_a_line_that_is_not_understood_is_the_only_fault(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(text)
    [fault] = refused({"ENV_FILE": str(tmp_path / ".env")})
    assert told in fault
    assert repr(str(tmp_path / ".env")) in fault


@pytest.mark.parametrize("made", ["absent", "folder", "garbage"])
def test_an_env_file_that_cannot_be_read_is_the_only_fault(made: str, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    if made == "folder":
        path.mkdir()
    elif made == "garbage":
        path.write_bytes(b"\xff\xfe\xfd")
    [fault] = refused({"ENV_FILE": str(path)})
    assert "which cannot be read" in fault


def test_a_value_over_several_lines_and_remarks_are_understood(tmp_path: Path) -> None:
    environ = with_file(tmp_path, f"# a remark\n\n{UNDERSCORE}SFC_PRIVATE_KEY='{PEM}' # another\n")
    assert load_settings(environ).sfc_private_key.get_secret_value() == PEM
    assert warnings_about(environ) == []


def test_a_value_that_a_remark_cuts_short_is_told_without_the_value(tmp_path: Path) -> None:
    environ = with_file(tmp_path, f"\n{UNDERSCORE}CLIENT=q8Zt #1\n{UNDERSCORE}YALO_USERNAME='q8Zt #1'\n")
    [warning] = warnings_about(environ)
    assert warning.startswith(f"{UNDERSCORE}CLIENT in line 2 of ")
    assert "ends before ' #'" in warning
    assert "q8Zt" not in warning


def test_a_line_without_its_prefix_is_told(tmp_path: Path) -> None:
    environ = with_file(tmp_path, "CLIENT=shop\n")
    assert warnings_about(environ) == [
        f"CLIENT in ENV_FILE has no prefix, so it is not read; write {UNDERSCORE}CLIENT."
    ]
    assert load_settings(environ).client == "salesforce"


# --- what is told at the start ----------------------------------------------------------------------------------------


def test_two_values_under_the_two_prefixes_are_told() -> None:
    environ = sandbox_environ(URL, client="shell")
    assert warnings_about(environ | {HYPHEN + "CLIENT": "shell"}) == []
    assert warnings_about(environ | {HYPHEN + "CLIENT": "manifest"}) == [
        f"{UNDERSCORE}CLIENT is ignored, because {HYPHEN}CLIENT is set to another value."
    ]


def test_settings_without_an_effect_are_told_in_one_sentence() -> None:
    environ = sandbox_environ(URL, sentry_dsn="https://key@sentry.example/1", use_profile="true")
    assert warnings_about(environ) == ["These settings are read, but nothing uses them yet: SENTRY_DSN, USE_PROFILE."]


def test_a_misspelt_secret_file_is_told(tmp_path: Path) -> None:
    (tmp_path / f"{UNDERSCORE}SFC_PASWORD").write_text("x")
    [warning] = warnings_about(sandbox_environ(URL, secrets_dir=str(tmp_path)))
    assert warning == f"{UNDERSCORE}SFC_PASWORD is not a setting; did you mean {UNDERSCORE}SFC_PASSWORD?"


def test_an_environment_of_another_name_is_told() -> None:
    [warning] = warnings_about(sandbox_environ(URL, environment="qa", integrations_signature="signature"))
    assert "'qa', which counts as prod" in warning


WHATSAPP_ONLY = 'sales={"subject":"Ventas","providers":{"whatsapp":{"button_id":"573"}}}'


def test_flows_that_would_refuse_a_connect_are_told() -> None:
    both = (
        WHATSAPP_ONLY + ';all={"subject":"x","providers":{"whatsapp":{"button_id":"1"},"facebook":{"button_id":"2"}}}'
    )
    without_default, without_queue = warnings_about(sandbox_environ(URL, sfc_source_flow_bot=both))
    assert "has no flow 'default'" in without_default
    assert "has no queue for facebook in the flow 'sales'" in without_queue


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_bot_that_no_flow_has_a_queue_for_is_refused() -> None:
    [fault] = refused(sandbox_environ(URL, sfc_source_flow_bot=WHATSAPP_ONLY))
    assert "has no queue for facebook in any flow" in fault


@pytest.mark.parametrize("environment", ["staging", "prod", "anything"])
def test_webhooks_without_a_signature_are_refused_outside_dev_unless_the_operator_says_so(environment: str) -> None:
    [fault] = refused(sandbox_environ(URL, environment=environment))
    assert f"{UNDERSCORE}INTEGRATIONS_SIGNATURE is required outside dev" in fault
    assert f"set {UNDERSCORE}WEBHOOK_WITHOUT_SIGNATURE=true" in fault
    [warning] = warnings_about(sandbox_environ(URL, environment="prod", webhook_without_signature="true"))
    assert "no signature is checked" in warning


def test_a_placeholder_of_the_readme_is_refused_outside_dev() -> None:
    pasted = {"secret_key": "the-output-of-openssl-rand-hex-32"}
    [fault] = refused(sandbox_environ(URL, environment="prod", integrations_signature="signature", **pasted))
    assert fault.startswith(f"{UNDERSCORE}SECRET_KEY is still the placeholder")
    assert load_settings(sandbox_environ(URL, **pasted)).environment == "dev"


@pytest.mark.parametrize("client", ["two words", "a{b}", "tab\there"])
def test_a_client_that_no_key_can_hold_is_refused(client: str) -> None:
    [fault] = refused(sandbox_environ(URL, client=client))
    assert "CLIENT holds a space or a brace" in fault


def test_a_host_may_be_written_in_brackets() -> None:
    assert load_settings(sandbox_environ(URL, host="[::1]")).host == "::1"
