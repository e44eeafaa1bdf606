"""A client's connection: it yields before each read, and each wait for the client has a time limit."""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Any

import gevent
from gunicorn.util import close_graceful

HEAD_TIMEOUT_S = 10.0
SEND_TIMEOUT_S = 30.0
# Without SO_SNDBUF the kernel grows the buffer of a client that does not read to several megabytes.
SEND_BUFFER_BYTES = 256 * 1024
# Gunicorn reads up to 1 MiB ahead, bytes that the budget for bodies does not count.
READ_BYTES = 65_536
# After so many reads of one request each further one pauses. `sleep(0)` alone lets gevent go on with the same greenlet
# for 5 ms before it looks for new connections.
READS_AT_ONCE = 4
PAUSE_S = 0.001
LINGER_S = 1.0
LINGER_BYTES = 1024 * 1024


class HeadTimeout(gevent.Timeout):  # type: ignore[misc]  # gevent carries no types for it
    """The client did not send a whole head in time."""


class Connections:
    """The open connections of a worker: busy ones (within a request) and idle ones, the oldest of each first."""

    def __init__(self) -> None:
        self._busy: dict[ClientConnection, None] = {}
        self._idle: dict[ClientConnection, None] = {}

    def __len__(self) -> int:
        return len(self._busy) + len(self._idle)

    def mark_busy(self, connection: ClientConnection) -> None:
        """A request began. A new connection is busy from the start."""
        self._idle.pop(connection, None)
        self._busy.setdefault(connection)

    def mark_idle(self, connection: ClientConnection) -> None:
        """A request was answered."""
        self._busy.pop(connection, None)
        self._idle[connection] = None

    def discard(self, connection: ClientConnection) -> None:
        """The connection is closed."""
        self._busy.pop(connection, None)
        self._idle.pop(connection, None)

    def cut_off_one(self) -> None:
        """Ends the connection that has waited longest for its client; a busy one before an idle one."""
        waiting = (one for one in (*self._busy, *self._idle) if one.is_reading and not one.is_cut_off)
        if (connection := next(waiting, None)) is not None:
            connection.cut_off()

    def cut_off_waiting(self) -> None:
        """Ends every connection that has not sent a whole head."""
        for connection in (*self._busy, *self._idle):
            if connection.awaits_head:
                connection.cut_off()


class ClientConnection:
    """A client's socket, as Gunicorn uses it."""

    def __init__(self, client: Any, connections: Connections) -> None:
        self.is_reading = False
        self.is_cut_off = False
        self.awaits_head = False
        self._socket = client
        self._connections = connections
        self._requests = 0
        self._head_timeout = HeadTimeout(None)
        self._reads = 0
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        connections.mark_busy(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def begin_head(self, idle_s: float) -> None:
        """A head is awaited: the first for HEAD_TIMEOUT_S, a later one for `idle_s` until its first byte."""
        self.awaits_head, self._reads = True, 0
        if self._requests:
            self._connections.mark_idle(self)
        self._limit_head(idle_s if self._requests else HEAD_TIMEOUT_S)
        self._requests += 1

    def end_head(self) -> None:
        """The head is read, or given up."""
        self._head_timeout.close()
        self.awaits_head = False
        self._connections.mark_busy(self)

    def _limit_head(self, timeout_s: float) -> None:
        self._head_timeout.close()
        self._head_timeout = HeadTimeout.start_new(timeout_s, False)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Yields, then reads: `recv` on a socket that has bytes ready does not switch greenlets."""
        if self._reads:
            # The first read of a head needs no turn for the others: the request before it, or the accept, gave one.
            gevent.sleep(0 if self._reads < READS_AT_ONCE else PAUSE_S)
            self._continue_head()
        self.is_reading = True
        try:
            data: bytes = self._socket.recv(min(size, READ_BYTES), flags)
        finally:
            self.is_reading = False
        self._reads += 1
        return data

    def _continue_head(self) -> None:
        # A client that has begun a head is not idle: the rest has the time limit of a first head.
        if self.awaits_head and self._head_timeout.seconds != HEAD_TIMEOUT_S:
            self._limit_head(HEAD_TIMEOUT_S)
            self._connections.mark_busy(self)

    def sendall(self, data: bytes, flags: int = 0) -> None:
        """Raises ConnectionResetError when the client has not taken all of it within SEND_TIMEOUT_S."""
        self._socket.settimeout(SEND_TIMEOUT_S)
        try:
            self._socket.sendall(data, flags)
        except TimeoutError as error:
            raise ConnectionResetError(errno.ECONNRESET, "the client did not read its answer") from error
        finally:
            self._socket.settimeout(None)

    def cut_off(self) -> None:
        """Shuts the reading side down: the read under way returns the end of the stream, nothing else is disturbed."""
        self.is_cut_off = True
        with contextlib.suppress(OSError):
            # gevent's own `shutdown` would raise in the greenlet that reads.
            self._socket._sock.shutdown(socket.SHUT_RD)

    def close_behind_answer(self) -> None:
        """Closes after a short wait: to close with unread bytes resets the connection and loses the answer."""
        if not self.is_cut_off:
            close_graceful(self, timeout=LINGER_S, max_drain=LINGER_BYTES)
