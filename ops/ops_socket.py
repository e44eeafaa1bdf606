"""The ops socket: each worker answers each connection with one JSON document, for operators on the same host."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gevent.server import StreamServer

from bridge.messages import mask_user

Snapshot = Callable[[], Mapping[str, Any]]

_log = logging.getLogger(__name__)
_NAME = re.compile(r"bridge-\d+-(\d+)\.sock")
_SLOWEST_READER_S = 5.0


class OpsSocket:
    """Serves what `snapshot` returns. The folder has mode 0700, the socket 0600."""

    def __init__(self, folder: Path, port: int, snapshot: Snapshot) -> None:
        self.path = folder / f"bridge-{port}-{os.getpid()}.sock"
        self._snapshot = snapshot
        self._server: StreamServer | None = None

    def start(self) -> None:
        """Opens the socket and removes those of dead workers. Raises OSError when the folder is another user's."""
        own_folder(self.path.parent)
        remove_stale(self.path.parent)
        self.path.unlink(missing_ok=True)
        self._server = StreamServer(_listener(self.path), self._answer)
        self._server.start()

    def stop(self) -> None:
        """Closes and removes the socket."""
        if self._server is not None:
            self._server.stop(timeout=1)
            self._server = None
            self.path.unlink(missing_ok=True)

    def _answer(self, connection: socket.socket, _: object) -> None:
        connection.settimeout(_SLOWEST_READER_S)
        try:
            connection.sendall(self._document())
        except OSError:
            _log.debug("the reader of the ops socket left early")

    def _document(self) -> bytes:
        try:
            return json.dumps(masked(self._snapshot()), default=str).encode()
        except Exception:
            _log.exception("the snapshot for the ops socket failed")
            return json.dumps({"error": "the snapshot failed; the reason is in this worker's log"}).encode()


def _listener(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(8)
    listener.setblocking(False)
    return listener


def own_folder(folder: Path) -> None:
    """Makes the folder, for this user alone. Raises OSError when another user made it: anyone may write to /tmp."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_owner(folder)
    if stat.S_IMODE(folder.lstat().st_mode) & 0o077:
        folder.chmod(0o700)


def check_owner(folder: Path) -> None:
    """Raises PermissionError when it is a link, no folder, or another user's; FileNotFoundError when it is absent."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{folder} is not a folder of this user")


def remove_stale(folder: Path) -> None:
    """Removes the sockets of processes that are gone. Raises OSError when the folder is not this user's."""
    check_owner(folder)
    for path in folder.glob("bridge-*.sock"):
        named = _NAME.fullmatch(path.name)
        if named and not _lives(int(named[1])):
            path.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def masked(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """The snapshot with masked user ids; it leaves the process only in this form."""
    rows = [{**row, "user": mask_user(str(row.get("user", "")))} for row in snapshot.get("interconnections", [])]
    return {**snapshot, "interconnections": rows}
