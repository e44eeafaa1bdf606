"""Where settings are read from, strongest first: the environment, a .env file, a folder with one file a variable."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

import msgspec

from bridge.settings.env_file import EnvFile, read_env_file
from bridge.settings.fields import Settings

# Strongest last: a shell can only export the first, and Kubernetes may inject its own variables under it.
PREFIXES = ("SALESFORCE_INTEGRATION_", "SALESFORCE-INTEGRATION_")

FIELD_OF = {field.upper(): field for field in Settings.model_fields} | {
    "SLEEP_LONG_POLLING": "sleep_long_polling_s",
    "SLEEP_LONG_POLLLING": "sleep_long_polling_s",
}
del FIELD_OF["SLEEP_LONG_POLLING_S"]
_VARIABLE_OF = {field: variable for variable, field in reversed(FIELD_OF.items())}
MAY_STAND_ALONE = ("ENV_FILE", "SECRETS_DIR", "DD_SERVICE")
# List settings accept an empty value. For all others, empty means not set.
_MAY_BE_EMPTY = frozenset(name for name, field in Settings.model_fields.items() if isinstance(field.default, tuple))
# What Kubernetes adds for a Service called salesforce-integration; PORT is then tcp://10.0.0.1:8080.
KUBERNETES = re.compile(r"SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP)(_\w+)?")


class Gathered(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in all sources."""

    given: dict[str, str]
    """Field → text."""
    names: frozenset[str]
    """The names of our variables, known or not, without their prefix."""
    faults: list[str]
    warnings: list[str]


def variable_name(field: str) -> str:
    """The full name of a field's variable."""
    return PREFIXES[0] + _VARIABLE_OF[field]


def without_prefix(name: str) -> str:
    """What stands behind one of our prefixes; empty for any other name."""
    return next((name.removeprefix(prefix) for prefix in PREFIXES if name.startswith(prefix)), "")


def gather(environ: Mapping[str, str]) -> Gathered:
    """Reads all sources. Raises SettingsError when the .env file cannot be read: other faults may follow from that."""
    faults: list[str] = []
    exported = _by_field(environ, MAY_STAND_ALONE)
    env_file = read_env_file(Path(exported["env_file"])) if "env_file" in exported else EnvFile()
    written = _by_field(env_file.variables, MAY_STAND_ALONE)
    secrets = _secret_files((written | exported).get("secrets_dir", ""), faults)
    return Gathered(
        # An empty variable is dropped from its own source, so that it hides nothing in the next one.
        given=_by_field(secrets, FIELD_OF) | written | exported,
        names=frozenset(map(without_prefix, (*environ, *env_file.variables, *secrets))) - {""},
        faults=faults,
        warnings=[*_twice(environ), *_twice(env_file.variables), *_bare(env_file.variables), *env_file.warnings],
    )


def _by_field(variables: Mapping[str, str], bare: Container[str]) -> dict[str, str]:
    """Field → text. Names in `bare` count without a prefix, too, but a prefix is stronger."""
    found = {FIELD_OF[name]: text for name, text in variables.items() if name in bare and name in FIELD_OF}
    found = {field: text for field, text in found.items() if _says_something(field, text)}
    for prefix in PREFIXES:
        found |= _under(prefix, variables)
    # A value made by `echo … | base64` ends in a newline that nobody meant.
    return {field: text.rstrip("\r\n") for field, text in found.items()}


def _under(prefix: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Field → text of the variables with this prefix that say something."""
    named = {name.removeprefix(prefix): text for name, text in variables.items() if name.startswith(prefix)}
    known = {FIELD_OF[name]: text for name, text in named.items() if name in FIELD_OF}
    return {field: text for field, text in known.items() if _says_something(field, text)}


def _says_something(field: str, text: str) -> bool:
    if field == "port" and text.startswith("tcp://"):
        return False
    return bool(text.strip()) or field in _MAY_BE_EMPTY


def _twice(variables: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each setting that one source gives under both prefixes, with different values."""
    weak, strong = (_under(prefix, variables) for prefix in PREFIXES)
    for field in weak.keys() & strong.keys():
        if weak[field] != strong[field]:
            name = _VARIABLE_OF[field]
            yield f"{PREFIXES[0]}{name} is ignored, because {PREFIXES[1]}{name} is set to another value."


def _bare(variables: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each setting in the .env file that lacks its prefix."""
    for name in variables:
        if name in FIELD_OF and name not in MAY_STAND_ALONE:
            yield f"{name} in ENV_FILE has no prefix, so it is not read; write {PREFIXES[0]}{name}."


def _secret_files(folder: str, faults: list[str]) -> Mapping[str, str]:
    """One file a variable. Names may be in lower case; Kubernetes' own entries start with a dot."""
    if not folder:
        return {}
    try:
        files = [path for path in sorted(Path(folder).iterdir()) if path.is_file() and not path.name.startswith(".")]
        ours = {path.name.upper(): path for path in files if _is_ours(path.name.upper())}
        return {name: path.read_text("utf-8") for name, path in ours.items()}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        faults.append(f"{variable_name('secrets_dir')} names {folder!r}, which cannot be read: {reason}.")
        return {}


def _is_ours(name: str) -> bool:
    return name in FIELD_OF or bool(without_prefix(name))
