"""The one set-up of logging: JSON lines, or plain lines on a terminal; without secrets and control characters."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr

from bridge.settings.load import Settings

_HIDDEN = "***"
_NAMES = (
    "password|token|jwt|secret|assertion|signature|authorization|session[_-]?key|affinity(?:[_-]?token)?"
    "|x-liveagent-session-key|x-liveagent-affinity|private[_-]?key|api[_-]?key|sid"
)
# A name and the separator before its value in a query, a header or JSON, also in JSON inside a JSON string.
_NAMED = rf"(?:\b|_)(?:{_NAMES})\\?[\"']?\s*[=:]\s*"
# (pattern of a secret, its replacement)
_SHAPES = (
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*"), _HIDDEN),
    (re.compile(r"\b00D\w{12,15}![\w.]+"), _HIDDEN),
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}![^\s\"'\\,]+", re.IGNORECASE), _HIDDEN),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), _HIDDEN),
    (re.compile(r"(://)[^\s/@:]*:[^\s/@]+@"), rf"\1{_HIDDEN}@"),
    (re.compile(r"\b(Bearer|OAuth|Basic)\s+[^\s\"'\\,]+", re.IGNORECASE), rf"\1 {_HIDDEN}"),
    (re.compile(rf"({_NAMED})(\\?[\"'])(?!Bearer|OAuth|Basic).+?\2", re.IGNORECASE), rf"\1\2{_HIDDEN}\2"),
    (re.compile(rf"({_NAMED})(?!Bearer|OAuth|Basic)[^\s\"'\\,;&}}]+", re.IGNORECASE), rf"\1{_HIDDEN}"),
)
_SHORTEST_SECRET = 6
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    code: f"\\u{code:04x}" for code in (0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF)
}
_CONTROL |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}
_ALL_BUT_NEWLINE = {code: text for code, text in _CONTROL.items() if code != ord("\n")}
_OWN_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def escape(text: str) -> str:
    """The text on one line, without any control character."""
    return text.translate(_CONTROL)


class Redaction:
    """Replaces what looks like a secret, and the value of every secret setting."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = sorted((held for held in secrets if len(held) >= _SHORTEST_SECRET), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        for shape, left in _SHAPES:
            text = shape.sub(left, text)
        return text


class PlainLines(logging.Formatter):
    """For a person at a terminal."""

    def __init__(self, redact: Redaction) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
        self._redact = redact

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        """The line without its traceback."""
        extra = "".join(f" {name}={value}" for name, value in _extra(record).items())
        return escape(self._redact(super().formatMessage(record) + extra))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name is logging's
        """The traceback, on lines of its own."""
        return self._redact(super().formatException(ei)).translate(_ALL_BUT_NEWLINE)


class JsonLines(logging.Formatter):
    """For a machine: `at`, `level`, `logger`, `message`, what was given as `extra`, and `error` with a traceback."""

    def __init__(self, redact: Redaction) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """One JSON object on one line."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "at": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps({name: self._clean(value) for name, value in line.items()}, ensure_ascii=True)

    def _clean(self, value: object) -> object:
        return value if isinstance(value, (int, float, bool, type(None))) else self._redact(str(value))


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _OWN_ATTRIBUTES}


def secrets_of(settings: Settings) -> list[str]:
    """The value of every secret that is set."""
    held = (getattr(settings, name) for name in type(settings).model_fields)
    return [secret.get_secret_value() for secret in held if isinstance(secret, SecretStr) and secret]


def _not_below_info(level: str) -> str:
    return "INFO" if level == "DEBUG" else level


def logging_config(settings: Settings) -> dict[str, Any]:
    """For `logging.config.dictConfig`, and for Gunicorn's own loggers with it."""
    lines = PlainLines if sys.stderr.isatty() else JsonLines
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": lines, "redact": Redaction(secrets_of(settings))}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines", "stream": "ext://sys.stderr"}},
        "root": {"level": settings.log_level, "handlers": ["stderr"]},
        "loggers": {
            # Gunicorn writes whole paths at DEBUG, users' phone numbers included.
            "gunicorn.error": {"level": _not_below_info(settings.log_level), "handlers": [], "propagate": True},
            # urllib3 writes whole addresses at DEBUG, query strings included.
            "urllib3": {"level": "WARNING"},
        },
    }
