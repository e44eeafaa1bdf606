"""The settings of the service, from wherever they are given; every fault in one go."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping

from pydantic import ValidationError

from bridge.errors import SettingsError
from bridge.settings.faults import faults_across, faults_of
from bridge.settings.fields import LoginFlow, Settings
from bridge.settings.sources import FIELD_OF, KUBERNETES, PREFIXES, gather, variable_name, without_prefix
from bridge.settings.values import Flow, FlowQueue, Messages

__all__ = [
    "Flow",
    "FlowQueue",
    "LoginFlow",
    "Messages",
    "Settings",
    "load_settings",
    "unknown_variables",
    "variable_name",
]


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings out of `environ` (the process's own when None) and the files that it names.

    Raises SettingsError with a sentence for every fault; none shows a secret.
    """
    given, _, faults = gather(os.environ if environ is None else environ)
    if "sfc_api_version" in given:
        given.setdefault("liveagent_api_version", given["sfc_api_version"])
    faults += faults_across(given)
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        raise SettingsError(faults_of(error, given) + faults) from None
    if faults:
        raise SettingsError(faults)
    return settings


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """A sentence for each variable that has a prefix of ours but means nothing, with the nearest name."""
    environ = os.environ if environ is None else environ
    _, env_file, _ = gather(environ)
    names = sorted({without_prefix(name) for name in (*environ, *env_file)} - FIELD_OF.keys() - {""})
    return [_unknown(name) for name in names if not KUBERNETES.fullmatch(name) and not name.startswith("DD_")]


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, FIELD_OF, 1, cutoff=0.7)
    return f"{PREFIXES[0]}{name} is not a setting" + (f"; did you mean {PREFIXES[0]}{near[0]}?" if near else ".")
