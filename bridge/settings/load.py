"""Loads the settings of the service from all sources, and names every fault at once."""

from __future__ import annotations

import os
from collections.abc import Mapping

from pydantic import ValidationError

from bridge.errors import SettingsError
from bridge.settings.doubts import doubts_about, unknown, unknown_texts, unused
from bridge.settings.faults import faults_across, faults_of, faults_within
from bridge.settings.fields import Settings
from bridge.settings.sources import Gathered, gather, variable_name

__all__ = [
    "Settings",
    "load_settings",
    "unknown_variables",
    "variable_name",
    "warnings_about",
]


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings out of `environ` (the process's own when None) and the files that it names.

    Raises SettingsError with a sentence for every fault; none shows a secret.
    """
    return _checked(gather(os.environ if environ is None else environ))


def _checked(gathered: Gathered) -> Settings:
    given = dict(gathered.given)
    if "sfc_api_version" in given:
        given.setdefault("liveagent_api_version", given["sfc_api_version"])
    faults = [*gathered.faults, *faults_across(given)]
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        raise SettingsError(faults_of(error, given) + faults) from None
    if faults := [*faults, *faults_within(settings)]:
        raise SettingsError(faults)
    return settings


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """A sentence for each variable that has a prefix of ours but means nothing, with the nearest name."""
    return unknown(gather(os.environ if environ is None else environ))


def warnings_about(environ: Mapping[str, str] | None = None) -> list[str]:
    """A sentence for everything that is allowed, but probably not meant. Raises SettingsError as `load_settings`."""
    gathered = gather(os.environ if environ is None else environ)
    return [*hints(gathered), *unused(gathered), *unknown_texts(gathered), *doubts_about(_checked(gathered))]


def hints(gathered: Gathered) -> list[str]:
    """What may explain a fault: variables that are not read, or not as they are written."""
    return unknown(gathered) + gathered.warnings
