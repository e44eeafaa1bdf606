"""Answers that are read in turns: a host that sends without a pause would otherwise keep its greenlet running."""

from __future__ import annotations

import http.client
import io
import socket
from typing import Any

import gevent

# Bytes read in one turn. Parsing 64 KiB of one-byte chunks took 0.4 s.
BUFFER = 4096


class _YieldingReader(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        # recv() on a socket with bytes ready returns without a switch: no other greenlet and no timer would run.
        gevent.sleep(0)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class YieldingResponse(http.client.HTTPResponse):
    """An answer that lets other greenlets run before each piece, the head included."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_YieldingReader(self.fp.detach()), BUFFER)
