"""What `bridge migrate check` prints."""

from __future__ import annotations

from collections.abc import Mapping

from bridge.ops.migration.differences import Difference, Weight, differences


def report(variables: Mapping[str, str]) -> tuple[list[str], bool]:
    """The lines to print, and whether the service would start with these variables."""
    found = list(differences(variables))
    lines: list[str] = []
    for weight in Weight:
        rows = [row for row in found if row.weight is weight]
        if rows:
            lines += [f"{weight.value}:", *(line for row in rows for line in _lines(row)), ""]
    return lines, all(row.weight is not Weight.STOPS for row in found)


def _lines(row: Difference) -> list[str]:
    return [f"  {row.subject}", f"    {row.here}", f"    -> {row.do}"]
