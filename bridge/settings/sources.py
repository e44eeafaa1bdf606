"""Where settings are read from, strongest first: the environment, a .env file, a folder with one file a variable."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values

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
# Where nothing is a value of its own; any other variable that is empty counts as not set.
_MAY_BE_EMPTY = frozenset(name for name, field in Settings.model_fields.items() if isinstance(field.default, tuple))
# What Kubernetes adds for a Service called salesforce-integration; PORT is then tcp://10.0.0.1:8080.
KUBERNETES = re.compile(r"SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP)(_\w+)?")


def variable_name(field: str) -> str:
    """The full name of a field's variable."""
    return PREFIXES[0] + _VARIABLE_OF[field]


def gather(environ: Mapping[str, str]) -> tuple[dict[str, str], Mapping[str, str], list[str]]:
    """What each field is given; the variables of the .env file; and what is wrong with the files that are named."""
    faults: list[str] = []
    spoken = _by_field(environ, MAY_STAND_ALONE)
    env_file = _read("env_file", spoken, faults)
    written = _by_field(env_file, MAY_STAND_ALONE)
    secrets = _read("secrets_dir", written | spoken, faults)
    gathered = _by_field(secrets, FIELD_OF) | written | spoken
    # A value made by `echo … | base64` ends in a newline that nobody meant.
    trimmed = {field: text.rstrip("\r\n") for field, text in gathered.items()}
    given = {field: text for field, text in trimmed.items() if text.strip() or field in _MAY_BE_EMPTY}
    return given, env_file, faults


def _by_field(variables: Mapping[str, str], bare: Container[str]) -> dict[str, str]:
    """Field → text. Names in `bare` count without a prefix, too, but a prefix is stronger."""
    named = {name: text for name, text in variables.items() if name in bare}
    for prefix in PREFIXES:
        named |= {name.removeprefix(prefix): text for name, text in variables.items() if name.startswith(prefix)}
    if named.get("PORT", "").startswith("tcp://"):
        del named["PORT"]
    return {FIELD_OF[name]: text for name, text in named.items() if name in FIELD_OF}


def without_prefix(name: str) -> str:
    """What stands behind one of our prefixes; empty for any other name."""
    return next((name.removeprefix(prefix) for prefix in PREFIXES if name.startswith(prefix)), "")


def _read(field: str, given: Mapping[str, str], faults: list[str]) -> Mapping[str, str]:
    """The variables in the file or folder that a field names; none when it is not given."""
    if not given.get(field):
        return {}
    try:
        return _READERS[field](Path(given[field]))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        faults.append(f"{variable_name(field)} names {given[field]!r}, which cannot be read: {reason}.")
        return {}


def _env_file(path: Path) -> Mapping[str, str]:
    parsed = dotenv_values(stream=StringIO(path.read_text("utf-8-sig")), interpolate=False)
    return {name: text for name, text in parsed.items() if text is not None}


def _secret_files(folder: Path) -> Mapping[str, str]:
    """One file a variable. Names may be in lower case; Kubernetes' own entries start with a dot."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    ours = {path: path.name.upper() for path in files}
    wanted = {path: name for path, name in ours.items() if (without_prefix(name) or name) in FIELD_OF}
    return {name: path.read_text("utf-8") for path, name in wanted.items()}


_READERS = {"env_file": _env_file, "secrets_dir": _secret_files}
