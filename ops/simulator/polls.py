"""The long poll: one held request a session, ended by an event, the hold time, an overlap or a client that left."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent

from bridge.ops.simulator.chat_parts import LOST, Batch, Poll, Refusal
from bridge.ops.simulator.chats import Chat

_READ = 1


def hold(chat: Chat, ack: int | None, connection: socket.socket | None) -> Batch | None:
    """The next batch, or None when the hold time passed without one. Raises Refusal: 400, 403, 409, 503.

    A second poll is 409; in mode `terminate` (documented) it also ends the session, in mode `tolerate` the first stays
    held (liveagent.md, "Two polls at once"). A client that closed its connection stops counting at once when
    `notice_closed` is set.
    """
    _refuse_ended(chat)
    _refuse_overlap(chat)
    chat.confirm(ack)
    chat.hold_expiry()
    poll = chat.poll = Poll()
    chat.ledger.record("poll_began", session=chat.id, details={"ack": ack})
    outcome = "refused"
    try:
        with _watching(connection if chat.settings.notice_closed else None, poll):
            batch = _wait(chat, poll)
        outcome = "left" if poll.left else "empty" if batch is None else "batch"
        return batch
    finally:
        chat.poll = None
        chat.arm_expiry()
        chat.ledger.record("poll_ended", session=chat.id, text=outcome)


def _refuse_ended(chat: Chat) -> None:
    if chat.gone:
        raise Refusal(403, LOST)


def _refuse_overlap(chat: Chat) -> None:
    if chat.poll is None:
        return
    chat.ledger.overlapped(chat.id)
    if chat.settings.second_poll == "terminate":
        chat.destroy("duplicatePoll")
    raise Refusal(409, "Duplicate Long Polling")


def _wait(chat: Chat, poll: Poll) -> Batch | None:
    affinity = chat.affinity
    deadline = time.monotonic() + chat.settings.hold_s
    while not poll.left:
        _refuse_ended(chat)
        if chat.broken or chat.affinity != affinity:
            chat.was_503 = True
            raise Refusal(503, "Invalid Affinity Token")
        batch = chat.next_batch()
        if batch is not None:
            return batch
        if chat.status == "ended":
            chat.destroy(chat.reason)
            raise Refusal(403, LOST)
        poll.woken.clear()
        if not poll.woken.wait(max(0.0, deadline - time.monotonic())):
            return None
    return None


@contextmanager
def _watching(connection: Any, poll: Poll) -> Iterator[None]:
    """Wakes the poll when its connection is closed from the other side: one libev watcher, no greenlet."""
    if connection is None:
        yield
        return
    watcher = gevent.get_hub().loop.io(connection.fileno(), _READ)

    def readable() -> None:
        if not _closed(connection):
            # These are bytes of the next request: the connection is open, so stop watching.
            watcher.stop()
            return
        poll.left = True
        poll.woken.set()

    watcher.start(readable)
    try:
        yield
    finally:
        watcher.stop()
        watcher.close()


def _closed(connection: Any) -> bool:
    # Take the socket below gevent's: gevent's recv would wait, and a callback of the hub must not wait.
    try:
        return not connection._sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
