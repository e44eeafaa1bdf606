"""`bridge dump`: a worker's socket, and what an operator sees of it."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gevent.socket
import pytest
from gevent.server import StreamServer

from bridge.messages import mask_user
from bridge.ops import dump
from bridge.ops.dump import documents, show, socket_folder
from bridge.ops.ops_socket import OpsSocket, remove_stale

SNAPSHOT = {
    "worker": {"pid": 41, "partitions": [0, 7], "started_at_ms": 1},
    "registry": {"interconnections": 1, "mailbox": 2},
    "interconnections": [
        {
            "user": "5215512345599",
            "chat": "c1",
            "state": "active",
            "session": "f1a2b3c4-d5e6",
            "health": "ok",
            "at_desk": {"ack": 12, "sequence": 7},
            "owed_to_agent": 1,
            "owed_to_user": 2,
            "mailbox": 3,
            "last_poll_s": 1.25,
            "agent": "Ana [bold]\x1b[2J",
        }
    ],
    "pools": [{"name": "liveagent", "size": 8, "busy": 1, "queued": 0}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "sockets"


@pytest.fixture
def ops_socket(folder: Path) -> Iterator[OpsSocket]:
    opened = OpsSocket(folder, 8080, lambda: SNAPSHOT)
    opened.start()
    yield opened
    opened.stop()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_only_its_own_user_may_open_the_socket(ops_socket: OpsSocket) -> None:
    assert ops_socket.path.name == f"bridge-8080-{os.getpid()}.sock"
    assert mode(ops_socket.path) == 0o600
    assert mode(ops_socket.path.parent) == 0o700


def test_a_folder_that_others_could_enter_is_closed_to_them(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    opened = OpsSocket(folder, 1, dict)
    opened.start()
    opened.stop()
    assert mode(folder) == 0o700


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError):
        OpsSocket(tmp_path / "link", 1, dict).start()


def test_a_connection_is_answered_with_the_snapshot_and_masked_users(ops_socket: OpsSocket) -> None:
    for _ in range(2):
        (document,) = documents(ops_socket.path.parent)
        assert document["registry"] == {"interconnections": 1, "mailbox": 2}
        assert document["interconnections"][0]["user"] == "521*******599"


def test_a_stopped_worker_leaves_nothing(ops_socket: OpsSocket) -> None:
    ops_socket.stop()
    assert list(ops_socket.path.parent.iterdir()) == []


def test_what_dead_workers_left_is_removed_and_what_the_living_hold_is_not(folder: Path) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    folder.mkdir(mode=0o700)
    dead = folder / f"bridge-8080-{int(gone.stdout)}.sock"
    living = folder / f"bridge-8081-{os.getppid()}.sock"
    other = folder / "notes"
    for path in (dead, living, other):
        path.touch()
    opened = OpsSocket(folder, 8080, dict)
    opened.start()
    assert [path.exists() for path in (dead, living, other)] == [False, True, True]
    opened.stop()


def test_a_snapshot_that_fails_is_reported_and_the_socket_stays_open(folder: Path) -> None:
    answers = iter([SNAPSHOT])
    opened = OpsSocket(folder, 8080, lambda: next(answers))
    opened.start()
    assert "error" not in documents(folder)[0]
    assert "the snapshot failed" in documents(folder)[0]["error"]
    opened.stop()


def test_a_worker_that_does_not_answer_is_reported_beside_the_others(
    ops_socket: OpsSocket, capsys: pytest.CaptureFixture[str]
) -> None:
    (ops_socket.path.parent / "bridge-8080-1.sock").touch()
    assert show(ops_socket.path.parent, as_json=False)
    printed = capsys.readouterr().out
    assert "no answer" in printed
    assert "worker 41" in printed


class Impostor:
    """Answers on a socket of the folder with these bytes, again and again with a pause if it shall not end."""

    def __init__(self, folder: Path, answer: bytes, *, pause_s: float = 0.0) -> None:
        self._answer, self._pause_s = answer, pause_s
        listener = gevent.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(folder / "bridge-1-1.sock"))
        listener.listen(1)
        self._server = StreamServer(listener, self._serve)
        self._server.start()

    def _serve(self, connection: socket.socket, _: object) -> None:
        connection.sendall(self._answer)
        while self._pause_s:
            gevent.sleep(self._pause_s)
            connection.sendall(b" ")

    def stop(self) -> None:
        self._server.stop(timeout=0.1)


SHAPES = [b"[" * 100_000, b'{"worker": []}', b"[1]", b"", b"{", b'{"pools": [1]}', b'{"interconnections": {}}', b"null"]


@pytest.mark.parametrize("answer", SHAPES)
def test_an_answer_of_another_shape_is_reported(
    folder: Path, answer: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.mkdir(mode=0o700)
    impostor = Impostor(folder, answer)
    assert show(folder, as_json=False)
    assert "no answer" in capsys.readouterr().out
    impostor.stop()


def test_an_answer_without_end_has_a_deadline(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dump, "_PATIENCE_S", 0.3)
    folder.mkdir(mode=0o700)
    impostor = Impostor(folder, b"{", pause_s=0.02)
    (document,) = documents(folder)
    assert "not within 0.3 s" in document["error"] or "timed out" in document["error"]
    impostor.stop()


def test_a_folder_that_is_a_link_is_neither_read_nor_cleared(folder: Path, tmp_path: Path) -> None:
    folder.mkdir(mode=0o700)
    stale = folder / "bridge-9-999999.sock"
    stale.touch()
    link = tmp_path / "link"
    link.symlink_to(folder)
    with pytest.raises(PermissionError):
        remove_stale(link)
    with pytest.raises(PermissionError):
        documents(link)
    with pytest.raises(SystemExit, match="as the user that the service runs as"):
        show(link, as_json=True)
    assert stale.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_neither_read_nor_cleared(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / "bridge-9-999999.sock").touch()
    os.chown(folder, 65_534, 65_534)
    with pytest.raises(PermissionError):
        remove_stale(folder)
    with pytest.raises(PermissionError):
        documents(folder)


def test_the_tables_show_what_each_chat_owes(
    ops_socket: OpsSocket, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert show(ops_socket.path.parent, as_json=False)
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if "521*******599" in line)
    assert " ".join(row.split()).startswith("521*******599 active f1a2b3c4… ok ack 12, sequence 7 1 2 3 1.2")
    assert "Ana [bold]\\x1b[2J" in row
    assert "1 interconnections, mailbox 2" in printed
    assert "liveagent" in printed


def test_json_holds_every_worker(ops_socket: OpsSocket, capsys: pytest.CaptureFixture[str]) -> None:
    assert show(ops_socket.path.parent, as_json=True)
    (worker,) = json.loads(capsys.readouterr().out)["workers"]
    assert worker["interconnections"][0]["at_desk"]["sequence"] == 7


def test_without_a_service_there_is_nothing_to_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not show(tmp_path / "absent", as_json=True)
    assert json.loads(capsys.readouterr().out) == {"workers": []}


def test_the_folder_is_found_without_any_other_setting(tmp_path: Path) -> None:
    assert socket_folder({"SALESFORCE-INTEGRATION_OPS_SOCKET_DIR": str(tmp_path)}) == tmp_path
    assert socket_folder({}).name == f"bridge-{os.getuid()}"


@pytest.mark.parametrize(
    ("user", "shown"),
    [("5215512345599", "521*******599"), ("521*******599", "521*******599"), ("12345678", "1*******"), ("", "")],
)
def test_a_user_is_masked(user: str, shown: str) -> None:
    assert mask_user(user) == shown
