"""The only clock that wakes anybody: a message told to an actor after a delay."""

from __future__ import annotations

from typing import Any

import gevent

from bridge.actors.base import Ref, tell


def tell_after(ref: Ref, message: Any, delay_s: float) -> gevent.Greenlet:
    """Tells `message` to `ref` in `delay_s` seconds, unless the greenlet that this gives is killed first."""
    return gevent.spawn_later(max(delay_s, 0.0), tell, ref, message)
