"""Timers: a message that is told to an actor after a delay."""

from __future__ import annotations

from typing import Any

import gevent

from bridge.actors.base import Ref, tell


def tell_after(ref: Ref, message: Any, delay_s: float) -> gevent.Greenlet:
    """Tells `message` to `ref` in `delay_s` seconds. Kill the returned greenlet to cancel it."""
    return gevent.spawn_later(max(delay_s, 0.0), tell, ref, message)
