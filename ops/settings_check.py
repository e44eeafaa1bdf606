"""Settings at the start of a process: read them, or tell the operator every fault and end."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import NoReturn

from bridge.errors import SettingsError
from bridge.settings.load import Settings, hints, load_settings
from bridge.settings.sources import gather

WRONG_SETTINGS = 2


def settings_or_exit(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings; or all faults on stderr, and the process ends with 2."""
    environ = os.environ if environ is None else environ
    try:
        return load_settings(environ)
    except SettingsError as error:
        end_with(error.faults + _hints(environ))


def _hints(environ: Mapping[str, str]) -> list[str]:
    """What may explain the faults; nothing when the .env file itself cannot be read."""
    try:
        return hints(gather(environ))
    except SettingsError:
        return []


def end_with(faults: list[str]) -> NoReturn:
    """Ends the process with 2 after printing the faults as a list."""
    count = "1 setting is" if len(faults) == 1 else f"{len(faults)} settings are"
    lines = [f"bridge cannot start: {count} wrong.", *(f"  - {fault}" for fault in faults)]
    print("\n".join(lines), file=sys.stderr)
    raise SystemExit(WRONG_SETTINGS)
