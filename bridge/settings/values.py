"""From the text of one variable to a typed value; a ValueError says what is wrong, as the end of a sentence."""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec
from pydantic import BeforeValidator, SecretStr

from bridge.flows import Flow
from bridge.messages import Provider
from bridge.settings.schedule import parse_duration_s, parse_schedule
from bridge.texts import Messages

PROVIDERS: tuple[Provider, ...] = get_args(Provider)
# Texts that the replaced service does not send.
_NEW_TEXTS = (
    "uploadAudioError",
    "uploadAudioSuccess",
    "agentDisconnected",
    "transferBegan",
    "chatTransferred",
    "fileFromAgent",
    "deliveryFailed",
    "unreadable",
    "notReceived",
    "contextFailed",
)
_MESSAGE_NAMES = {name.lower(): name for name in Messages.__struct_encode_fields__}


_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*")
_OWN_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def parse_list(value: object) -> object:
    """`a, b` as ("a", "b"); empty parts are dropped."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def parse_lower_list(value: object) -> object:
    """`A, b` as ("a", "b")."""
    return parse_list(value.lower()) if isinstance(value, str) else value


def parse_map(value: object) -> object:
    """`key:value,key:value` as a dict; a value may hold `:`, a key may not repeat."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition(":") for part in value.split(",") if part.strip()]
    parsed = {key.strip(): held.strip() for key, _, held in pairs}
    if any(not colon or not key.strip() or not held.strip() for key, colon, held in pairs):
        raise ValueError("is not a map written key:value,key:value")
    if len(parsed) < len(pairs):
        raise ValueError("names the same key twice")
    return parsed


def parse_fields(value: object) -> object:
    """`key:Field__c,key:Object.Field` as a dict whose values can be names of fields in a query."""
    fields = parse_map(value)
    assert isinstance(fields, Mapping)
    if wrong := [field for field in fields.values() if not _FIELD.fullmatch(field)]:
        raise ValueError(f"names {wrong[0]!r}, which cannot be a field")
    return fields


def check_field(value: object) -> object:
    """The name of a field of the case itself."""
    if value and not _OWN_FIELD.fullmatch(str(value)):
        raise ValueError("names what cannot be a field")
    return value


def parse_flows(value: object) -> object:
    """`name={json};name={json}` as flows by name; the JSON's own strings may hold `=` and `;`."""
    if not isinstance(value, str):
        return value
    flows: dict[str, Flow] = {}
    rest = value.strip()
    while rest:
        name, equals, rest = rest.partition("=")
        if not equals or not name.strip():
            raise ValueError("is not written name={json};name={json}")
        flows[name.strip()], rest = _first_flow(name.strip(), rest.lstrip())
    if not flows:
        raise ValueError("holds no flow")
    return flows


def _first_flow(name: str, text: str) -> tuple[Flow, str]:
    """The flow that `text` starts with, and what follows its semicolon."""
    try:
        parsed, end = json.JSONDecoder().raw_decode(text)
        flow = msgspec.convert(parsed, Flow)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"has a flow {name!r} that is not understood: {error}") from None
    after = text[end:].strip()
    if after and not after.startswith(";"):
        raise ValueError(f"has something other than ';' behind the flow {name!r}")
    return flow, after.removeprefix(";").strip()


def parse_messages(value: object) -> object:
    """A JSON map, its keys in any case, over the defaults (settings.md, "Texts"). A key that names no text is ignored.

    `faults_of_texts` tells of such keys.
    """
    if not isinstance(value, str):
        return value
    try:
        given = json.loads(value or "{}")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from None
    if not isinstance(given, dict) or not all(isinstance(text, str) for text in given.values()):
        raise ValueError("is not a JSON map of texts")
    texts = {_MESSAGE_NAMES[key.lower()]: text for key, text in given.items() if key.lower() in _MESSAGE_NAMES}
    # An operator who gives texts may do so in another language: what the replaced service never sent stays silent.
    silent = dict.fromkeys(_NEW_TEXTS, "") if given else {}
    return msgspec.convert(silent | texts, Messages)


def faults_of_texts(value: str) -> list[str]:
    """A sentence for each key of MESSAGES that names no text; nothing where the value is no JSON map."""
    try:
        given = json.loads(value or "{}")
    except (ValueError, RecursionError):
        return []
    unknown = [key for key in given if key.lower() not in _MESSAGE_NAMES] if isinstance(given, dict) else []
    return [f"names no text {key!r}{_nearest(key)}; it is ignored" for key in unknown]


def _nearest(key: str) -> str:
    near = difflib.get_close_matches(key.lower(), _MESSAGE_NAMES, 1)
    return f" (did you mean {_MESSAGE_NAMES[near[0]]!r}?)" if near else ""


def states_over(default: str) -> BeforeValidator:
    """Reads a bot state for each provider; a provider that is not named keeps `default`."""

    def merge(value: object) -> object:
        given = parse_map(value)
        if not isinstance(given, Mapping):
            return given
        if unknown := sorted(set(given) - set(PROVIDERS)):
            raise ValueError(f"names the provider {unknown[0]!r}; there are {' and '.join(PROVIDERS)}")
        return dict.fromkeys(PROVIDERS, default) | dict(given)

    return BeforeValidator(merge)


def check_url(value: object) -> object:
    """An http or https address with a host; the slash at its end is dropped."""
    if not isinstance(value, str) or value == "":
        return value
    try:
        parts = urlsplit(value.strip())
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or re.search(r"\s", value.strip()):
        raise ValueError("is not an http:// or https:// address with a host")
    return value.strip().rstrip("/")


def check_redis_address(value: object) -> object:
    """`host:port`, `redis://…` or `rediss://…`; as an address with a scheme."""
    if not isinstance(value, str) or value == "":
        return value
    address = value.strip() if "://" in value else f"redis://{value.strip()}"
    try:
        parts = urlsplit(address)
        sound = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise ValueError("is not host:port, redis://host:port or rediss://host:port")
    return address


def parse_sentinels(value: object) -> object:
    """`host:port;host` as ("host:port", "host:26379")."""
    if not isinstance(value, str):
        return value
    return tuple(_with_port(part.strip()) for part in re.split(r"[;,]", value) if part.strip())


def _with_port(address: str) -> str:
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port or 26379
    except ValueError:
        host, port = None, 0
    if not host:
        raise ValueError("is not written host:port;host:port")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_networks(value: object) -> object:
    """`10.0.0.0/8, ::1` as networks; an address alone is a network of one."""
    if not isinstance(value, str):
        return value
    return tuple(_network(part.strip()) for part in value.split(",") if part.strip())


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"holds {text!r}, which is no address and no network: {error}") from None


def check_client(value: object) -> object:
    """A name that can be part of a key: Redis Cluster reads braces as a hash tag."""
    if re.search(r"[\s{}]", str(value).strip()):
        raise ValueError("holds a space or a brace, which a stored key cannot have")
    return str(value).strip()


def strip_brackets(value: object) -> object:
    """`[::1]` as `::1`."""
    return str(value).strip().strip("[]")


def check_timezone(value: object) -> object:
    """A name out of the time zone database."""
    try:
        ZoneInfo(str(value))
    except (ValueError, OSError, LookupError):
        raise ValueError("is not the name of a time zone") from None
    return value


def check_schedule(value: object) -> object:
    """What `bridge.settings.schedule.parse_schedule` understands."""
    parse_schedule(str(value))
    return value


def check_moment(value: object) -> object:
    """A date with a time in ISO form."""
    try:
        datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError("is not a date written like 1921-01-01T00:00:00") from None
    return value


def parse_api_version(value: object) -> object:
    """`52`, `52.0` and `v52.0` are all "52"."""
    found = re.fullmatch(r"v?(\d{2,3})(\.0)?", str(value).strip())
    if not found:
        raise ValueError("is not the number of an API version")
    return found[1]


def parse_pem(value: object) -> object:
    """A private key in PEM form; `\\n` written as two characters is a line's end."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    if text and "PRIVATE KEY-----" not in text:
        raise ValueError("is not a private key in PEM form")
    return SecretStr(text.replace("\\n", "\n"))


Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Networks = Annotated[tuple[Network, ...], BeforeValidator(parse_networks)]
ClientName = Annotated[str, BeforeValidator(check_client)]
Host = Annotated[str, BeforeValidator(strip_brackets)]
Seconds = Annotated[float, BeforeValidator(parse_duration_s)]
TextList = Annotated[tuple[str, ...], BeforeValidator(parse_list)]
LowerList = Annotated[tuple[str, ...], BeforeValidator(parse_lower_list)]
FieldMap = Annotated[Mapping[str, str], BeforeValidator(parse_fields)]
FieldName = Annotated[str, BeforeValidator(check_field)]
States = Mapping[Provider, str]
Flows = Annotated[Mapping[str, Flow], BeforeValidator(parse_flows)]
Texts = Annotated[Messages, BeforeValidator(parse_messages)]
Url = Annotated[str, BeforeValidator(check_url)]
RedisAddress = Annotated[str, BeforeValidator(check_redis_address)]
Sentinels = Annotated[tuple[str, ...], BeforeValidator(parse_sentinels)]
TimeZone = Annotated[str, BeforeValidator(check_timezone)]
ScheduleLine = Annotated[str, BeforeValidator(check_schedule)]
Moment = Annotated[str, BeforeValidator(check_moment)]
ApiVersion = Annotated[str, BeforeValidator(parse_api_version)]
Pem = Annotated[SecretStr, BeforeValidator(parse_pem)]
