"""What is wrong with settings, in sentences for an operator; none of them shows a secret."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from bridge.messages import Provider
from bridge.settings.fields import Settings
from bridge.settings.sources import variable_name

SHORTEST_KEY_BYTES = 32
BOT_OF: dict[Provider, str] = {"whatsapp": "integrations_wa_bot_id", "facebook": "integrations_fb_bot_id"}
# The README's example has these in the places of secrets.
PLACEHOLDERS = frozenset(
    {
        "what-the-bot-logs-in-with",
        "what-salesforce-logs-in-with",
        "the-output-of-openssl-rand-hex-32",
        "the-secret-that-signs-webhooks",
        "the-token-of-the-bot",
        "the-consumer-key",
        "the-consumer-secret",
        "the-password",
        "the-security-token",
    }
)
_YES = ("1", "true", "t", "yes", "y", "on")
Given = Mapping[str, str]
_SENTENCES = {
    "missing": "is required, but not set",
    "string_too_short": "is required, but empty",
    "too_short": "is required, but empty",
    "int_parsing": "is not a whole number",
    "int_type": "is not a whole number",
    "float_parsing": "is not a number",
    "bool_parsing": "is neither true nor false",
}


def faults_of(error: ValidationError, given: Given) -> list[str]:
    """A sentence for each variable that is missing or malformed."""
    told = error.errors(include_url=False)
    return [_sentence(detail, given) for detail in told if detail["type"] != "default_factory_not_called"]


def _sentence(detail: ErrorDetails, given: Given) -> str:
    """One fault as an operator reads it: the variable, what is wrong, what it was unless secret, and an example."""
    name = str(detail["loc"][0])
    field = Settings.model_fields[name]
    told = detail["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    wrong = _SENTENCES.get(detail["type"], told)
    return f"{variable_name(name)} {wrong}{_shown(field, given.get(name, ''))}; example: {_example(name)}"


def _shown(field: FieldInfo, text: str) -> str:
    """What was given, where that may be seen and helps."""
    secret = field.annotation is SecretStr or not field.repr or ("://" in text and "@" in text)
    return "" if secret or not 0 < len(text) <= 60 else f" (it is {text!r})"


def _example(name: str) -> str:
    extra = Settings.model_fields[name].json_schema_extra
    assert isinstance(extra, dict)
    return f"{variable_name(name)}={extra['example']}"


def faults_across(given: Given) -> list[str]:
    """What is wrong between variables; each row of the tables below is one rule."""
    given = {field: text for field, text in given.items() if text.strip()}
    lacking = {wanted: since for since, wanted in _GO_TOGETHER if since in given and wanted not in given}
    return [
        *(_lacks(wanted, since) for wanted, since in lacking.items()),
        *(sentence.format(**_NAMES) for rule, sentence in _RULES if rule(given)),
        *_placeholders(given),
    ]


def _lacks(wanted: str, since: str) -> str:
    return f"{variable_name(wanted)} is required, because {variable_name(since)} is set; example: {_example(wanted)}"


def _has_redis(given: Given) -> bool:
    return "redis_address" in given or {"redis_master", "redis_sentinel_address"} <= given.keys()


def _several_workers(given: Given) -> bool:
    workers = given.get("workers", "1").strip()
    return workers.isdecimal() and int(workers) > 1


def _outside_dev(given: Given) -> bool:
    return given.get("environment", "dev").strip().lower() != "dev"


def _weak_key(given: Given) -> bool:
    return _outside_dev(given) and 0 < len(given.get("secret_key", "").encode()) < SHORTEST_KEY_BYTES


def _unsigned(given: Given) -> bool:
    accepted = given.get("webhook_without_signature", "").strip().lower() in _YES
    return _outside_dev(given) and "integrations_signature" not in given and not accepted


def _placeholders(given: Given) -> list[str]:
    """A sentence for each secret that is still what the README's example has in its place."""
    left = [field for field, text in given.items() if _outside_dev(given) and text in PLACEHOLDERS]
    return [
        f"{variable_name(field)} is still the placeholder of the README's example, which is refused outside dev."
        for field in left
    ]


def faults_within(settings: Settings) -> list[str]:
    """What is wrong with valid settings: a bot whose users no flow has a queue for."""
    flows = settings.sfc_source_flow_bot.values()
    served = {provider for flow in flows for provider in flow.providers}
    return [
        f"{variable_name('sfc_source_flow_bot')} has no queue for {provider} in any flow, "
        f"although {variable_name(bot)} is set; example: {_example('sfc_source_flow_bot')}"
        for provider, bot in BOT_OF.items()
        if getattr(settings, bot) and provider not in served
    ]


# With the first, the second is needed.
_GO_TOGETHER = (
    ("redis_sentinel_address", "redis_master"),
    ("kafka_host", "kafka_user"),
    ("kafka_host", "kafka_password"),
    ("kafka_host", "kafka_topic"),
    ("kafka_topic", "kafka_host"),
    ("sfc_password", "sfc_username"),
    ("sfc_private_key", "sfc_username"),
    ("integrations_wa_bot_id", "integrations_wa_bot_jwt"),
    ("integrations_fb_bot_id", "integrations_fb_bot_jwt"),
    ("integrations_wa_bot_id", "integrations_base_url"),
    ("integrations_fb_bot_id", "integrations_base_url"),
)
_NAMES = {field: variable_name(field) for field in Settings.model_fields}
_RULES: tuple[tuple[Callable[[Given], bool], str], ...] = (
    (
        lambda given: _several_workers(given) and not _has_redis(given),
        "{workers} is more than 1, which needs Redis, because without it every worker would keep chats of its own; "
        "example: {redis_address}=redis:6379",
    ),
    (
        lambda given: "redis_master" in given and not _has_redis(given),
        "{redis_master} is set without {redis_sentinel_address}; "
        "example: {redis_sentinel_address}=sentinel-1:26379;sentinel-2:26379",
    ),
    (
        lambda given: not {"sfc_client_secret", "sfc_private_key"} & given.keys(),
        "{sfc_client_secret} is required, but not set, unless {sfc_private_key} is; "
        "example: {sfc_client_secret}=a secret",
    ),
    (
        lambda given: "kafka_host" in given and not _has_redis(given),
        "{kafka_host} is set without Redis, which keeps the chats even where Kafka is the inbox; "
        "example: {redis_address}=redis:6379",
    ),
    (
        _unsigned,
        "{integrations_signature} is required outside dev, because without it whoever reaches the webhook is believed; "
        "set {webhook_without_signature}=true if that is meant; example: {integrations_signature}=a long secret",
    ),
    (
        _weak_key,
        "{secret_key} is shorter than 32 bytes, which is refused outside dev; "
        "example: the output of `openssl rand -hex 32`",
    ),
)
