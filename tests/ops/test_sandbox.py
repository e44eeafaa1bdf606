"""`bridge sandbox`: its story, what it prints to be pasted, and that nothing is left of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import TypeVar

import pytest

from bridge.ops.demo import conversation as sandbox_conversation
from bridge.ops.demo import sandbox
from bridge.ops.demo.narrator import Narrator
from bridge.ops.service_process import ServiceProcess

ROOT = Path(__file__).resolve().parents[2]
Found = TypeVar("Found")


def wait_for(look: Callable[[], Found], *, within_s: float = 20.0) -> Found:
    """What `look` finds, as soon as it finds something."""
    deadline_s = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline_s, "it did not come about in time"
        time.sleep(0.05)
    return found


class Played:
    """A running `bridge sandbox`; `folder` is for its temporary files."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self._mark = uuid.uuid4().hex
        self._out, self._err = folder / "out", folder / "err"
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bridge.ops.cli", "sandbox", *options],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "TMPDIR": str(self.temporary), "MARK": self._mark, "COLUMNS": "160"},
                stdout=out,
                stderr=err,
            )

    @property
    def said(self) -> str:
        return self._out.read_text("utf-8")

    @property
    def complained(self) -> str:
        return self._err.read_text("utf-8")

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return self.process.wait(timeout=15)

    def leftovers(self) -> list[str]:
        """Files in its temporary folder, and processes that descend from it."""
        marked = f"MARK={self._mark}".encode()
        processes = [entry.parent.name for entry in Path("/proc").glob("[0-9]*/environ") if marked in _content(entry)]
        return [*(path.name for path in self.temporary.iterdir()), *processes]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@contextmanager
def playing(folder: Path, *options: str) -> Iterator[Played]:
    played = Played(folder, *options)
    try:
        yield played
    finally:
        if played.process.poll() is None:
            played.process.terminate()
            played.process.wait(timeout=15)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A temporary folder with a name that is short enough for the sockets in it."""
    with tempfile.TemporaryDirectory(prefix="bridge-") as name:
        yield Path(name)


def in_order(text: str, *parts: str) -> bool:
    return re.search(".*".join(map(re.escape, parts)), text, re.DOTALL) is not None


# --- the story --------------------------------------------------------------------------------------------------------


def test_the_whole_story_is_printed_and_nothing_is_left_of_it(folder: Path) -> None:
    with playing(folder) as played:
        assert played.process.wait(timeout=50) == 0
    assert in_order(
        played.said,
        "WhatsApp: Eduardo Ochoa",
        "kept as context",
        "contact created",
        "case 00000001 opened",
        "200 Chat created succefully",
        "Bridge → Eduardo",
        "Esperando un agente",
        "on hold",
        "Eduardo → Bridge",
        "¿Hay alguien ahí?",
        "takes the chat",
        "Bridge → Ana",
        "Contexto:",
        "Te comunico con un asesor.",
        "Eduardo → Ana",
        "Hola soy Eduardo Ochoa y necesito ayuda",
        "¿Hay alguien ahí?",
        "Ana → Eduardo",
        "file attached to the case",
        "adjunto una imagen",
        "from-sf-success",
        "context again",
        "Messenger: Lucía Prado",
        "contact found",
        "from-sf-success",
        "Both conversations went as they should.",
    )
    assert "\x1b" not in played.said
    assert played.complained == ""
    assert played.leftovers() == []


def test_a_story_that_is_interrupted_leaves_nothing(folder: Path) -> None:
    with playing(folder) as played:
        wait_for(lambda: "WhatsApp" in played.said)
        assert played.end(signal.SIGINT) == 130
    assert played.complained == ""
    assert played.leftovers() == []


def test_a_step_that_does_not_come_is_named_and_the_end_of_the_log_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sandbox_conversation, "STEP_S", 1.0)

    def nobody_is_there(running: sandbox.Running, narrator: Narrator) -> None:
        running.simulator.configure(agents_online=False)
        sandbox._tell_story(running, narrator)

    assert sandbox._act(nobody_is_there, (0, 0)) == 1
    said = capsys.readouterr().out
    assert "The sandbox failed: the chat at the agents' desk did not come within 1 s." in said
    assert "The service's log ends:" in said
    log = Path(said.rpartition("The whole log: ")[2].strip())
    assert "bridge is up" in log.read_text()
    log.unlink()


def test_a_service_that_does_not_start_is_a_failure_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    complete = sandbox._environ
    monkeypatch.setattr(sandbox, "_environ", lambda *given: {**complete(*given), "SALESFORCE_INTEGRATION_PORT": "no"})
    monkeypatch.setattr(ServiceProcess, "start", _start_without_port)
    assert sandbox._act(lambda running, narrator: None, (0, 0)) == 1
    said = capsys.readouterr().out
    assert "The sandbox failed: the service ended at once." in said
    assert "SALESFORCE_INTEGRATION_PORT" in said
    Path(said.rpartition("The whole log: ")[2].strip()).unlink()


def _start_without_port(service: ServiceProcess) -> None:
    command = [sys.executable, "-m", "bridge.ops.cli", "serve"]
    service._process = subprocess.Popen(command, env=service.environ, stdout=service.log, stderr=subprocess.STDOUT)


# --- to play with -----------------------------------------------------------------------------------------------------


def pasted(said: str) -> list[str]:
    """The lines that are meant to be pasted: those that are indented."""
    return [line.strip() for line in said.splitlines() if line.startswith("  ")]


class Shell:
    """Somebody who pastes."""

    def __init__(self) -> None:
        self._token = ""

    def log_in(self, command: str) -> str:
        self._token = self.run(f'{command}\necho "$TOKEN"').strip()
        return self._token

    def run(self, command: str) -> str:
        environ = {"PATH": os.environ["PATH"], "TOKEN": self._token}
        pasted = subprocess.run(
            ["bash", "-c", command], env=environ, cwd=ROOT, capture_output=True, text=True, timeout=20
        )
        assert pasted.returncode == 0, (command, pasted.stderr)
        return pasted.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl to paste into")
def test_every_line_to_paste_works_and_control_c_ends_it_all(folder: Path) -> None:
    shell = Shell()
    with playing(folder, "--serve") as played:
        lines = wait_for(lambda: pasted(played.said) if "outside the chat" in played.said else [])
        log_in, connect, say, accept, answer, to_agent, to_user, ledger, dump, end, context = lines
        assert shell.log_in(log_in).count(".") == 2
        assert shell.run(connect) == '{"Message":"Chat created succefully"}\n'
        assert shell.run(say) == shell.run(say) == '{"Message":"insert success"}\n'
        assert json.loads(shell.run(accept))["status"] == "active"
        wait_for(lambda: shell.run(to_agent).count("¿hay alguien?") == 2)
        assert json.loads(shell.run(answer))["agent"] == "Ana"
        wait_for(lambda: "Hola, soy Ana" in shell.run(to_user))
        assert "case_created" in {entry["kind"] for entry in json.loads(shell.run(ledger))["entries"]}
        assert in_order(shell.run(dump), "Interconnections", "521*******599", "active")
        assert json.loads(shell.run(end))["status"] == "ended"
        assert json.loads(shell.run(context)) == []
        assert len(played.leftovers()) >= 4, "the folder of the sockets, the sandbox, the service and its worker"
        began_s = time.monotonic()
        assert played.end(signal.SIGINT) == 0
        assert time.monotonic() - began_s < 8
    assert played.complained == ""
    assert played.leftovers() == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_even_in_the_middle_of_its_start(folder: Path, how: signal.Signals) -> None:
    with playing(folder, "--serve") as played:
        wait_for(lambda: list(played.temporary.iterdir()))
        assert played.end(how) == 0
    assert played.complained == ""
    assert played.leftovers() == []


def test_a_service_that_dies_ends_the_sandbox_with_its_log(folder: Path) -> None:
    with playing(folder, "--serve") as played:
        wait_for(lambda: "outside the chat" in played.said)
        (master,) = (int(pid) for pid in _children(played.process.pid))
        os.killpg(master, signal.SIGKILL)
        assert played.process.wait(timeout=15) == 1
    assert in_order(played.said, "The sandbox failed: the service ended by itself.", "bridge is up", "The whole log:")
    assert [name for name in played.leftovers() if not name.endswith(".log")] == []


def _children(pid: int) -> list[str]:
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=True).stdout
    return listed.split()


# --- how it looks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [30, 71, 72, 200])
def test_nothing_is_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    out = StringIO()
    narrator = Narrator(out)
    narrator.title("WhatsApp: Eduardo Ochoa, 5217331175599")
    narrator.said("Eduardo", "Bridge", "una frase que no cabe en una sola línea de una terminal angosta " * 3)
    narrator.did("something that the service did, told in a sentence of some length " * 2)
    assert max(map(len, out.getvalue().splitlines())) <= width
    assert in_order(out.getvalue(), "Eduardo → Bridge", "una frase", "·", "something")


def test_what_is_to_be_pasted_is_never_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    out = StringIO()
    Narrator(out).verbatim("  curl " + "x" * 200)
    assert out.getvalue() == "  curl " + "x" * 200 + "\n"


def test_texts_are_shown_as_they_are_and_not_as_markup() -> None:
    out = StringIO()
    Narrator(out).said("Ana", "Eduardo", "[bold]:smile: [/nothing]")
    assert "[bold]:smile: [/nothing]" in out.getvalue()
