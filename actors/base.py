"""The base of every actor: a handler for each kind of message, and an error that never kills in silence."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ClassVar

import gevent
import pykka

log = logging.getLogger("bridge.actors")

Ref = pykka.ActorRef[Any]


class BridgeActor(pykka.ThreadingActor):
    """Hands each message to the handler of its type. An error is logged and given to `on_error`; the actor lives."""

    use_daemon_thread: ClassVar[bool] = True
    # Expected errors: they are logged by `on_error`, and here without a traceback.
    expected_errors: ClassVar[tuple[type[BaseException], ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        self.handlers: dict[type, Callable[[Any], Any]] = {}

    def on_receive(self, message: Any) -> Any:
        """In the actor's greenlet. A message without a handler is logged and dropped."""
        handler = self.handlers.get(type(message))
        if handler is None:
            log.warning("%s has no handler for %s", type(self).__name__, type(message).__name__)
            return None
        try:
            return handler(message)
        except (Exception, gevent.Timeout) as error:
            if not isinstance(error, self.expected_errors):
                log.exception("%s failed on %s", type(self).__name__, type(message).__name__)
            self.on_error(message, error)
            return None

    def on_error(self, message: Any, error: BaseException) -> None:
        """What follows an unexpected error. Override it where an owner has to be told."""


def tell(ref: Ref, message: Any) -> bool:
    """Tells, unless the actor has stopped meanwhile. Returns whether it was told."""
    try:
        ref.tell(message)
    except pykka.ActorDeadError:
        log.debug("%s came too late for %s", type(message).__name__, ref)
        return False
    return True


def mailbox_length(actor: Ref | BridgeActor) -> int:
    """How many messages wait in an actor's mailbox."""
    waiting: int = actor.actor_inbox.qsize()  # type: ignore[attr-defined]
    return waiting
