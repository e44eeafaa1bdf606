"""What the settings of the replaced service will do here: one row a difference, with what an operator does about it.

What the replaced service does with each setting: `ops/protocols/settings.md`, "Variables".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum

import msgspec

Variables = Mapping[str, str]

KNOWN_TEXTS = frozenset({
    "waitagent", "welcometemplate", "context", "descriptioncase", "uploadimageerror", "uploadimagesuccess",
    "uploadfileerror", "uploadfilesuccess", "uploadaudioerror", "uploadaudiosuccess", "queueposition", "waittime",
    "firstnamecontact", "clientlabel", "botlabel",
})  # fmt: skip
KAFKA = ("KAFKA_HOST", "KAFKA_PORT", "KAFKA_USER", "KAFKA_PASSWORD", "KAFKA_TOPIC")
SECRET_KEY_LENGTH = 32


class Weight(str, Enum):
    """How much a difference matters: the service does not start, callers or users notice, or nothing has to be done."""

    STOPS = "does not start"
    CHANGES = "behaves differently"
    NOTE = "for information"


class Difference(msgspec.Struct, frozen=True):
    """One row: when it applies, what is different, and what to do."""

    weight: Weight
    subject: str
    applies: Callable[[Variables], bool]
    here: str
    do: str


def differences(variables: Variables) -> Iterator[Difference]:
    """The rows that apply to the variables of an old service, the weightiest first. Names stand without a prefix."""
    found = [row for row in DIFFERENCES if row.applies(variables)]
    yield from sorted(found, key=lambda row: list(Weight).index(row.weight))


def _always(_: Variables) -> bool:
    return True


def _given(*names: str) -> Callable[[Variables], bool]:
    return lambda variables: any(variables.get(name, "").strip() for name in names)


def _outside_dev(variables: Variables) -> bool:
    return variables.get("ENVIRONMENT", "dev").strip().lower() not in ("", "dev")


def _short_key(variables: Variables) -> bool:
    return _outside_dev(variables) and len(variables.get("SECRET_KEY", "").encode()) < SECRET_KEY_LENGTH


def _unsigned(variables: Variables) -> bool:
    return _outside_dev(variables) and not variables.get("INTEGRATIONS_SIGNATURE", "").strip()


def _texts(variables: Variables) -> dict[str, object]:
    try:
        given = msgspec.json.decode(variables.get("MESSAGES") or "{}")
    except msgspec.DecodeError:
        return {}
    return {str(key).lower(): text for key, text in given.items()} if isinstance(given, dict) else {}


def _texts_in_part(variables: Variables) -> bool:
    given = _texts(variables)
    return bool(given) and not given.keys() >= KNOWN_TEXTS


def _version_without_its_own(variables: Variables) -> bool:
    return _given("SFC_API_VERSION")(variables) and not _given("LIVEAGENT_API_VERSION")(variables)


def _several_workers_without_redis(variables: Variables) -> bool:
    return not _given("REDIS_ADDRESS", "REDIS_SENTINEL_ADDRESS")(variables)


STOPS, CHANGES, NOTE = Weight.STOPS, Weight.CHANGES, Weight.NOTE

DIFFERENCES = (
    Difference(
        STOPS,
        "SECRET_KEY",
        _short_key,
        f"Outside dev a key of less than {SECRET_KEY_LENGTH} bytes is refused at the start.",
        "Set a new key: openssl rand -hex 32. Tokens that were signed with the old key end with it.",
    ),
    Difference(
        STOPS,
        "INTEGRATIONS_SIGNATURE",
        _unsigned,
        "Outside dev the service does not start without it, because anybody could write as any user.",
        "Set it, and have the sender sign; or set WEBHOOK_WITHOUT_SIGNATURE=true until the sender can.",
    ),
    Difference(
        CHANGES,
        "INTEGRATIONS_SIGNATURE",
        _given("INTEGRATIONS_SIGNATURE"),
        "The old service read it and never checked it. Here a webhook without the signature is refused with 403.",
        "Find out which header your sender uses, and set SIGNATURE_HEADER where it is not the default.",
    ),
    Difference(
        CHANGES,
        "tokens of /v1/authenticate",
        _always,
        "Tokens that the old service issued are refused, and new ones end after TOKEN_TTL (24 h).",
        "Have callers log in again after the switch, and whenever a request is answered 401.",
    ),
    Difference(
        CHANGES,
        "status codes of connect",
        _always,
        "A refusal was always 500. Here: 409 for an open chat, 403 blocked, 502 refused, 504 no answer.",
        "A flow that compares the status with 500 has to compare it with 200 instead.",
    ),
    Difference(
        CHANGES,
        "MESSAGES",
        _texts_in_part,
        "A key that is left out keeps its default text. In the old service it became an empty text.",
        'To silence a text, give it as an empty string: {"waitAgent": ""}.',
    ),
    Difference(
        CHANGES,
        "files from private addresses",
        _always,
        "A file is fetched from a public address only, unless MEDIA_ALLOWED_HOSTS names its host.",
        "Where users' files are behind a name of your own network, add that name to MEDIA_ALLOWED_HOSTS.",
    ),
    Difference(
        CHANGES,
        "Redis",
        _several_workers_without_redis,
        "Without Redis the service runs with one worker, and its chats end with it.",
        "Set REDIS_ADDRESS, or REDIS_MASTER and REDIS_SENTINEL_ADDRESS.",
    ),
    Difference(
        CHANGES,
        "SFC_API_VERSION",
        _version_without_its_own,
        "It sets the version of Live Agent too, unless LIVEAGENT_API_VERSION is set.",
        "Nothing, as long as both versions were the same before.",
    ),
    Difference(
        NOTE,
        "Kafka",
        _given(*KAFKA),
        "Messages go through Redis; the KAFKA_ variables are not used.",
        "Let the old service consume its topic to the end before you stop it.",
    ),
    Difference(
        NOTE,
        "CLEAN_CONTEXT_SCHEDULE",
        _given("CLEAN_CONTEXT_SCHEDULE"),
        "Each context entry expires by itself after 24 hours, so nothing is swept.",
        "Remove the variable.",
    ),
    Difference(
        NOTE,
        "USE_PROFILE",
        _given("USE_PROFILE"),
        "There are no /debug/pprof endpoints.",
        "Remove the variable.",
    ),
    Difference(
        NOTE,
        "replicas",
        _always,
        "The old service could run as one replica only. Here any number of workers and hosts share the chats.",
        "Set WORKERS, and run several hosts with the same Redis and CLIENT.",
    ),
    Difference(
        NOTE,
        "open chats",
        _always,
        "Open chats and context are under other keys in Redis, and are not taken over.",
        "Switch when few chats are open: the messages of such a user become context, and the bot is told nothing.",
    ),
)
