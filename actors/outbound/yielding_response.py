"""Answers read in turns: a host that never pauses would otherwise keep its greenlet running, and all others waiting."""

from __future__ import annotations

import http.client
import io
import socket
from typing import Any

import gevent

# A turn lasts as long as it takes to understand this much: 64 KiB of one-byte chunks took 0.4 s.
BUFFER = 4096


class _YieldingReader(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        # A socket that has bytes ready gives them without a switch: no other greenlet and no timer would get a turn.
        gevent.sleep(0)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class YieldingResponse(http.client.HTTPResponse):
    """An answer whose every piece, heads included, is read after a turn for everyone else."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_YieldingReader(self.fp.detach()), BUFFER)
