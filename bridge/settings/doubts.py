"""What is allowed, but probably not meant: a sentence for each, which is logged at the start."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from bridge.settings.faults import BOT_OF
from bridge.settings.fields import Settings
from bridge.settings.sources import FIELD_OF, KUBERNETES, PREFIXES, Gathered, variable_name
from bridge.settings.values import faults_of_texts

# Read and checked for those who have them in their manifests, but without any effect yet.
UNUSED = (
    "sentry_dsn",
    "dd_service",
    "use_profile",
    "clean_context_schedule",
    "kafka_host",
    "kafka_port",
    "kafka_user",
    "kafka_password",
    "kafka_topic",
)
ENVIRONMENTS = ("dev", "staging", "prod", "production")


def unknown(gathered: Gathered) -> list[str]:
    """A sentence for each variable that has a prefix of ours but means nothing, with the nearest name."""
    names = sorted(gathered.names - FIELD_OF.keys())
    return [_unknown(name) for name in names if not KUBERNETES.fullmatch(name) and not name.startswith("DD_")]


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, FIELD_OF, 1, cutoff=0.7)
    return f"{PREFIXES[0]}{name} is not a setting" + (f"; did you mean {PREFIXES[0]}{near[0]}?" if near else ".")


def unused(gathered: Gathered) -> list[str]:
    """One sentence for all settings that are given and have no effect."""
    names = [variable_name(field).removeprefix(PREFIXES[0]) for field in UNUSED if field in gathered.given]
    return [f"These settings are read, but nothing uses them yet: {', '.join(names)}."] if names else []


def unknown_texts(gathered: Gathered) -> list[str]:
    """A sentence for each key of MESSAGES that names no text: it is ignored, as the replaced service does."""
    faults = faults_of_texts(str(gathered.given.get("messages", "")))
    return [f"{variable_name('messages')} {fault}." for fault in faults]


def doubts_about(settings: Settings) -> list[str]:
    """What a valid object of settings says that an operator may not have meant."""
    return [*_about_environment(settings), *_about_signature(settings), *_about_flows(settings)]


def _about_environment(settings: Settings) -> Iterator[str]:
    if settings.environment.strip().lower() not in ENVIRONMENTS:
        yield (
            f"{variable_name('environment')} is {settings.environment!r}, which counts as prod; "
            "the names are dev, staging and prod."
        )


def _about_signature(settings: Settings) -> Iterator[str]:
    if settings.outside_dev and not settings.integrations_signature:
        yield (
            f"{variable_name('webhook_without_signature')} is set: whoever reaches the webhook is believed, "
            "because no signature is checked."
        )


def _about_flows(settings: Settings) -> Iterator[str]:
    flows, variable = settings.sfc_source_flow_bot, variable_name("sfc_source_flow_bot")
    if "default" not in flows:
        yield f"{variable} has no flow 'default': a connect that names no flow of it is refused."
    for name, flow in flows.items():
        for provider, bot in BOT_OF.items():
            if getattr(settings, bot) and provider not in flow.providers:
                yield (
                    f"{variable} has no queue for {provider} in the flow {name!r}, although {variable_name(bot)} is "
                    "set: such a connect is refused."
                )
