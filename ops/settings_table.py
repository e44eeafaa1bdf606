"""The table of settings, made from the fields; `python -m bridge.ops.settings_table` puts it into the page."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from bridge.settings.load import Settings, variable_name
from bridge.texts import Messages

PAGE = Path(__file__).resolve().parent / "docs/settings.md"
BEGIN, END = "<!-- settings: `python -m bridge.ops.settings_table` -->\n", "<!-- end of settings -->"
_HEAD = "| variable | meaning | default | required |\n|---|---|---|---|"


def settings_table() -> str:
    """Markdown: name, meaning, default and required of every variable."""
    return "\n".join([_HEAD, *(_row(name, field) for name, field in Settings.model_fields.items())])


def _row(name: str, field: FieldInfo) -> str:
    cells = [f"`{variable_name(name)}`", field.description or "", _default(field), shown(field, "needed")]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: FieldInfo) -> str:
    """The default as it would be written in the environment; empty when the setting has no default."""
    if field.is_required() or field.default_factory:
        return ""
    written = _written(field.default, shown(field, "example"))
    return f"`{written}`" if written else ""


def _written(default: object, example: str) -> str:
    if isinstance(default, Messages):
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, (tuple, dict, SecretStr)):
        return example if default else ""
    return f"{default:g}" if isinstance(default, float) else str(default)


def shown(field: FieldInfo, what: str) -> str:
    """What a field tells an operator beside its meaning: its `example`, or when it is `needed`."""
    extra = field.json_schema_extra
    return str(extra[what]) if isinstance(extra, dict) else ""


def main() -> None:
    """Writes the table between the two markers of the page."""
    before, begin, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    PAGE.write_text(f"{before}{begin}{settings_table()}\n{end}{after}", "utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
