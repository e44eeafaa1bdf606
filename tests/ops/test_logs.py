"""What reaches the log, and what never does."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import sys
from collections.abc import Iterator

import pytest

from bridge.ops.logs import JsonLines, PlainLines, Redaction, escape, logging_config, secrets_of
from bridge.ops.simulator.environ import sandbox_environ
from bridge.settings.load import load_settings

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl"
ACCESS_TOKEN = "00D000000000001!AQEAQJ.someLongTokenWith_Chars"
SESSION_KEY = "ec24aef5-c34c-4ab2-8ec3-0b3ea9ac2e1c!1382563219107!3z2mDnWJp+z="


class Log:
    """A logger of its own, and what it wrote."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self._written = io.StringIO()
        handler = logging.StreamHandler(self._written)
        handler.setFormatter(formatter)
        self.logger = logging.Logger("bridge.test")
        self.logger.addHandler(handler)

    @property
    def lines(self) -> list[str]:
        return self._written.getvalue().splitlines()

    @property
    def document(self) -> dict[str, object]:
        (line,) = self.lines
        parsed: dict[str, object] = json.loads(line)
        return parsed


@pytest.fixture
def machine() -> Log:
    return Log(JsonLines(Redaction(["known-secret"])))


@pytest.fixture
def terminal() -> Log:
    return Log(PlainLines(Redaction(["known-secret"])))


@pytest.fixture
def undisturbed_logging() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]


def test_a_machine_reads_one_json_object_a_line(machine: Log) -> None:
    machine.logger.warning("chat %s\nended", "c1", extra={"chat": "c1", "tries": 3})
    line = machine.document
    assert (line["level"], line["logger"], line["message"]) == ("WARNING", "bridge.test", "chat c1\nended")
    assert (line["chat"], line["tries"]) == ("c1", 3)
    assert str(line["at"]).endswith("Z")


def test_a_traceback_is_part_of_the_line(machine: Log) -> None:
    try:
        raise ValueError("with known-secret inside")
    except ValueError:
        machine.logger.exception("it broke")
    assert "ValueError: with *** inside" in str(machine.document["error"])


def test_a_person_reads_one_plain_line(terminal: Log) -> None:
    terminal.logger.info("chat open", extra={"chat": "c1"})
    (line,) = terminal.lines
    assert line.endswith("INFO    bridge.test: chat open chat=c1")


@pytest.mark.parametrize("evil", ["\x1b[2J", "\nINFO forged", "\r", "\x07", "\x9b31m", "\u202e", "\u2028"])
def test_control_characters_never_reach_the_log(machine: Log, terminal: Log, evil: str) -> None:
    for log in (machine, terminal):
        log.logger.info("user said %s!", evil)
        assert len(log.lines) == 1
        assert evil not in log.lines[0]
    assert machine.document["message"] == f"user said {evil}!"


def test_a_forged_line_in_a_traceback_on_a_terminal_cannot_move_the_cursor(terminal: Log) -> None:
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        terminal.logger.exception("it broke")
    assert "\x1b" not in "\n".join(terminal.lines)


@pytest.mark.parametrize(
    ("told", "secret"),
    [
        (f"Authorization: Bearer {ACCESS_TOKEN}", ACCESS_TOKEN),
        (f"token {JWT} refused", JWT),
        (f"GET /v1/context/52155?token={JWT}&x=1", JWT),
        ("POST /sendto?jwt=plain-token-here", "plain-token-here"),
        (f"X-LIVEAGENT-SESSION-KEY: {SESSION_KEY}", SESSION_KEY),
        (f"session {SESSION_KEY} lost", SESSION_KEY),
        ("{'X-LIVEAGENT-AFFINITY': '73061fa0'}", "73061fa0"),
        ('{"key": "x", "affinityToken": "73061fa0"}', "73061fa0"),
        ('body was "{\\"password\\":\\"open sesame\\"}"', "sesame"),
        ("grant_type=password&client_secret=hush&username=me", "hush"),
        ("{'access_token': '00D5e000001!AQ'}", "00D5e000001!AQ"),
        ("redis://:hunter22@redis:6379", "hunter22"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----", "MIIE"),
        ("it is known-secret, they say", "known-secret"),
    ],
)
def test_no_secret_reaches_the_log(machine: Log, terminal: Log, told: str, secret: str) -> None:
    for log in (machine, terminal):
        log.logger.error("%s", told, extra={"detail": told})
        assert secret not in "\n".join(log.lines)
        assert "***" in log.lines[0]


def test_text_that_is_not_secret_is_logged_as_it_is(machine: Log) -> None:
    told = "POST https://x/chat/rest/Chasitor/ChatMessage 409 sequence=3 ack=12 chat 5f1c-22 user 521*****599"
    machine.logger.info(told)
    assert machine.document["message"] == told


def test_the_secrets_of_the_settings_are_known_by_value() -> None:
    settings = load_settings(sandbox_environ("http://127.0.0.1:9"))
    redact = Redaction(secrets_of(settings))
    assert redact("sent sandbox-security-token and yalo-password") == "sent *** and ***"


def test_gunicorn_stays_above_debug_where_it_would_write_paths() -> None:
    settings = load_settings(sandbox_environ("http://127.0.0.1:9", log_level="DEBUG"))
    assert logging_config(settings)["loggers"]["gunicorn.error"]["level"] == "INFO"


def test_escape_leaves_ordinary_text_alone() -> None:
    assert escape("¿Qué tal, señor?") == "¿Qué tal, señor?"


@pytest.mark.usefixtures("undisturbed_logging")
def test_the_configuration_is_one_that_python_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    logging.config.dictConfig(logging_config(load_settings(sandbox_environ("http://127.0.0.1:9"))))
    logging.getLogger("bridge.anything").info("password=open")
    assert json.loads(written.getvalue())["message"] == "password=***"
