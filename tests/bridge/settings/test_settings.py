"""Settings: where they come from, what they become, and what an operator is told when they are wrong."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from bridge.errors import SettingsError
from bridge.ops.simulator.environ import sandbox_environ
from bridge.settings.load import Settings, load_settings, unknown_variables, variable_name, warnings_about
from bridge.settings.sources import gather

UNDERSCORE = "SALESFORCE_INTEGRATION_"
HYPHEN = "SALESFORCE-INTEGRATION_"
URL = "http://127.0.0.1:9"


def settings(**overrides: str) -> Settings:
    return load_settings(sandbox_environ(URL, **overrides))


def faults(**overrides: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        settings(**overrides)
    return caught.value.faults


def the_fault(**overrides: str) -> str:
    (fault,) = faults(**overrides)
    return fault


# The name and the default of every variable of the replaced service (settings.md, "Variables"), and of ours.
DEFAULTS = {
    "app_name": "salesforce-integration",
    "client": "salesforce",
    "port": 8080,
    "environment": "dev",
    "main_context_time_out": 10.0,
    "redis_address": "",
    "redis_master": "",
    "redis_sentinel_address": (),
    "botrunner_url": "http://botrunner",
    "botrunner_timeout": 4.0,
    "studio_ng_url": "",
    "studio_ng_timeout": 4.0,
    "blocked_user_state": {"whatsapp": "from-sf-blocked", "facebook": "from-sf-blocked"},
    "timeout_state": {"whatsapp": "from-sf-timeout", "facebook": "from-sf-timeout"},
    "success_state": {"whatsapp": "from-sf-success", "facebook": "from-sf-success"},
    "yalo_username": "yaloUser",
    "salesforce_username": "salesforceUser",
    "sfc_api_version": "52",
    "liveagent_api_version": "52",
    "sfc_case_external_id_field": "",
    "sfc_account_record_type_id": "",
    "sfc_default_birth_date_account": "1921-01-01T00:00:00",
    "sfc_source_flow_field": "source_flow_bot",
    "sfc_blocked_chat_field": False,
    "sfc_custom_fields_case": {},
    "sfc_custom_fields_contact": {},
    "sfc_custom_fields_account": {},
    "sfc_custom_fields_to_search_contact": {},
    "timezone": "America/Mexico_City",
    "send_image_name_in_message": False,
    "sfc_code_phone_remove": ("521", "52"),
    "integrations_wa_channel": "outgoing_webhook",
    "integrations_fb_channel": "passthrough",
    "keywords_restart": ("coppelbot", "regresar", "reiniciar", "restart"),
    "keywords_leave": (),
    "spec_schedule": "@every 59m",
    "clean_context_schedule": "0 9 * * *",
    "ignore_message_types": ("status", "notification-status"),
    "max_retries": 2,
    "integration_chan_rate_limit": 20.0,
    "saleforce_chan_rate_limit": 20.0,
    "desk_text_gap": 0.3,
    "desk_longest_text": 4000,
    "use_profile": False,
    "sleep_long_polling_s": 3.0,
    "kafka_host": "",
    "body_limit": 3 * 1024 * 1024,
    "webhook_body_limit": 256 * 1024,
    "token_ttl": 86_400.0,
    "partitions": 64,
    "mailbox_limit": 1000,
    "max_wait": 0.0,
    "queue_update_interval": 0.0,
    "media_max_bytes": 10 * 1024 * 1024,
    "media_timeout": 10.0,
    "signature_header": "X-Yalo-Signature",
    "signature_hmac_header": "X-Hub-Signature-256",
    "workers": 1,
    "session_give_up": 120.0,
    "delivery_give_up": 600.0,
    "redis_wait_replicas": 0,
}
REQUIRED = (
    "yalo_password",
    "salesforce_password",
    "secret_key",
    "sfc_login_url",
    "sfc_base_url",
    "sfc_chat_url",
    "sfc_client_id",
    "sfc_organization_id",
    "sfc_deployment_id",
    "sfc_source_flow_bot",
)
SECRETS = (
    "yalo_password",
    "salesforce_password",
    "secret_key",
    "sfc_client_secret",
    "sfc_password",
    "sfc_security_token",
    "integrations_wa_bot_jwt",
    "integrations_fb_bot_jwt",
)


def bare_minimum() -> dict[str, str]:
    wanted = {variable_name(field) for field in (*REQUIRED, "sfc_client_secret")}
    return {name: text for name, text in sandbox_environ(URL).items() if name in wanted}


@pytest.mark.parametrize(("field", "default"), DEFAULTS.items())
def test_a_variable_that_is_not_set_has_the_default_of_the_tables(field: str, default: object) -> None:
    assert getattr(load_settings(bare_minimum()), field) == default


VARIABLES = [variable_name(field).removeprefix(UNDERSCORE) for field in Settings.model_fields]


@pytest.mark.parametrize("prefix", [UNDERSCORE, HYPHEN])
@pytest.mark.parametrize("variable", [*(name for name in VARIABLES if name != "ENV_FILE"), "SLEEP_LONG_POLLLING"])
def test_every_variable_is_read_under_both_prefixes(prefix: str, variable: str) -> None:
    field = {"SLEEP_LONG_POLLLING": "sleep_long_polling_s", "SLEEP_LONG_POLLING": "sleep_long_polling_s"}
    given = gather({prefix + variable: "77"}).given
    assert given == {field.get(variable, variable.lower()): "77"}


def test_a_manifest_with_hyphens_makes_the_same_settings_as_a_shell_with_underscores() -> None:
    shell = sandbox_environ(URL)
    manifest = {name.replace(UNDERSCORE, HYPHEN): text for name, text in shell.items()}
    assert load_settings(manifest) == load_settings(shell)


def test_the_hyphen_beats_the_underscore() -> None:
    environ = sandbox_environ(URL, client="shell") | {HYPHEN + "CLIENT": "manifest"}
    assert load_settings(environ).client == "manifest"


def test_kubernetes_own_variables_for_a_service_of_our_name_do_no_harm() -> None:
    injected = {
        UNDERSCORE + "PORT": "tcp://10.0.0.1:80",
        UNDERSCORE + "PORT_80_TCP": "tcp://10.0.0.1:80",
        UNDERSCORE + "PORT_80_TCP_ADDR": "10.0.0.1",
        UNDERSCORE + "SERVICE_HOST": "10.0.0.1",
        UNDERSCORE + "SERVICE_PORT_HTTP": "80",
    }
    assert load_settings(sandbox_environ(URL) | injected | {HYPHEN + "PORT": "9090"}).port == 9090
    assert load_settings(sandbox_environ(URL) | injected).port == 8080
    assert unknown_variables(injected) == []


# --- files ----------------------------------------------------------------------------------------------------------


def test_the_environment_beats_the_env_file_which_beats_the_secrets(tmp_path: Path) -> None:
    env_file, secrets = tmp_path / "service.env", tmp_path / "secrets"
    secrets.mkdir()
    for name in ("CLIENT", "APP_NAME", "YALO_USERNAME"):
        (secrets / name).write_text("secrets")
    env_file.write_text(f"{HYPHEN}APP_NAME=file\nexport {UNDERSCORE}CLIENT='file'\n# a remark\n")
    found = settings(env_file=str(env_file), secrets_dir=str(secrets), client="environment")
    assert (found.client, found.app_name, found.yalo_username) == ("environment", "file", "secrets")


def test_the_hyphen_in_a_file_does_not_beat_the_environment(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"{HYPHEN}CLIENT=file")
    assert settings(env_file=str(tmp_path / ".env"), client="environment").client == "environment"


@pytest.mark.parametrize("name", ["ENV_FILE", UNDERSCORE + "ENV_FILE", HYPHEN + "ENV_FILE"])
def test_the_env_file_is_named_with_either_prefix_or_none(name: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"{UNDERSCORE}CLIENT=file")
    assert load_settings(sandbox_environ(URL) | {name: str(tmp_path / ".env")}).client == "file"


@pytest.mark.parametrize("name", ["SECRETS_DIR", UNDERSCORE + "SECRETS_DIR", HYPHEN + "SECRETS_DIR"])
@pytest.mark.parametrize(
    "file", ["YALO_PASSWORD", UNDERSCORE + "YALO_PASSWORD", HYPHEN + "YALO_PASSWORD", "yalo_password"]
)
def test_a_secret_is_a_file_by_full_name_or_without_the_prefix(name: str, file: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text("from a file\n")
    (tmp_path / "..data").mkdir()
    (tmp_path / "of-another-service").write_bytes(b"\xff\xfe")
    environ = sandbox_environ(URL) | {name: str(tmp_path)}
    del environ[UNDERSCORE + "YALO_PASSWORD"]
    assert load_settings(environ).yalo_password.get_secret_value() == "from a file"


def test_the_env_file_may_name_the_secrets_folder(tmp_path: Path) -> None:
    (tmp_path / "CLIENT").write_text("secret")
    (tmp_path / ".env").write_text(f"SECRETS_DIR={tmp_path}")
    assert settings(env_file=str(tmp_path / ".env")).client == "secret"


def test_a_secrets_folder_that_cannot_be_read_is_a_fault_beside_the_others(tmp_path: Path) -> None:
    found = faults(secrets_dir=str(tmp_path / "absent"), port="x")
    assert len(found) == 2
    assert any("SECRETS_DIR" in fault and "No such file" in fault for fault in found)


def test_the_newline_of_a_badly_made_secret_is_dropped() -> None:
    assert settings(yalo_password="echo does this\n").yalo_password.get_secret_value() == "echo does this"


def test_an_empty_variable_counts_as_not_set_but_an_empty_list_is_a_list() -> None:
    found = settings(port="", client=" ", keywords_restart="", sfc_code_phone_remove="", messages="")
    assert (found.port, found.client, found.keywords_restart, found.sfc_code_phone_remove) == (
        8080,
        "salesforce",
        (),
        (),
    )
    assert "is required, but not set" in the_fault(sfc_client_id="")


# --- values ---------------------------------------------------------------------------------------------------------


def test_lists_are_split_by_comma() -> None:
    found = settings(keywords_restart=" Salir , MENU,", sfc_code_phone_remove="521, 52,54,57,1")
    assert found.keywords_restart == ("salir", "menu")
    assert found.sfc_code_phone_remove == ("521", "52", "54", "57", "1")


def test_a_map_s_value_may_hold_a_colon() -> None:
    assert settings(success_state="whatsapp:flow:end").success_state["whatsapp"] == "flow:end"


@pytest.mark.parametrize("text", ["order", ":Order__c", "order:", "a:b,a:c"])
def test_a_map_that_is_none_is_refused(text: str) -> None:
    assert "SFC_CUSTOM_FIELDS_CASE" in the_fault(sfc_custom_fields_case=text)


@pytest.mark.parametrize("field", ["Name = 'x' OR Id", "1st", "a b", ".Name", "Account..Name", "Näme"])
def test_a_map_that_names_no_field_is_a_fault(field: str) -> None:
    first, second = faults(sfc_custom_fields_case=f"a:{field}", sfc_custom_fields_to_search_contact=f"b:{field}")
    assert first.startswith(f"{UNDERSCORE}SFC_CUSTOM_FIELDS_CASE names ")
    assert "which cannot be a field" in second


@pytest.mark.parametrize("field", ["Chat__c = 'x' OR Id", "1st", "a/b", "Account.Chat__c", "Chät__c"])
def test_an_external_id_that_cannot_be_a_field_of_the_case_is_a_fault(field: str) -> None:
    assert f"{UNDERSCORE}SFC_CASE_EXTERNAL_ID_FIELD names" in the_fault(sfc_case_external_id_field=field)


def test_a_provider_without_a_state_keeps_its_default_state() -> None:
    assert settings(timeout_state="whatsapp:late").timeout_state == {"whatsapp": "late", "facebook": "from-sf-timeout"}
    assert "'telegram'" in the_fault(timeout_state="telegram:late")


def test_flows_may_hold_equals_signs_and_semicolons_in_their_strings() -> None:
    flow = {"subject": "a=b;c={d}", "providers": {"whatsapp": {"button_id": "573;=", "owner_id": "005"}}}
    text = f"default={json.dumps(flow)} ; ventas={json.dumps({**flow, 'subject': 'Ventas'})};"
    flows = settings(sfc_source_flow_bot=text, integrations_fb_bot_id="").sfc_source_flow_bot
    assert {name: flow.subject for name, flow in flows.items()} == {"default": "a=b;c={d}", "ventas": "Ventas"}
    assert (flows["default"].providers["whatsapp"].button_id, flows["default"].providers["whatsapp"].owner_id) == (
        "573;=",
        "005",
    )


@pytest.mark.parametrize(
    "text",
    [
        "default",
        "default={",
        '={"subject":"x","providers":{}}',
        'default={"providers":{}}',
        'default={"subject":"x","providers":{"telegram":{"button_id":"1"}}}',
        'default={"subject":"x","providers":{"whatsapp":{}}}',
        'default={"subject":"x","providers":{}} ventas={"subject":"x","providers":{}}',
        "default=" + "[" * 100_000,
        ";",
    ],
)
def test_flows_that_make_no_sense_are_refused(text: str) -> None:
    assert "SFC_SOURCE_FLOW_BOT" in the_fault(sfc_source_flow_bot=text)


def test_given_messages_silence_the_texts_that_the_replaced_service_never_sent() -> None:
    messages = settings(messages='{"waitAgent": "Aguarde um momento"}').messages
    new = (messages.agent_disconnected, messages.transfer_began, messages.chat_transferred, messages.delivery_failed)
    assert new == ("", "", "", "")
    assert messages.upload_image_error == "Imagen no enviada"
    assert settings(messages='{"deliveryFailed": "Tente de novo"}').messages.delivery_failed == "Tente de novo"
    assert settings(messages="{}").messages.delivery_failed != ""


def test_live_agent_has_the_version_of_the_data_api_unless_it_has_its_own() -> None:
    assert settings(sfc_api_version="58").liveagent_api_version == "58"
    assert settings(sfc_api_version="58", liveagent_api_version="50").liveagent_api_version == "50"
    assert settings().liveagent_api_version == "52"


def test_messages_replace_those_that_they_name_whatever_their_case() -> None:
    messages = settings(messages='{"WAITAGENT": "Un momento", "botlabel": "Robot"}').messages
    assert (messages.wait_agent, messages.bot_label, messages.client_label) == ("Un momento", "Robot", "Cliente")
    assert messages.welcome_template == "Hola soy %s y necesito ayuda"


def test_a_text_that_is_not_known_is_ignored_and_told_with_the_nearest_name() -> None:
    given = '{"waitAgents": "x", "zz": "y", "context": "Antes"}'
    assert settings(messages=given).messages.context == "Antes"
    told = warnings_about(sandbox_environ(URL, messages=given))
    assert [warning for warning in told if "MESSAGES" in warning] == [
        f"{UNDERSCORE}MESSAGES names no text 'waitAgents' (did you mean 'waitAgent'?); it is ignored.",
        f"{UNDERSCORE}MESSAGES names no text 'zz'; it is ignored.",
    ]


def test_messages_that_are_no_map_of_texts_are_refused() -> None:
    assert "not JSON" in the_fault(messages="{")
    assert "not a JSON map of texts" in the_fault(messages='{"waitAgent": 1}')


@pytest.mark.parametrize(
    ("text", "seconds"), [("3s", 3.0), ("1m30s", 90.0), ("500ms", 0.5), ("1.5h", 5400.0), ("7", 7.0), ("0", 0.0)]
)
def test_durations_are_written_as_in_go_or_as_seconds(text: str, seconds: float) -> None:
    assert load_settings(sandbox_environ(URL) | {HYPHEN + "SLEEP_LONG_POLLLING": text}).sleep_long_polling_s == seconds
    assert settings(max_wait=text).max_wait == seconds


@pytest.mark.parametrize("text", ["soon", "-3s", "3 apples", "inf", "nan"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    assert "SLEEP_LONG_POLLING is not a duration" in the_fault(sleep_long_polling_s=text)


def test_addresses_lose_the_slash_at_their_end() -> None:
    assert settings(sfc_base_url="https://my.salesforce.com/").sfc_base_url == "https://my.salesforce.com"


@pytest.mark.parametrize(
    "text", ["my.salesforce.com", "ftp://x", "http://", "https:///x", "http://x:99999", "http://a b"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    assert "SFC_BASE_URL is not an http:// or https:// address" in the_fault(sfc_base_url=text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("redis:6379", "redis://redis:6379"),
        ("redis://redis:6379/2", "redis://redis:6379/2"),
        ("rediss://:word@redis", "rediss://:word@redis"),
        ("unix:///x", None),
        ("redis://", None),
        ("redis:port", None),
    ],
)
def test_redis_is_named_by_host_or_by_address(text: str, address: str | None) -> None:
    if address is None:
        assert "REDIS_ADDRESS is not host:port" in the_fault(redis_address=text)
    else:
        assert settings(redis_address=text).redis_address == address


def test_sentinels_are_separated_by_semicolons() -> None:
    found = settings(redis_master="mymaster", redis_sentinel_address="s-1:26380; s-2")
    assert found.redis_sentinel_address == ("s-1:26380", "s-2:26379")
    assert found.with_sentinel
    assert not found.embedded


@pytest.mark.parametrize(("text", "on"), [("true", True), ("false", False), ("TRUE", True), ("1", True)])
def test_booleans(text: str, on: bool) -> None:
    assert settings(sfc_blocked_chat_field=text).sfc_blocked_chat_field is on


@pytest.mark.parametrize(("text", "version"), [("52", "52"), ("v61.0", "61"), ("58.0", "58")])
def test_an_api_version_is_its_number(text: str, version: str) -> None:
    assert settings(sfc_api_version=text).sfc_api_version == version


def test_replicas_are_waited_for_with_a_sentinel_unless_the_operator_says_otherwise() -> None:
    sentinel = {"redis_master": "mymaster", "redis_sentinel_address": "s-1"}
    assert settings(redis_address="redis:6379").redis_wait_replicas == 0
    assert settings(**sentinel).redis_wait_replicas is None, "all that are connected"
    assert settings(**sentinel, redis_wait_replicas="0").redis_wait_replicas == 0


def test_the_login_follows_from_what_is_set() -> None:
    key = "-----BEGIN PRIVATE KEY-----\\nabc\\n-----END PRIVATE KEY-----"
    assert settings().sfc_login_flow == "password"
    assert settings(sfc_password="").sfc_login_flow == "client_credentials"
    assert settings(sfc_private_key=key).sfc_login_flow == "jwt_bearer"
    assert settings(sfc_private_key=key, sfc_client_secret="").sfc_private_key.get_secret_value().count("\n") == 2


def test_restart_words_are_heeded_in_dev_and_staging_only() -> None:
    signed = {"integrations_signature": "a-signature"}
    heeded = {name: settings(environment=name, **signed).heeds_restart_words for name in ("dev", "staging", "prod")}
    assert heeded == {"dev": True, "staging": True, "prod": False}


def test_the_kafka_group_is_named_after_application_and_topic() -> None:
    kafka = {"kafka_host": "kafka", "kafka_user": "u", "kafka_password": "p", "kafka_topic": "inbox"}
    assert settings(**kafka, redis_address="redis:6379").kafka_group_id == "salesforce-integration-inbox"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        settings().port = 1


# --- faults ---------------------------------------------------------------------------------------------------------


def test_every_fault_is_told_in_one_go_with_name_reason_and_example() -> None:
    found = faults(port="eighty", workers="0", timezone="Mars/Olympus", spec_schedule="often", sfc_client_id="")
    assert len(found) == 5
    told = "\n".join(found)
    for name in ("PORT", "WORKERS", "TIMEZONE", "SPEC_SCHEDULE", "SFC_CLIENT_ID"):
        assert f"{UNDERSCORE}{name} " in told
    assert all("; example: " in fault for fault in found)
    assert found[0] == f"{UNDERSCORE}PORT is not a whole number (it is 'eighty'); example: {UNDERSCORE}PORT=8080"


def test_an_empty_environment_is_told_all_that_is_required() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({})
    names = {fault.split()[0] for fault in caught.value.faults}
    assert names == {variable_name(field) for field in (*REQUIRED, "sfc_client_secret")}


@pytest.mark.parametrize("field", SECRETS)
def test_a_secret_shows_neither_in_the_settings_nor_in_a_fault(field: str) -> None:
    secret = "q8Zt-ThisMustNotBeSeen"
    found = settings(**{field: secret})
    assert isinstance(getattr(found, field), SecretStr)
    assert secret not in repr(found) + str(found)
    told = "\n".join(faults(**{"environment": "prod", "port": "x", "secret_key": "q8Zt-Short", field: "q8Zt-Other"}))
    assert "q8Zt" not in told


def test_a_password_inside_an_address_is_not_shown() -> None:
    assert "q8Zt" not in repr(settings(redis_address="redis://:q8Zt@redis:6379"))
    assert "q8Zt" not in the_fault(redis_address="http://:q8Zt@redis:6379")
    assert "q8Zt" not in the_fault(sfc_base_url="ftp://me:q8Zt@host")
    assert "secret-line" not in the_fault(sfc_private_key="secret-line")


def test_several_workers_need_redis() -> None:
    assert "which needs Redis" in the_fault(workers="2")
    assert settings(workers="2", redis_address="redis:6379").workers == 2
    assert settings(workers="2", redis_master="m", redis_sentinel_address="s").workers == 2


@pytest.mark.parametrize(("environment", "refused"), [("dev", False), ("staging", True), ("prod", True)])
def test_a_short_key_is_refused_outside_dev(environment: str, refused: bool) -> None:
    outside = {"environment": environment, "integrations_signature": "a-signature"}
    if refused:
        assert "SECRET_KEY is shorter than 32 bytes" in the_fault(**outside, secret_key="k" * 31)
        assert settings(**outside, secret_key="ñ" * 16).environment == environment
    else:
        assert settings(environment=environment, secret_key="short")


@pytest.mark.parametrize(
    ("given", "lacking"),
    [
        ({"redis_master": "mymaster"}, "REDIS_SENTINEL_ADDRESS"),
        ({"redis_sentinel_address": "s-1"}, "REDIS_MASTER"),
        ({"sfc_client_secret": ""}, "SFC_CLIENT_SECRET"),
        ({"sfc_username": ""}, "SFC_USERNAME"),
        ({"integrations_wa_bot_jwt": ""}, "INTEGRATIONS_WA_BOT_JWT"),
        ({"integrations_base_url": ""}, "INTEGRATIONS_BASE_URL"),
        ({"redis_address": "r", "kafka_host": "k", "kafka_user": "u", "kafka_password": "p"}, "KAFKA_TOPIC"),
        ({"kafka_host": "k", "kafka_user": "u", "kafka_password": "p", "kafka_topic": "t"}, "REDIS_ADDRESS"),
    ],
)
def test_variables_that_belong_together_are_missed(given: dict[str, str], lacking: str) -> None:
    assert UNDERSCORE + lacking in the_fault(**given)


def test_a_master_beside_an_address_is_no_fault() -> None:
    found = settings(redis_master="mymaster", redis_address="redis:6379")
    assert (found.with_sentinel, found.embedded) == (False, False)


def test_an_unknown_variable_is_told_with_the_nearest_name() -> None:
    environ = {HYPHEN + "SFC_CLIENT_IDD": "x", UNDERSCORE + "PORT": "1", "PATH": "x", UNDERSCORE + "DD_ENV": "x"}
    assert unknown_variables(environ) == [
        f"{UNDERSCORE}SFC_CLIENT_IDD is not a setting; did you mean {UNDERSCORE}SFC_CLIENT_ID?"
    ]
    assert unknown_variables({UNDERSCORE + "ZZZ": "x"}) == [f"{UNDERSCORE}ZZZ is not a setting."]


def test_trusted_proxies_are_addresses_and_networks() -> None:
    given = settings(trusted_proxies="10.1.0.0/16, 192.0.2.7,::1").trusted_proxies
    assert [str(network) for network in given] == ["10.1.0.0/16", "192.0.2.7/32", "::1/128"]
    assert ip_address("192.0.2.7") in given[1]
    assert settings().trusted_proxies == ()
    assert "TRUSTED_PROXIES holds 'proxy', which is no address and no network" in the_fault(trusted_proxies="proxy")
    assert "10.0.0.1/8 has host bits set" in the_fault(trusted_proxies="10.0.0.1/8")
