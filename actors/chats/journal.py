"""The recorder: what one interconnection writes down and reads back, for as long as its partition is its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import gevent
import msgspec

from bridge.actors.leases import Lease
from bridge.actors.store.store import Commit, Store
from bridge.chat.machine import ENDS, Chat
from bridge.chat.step import Step
from bridge.errors import Fenced, StoreUnavailable
from bridge.limits import backoff_s
from bridge.messages import InboxEvent, decode_event
from bridge.records import ChatRecord, ContextEntry

log = logging.getLogger("bridge.interconnection")

Found = TypeVar("Found")


class Journal:
    """One user's place in the store. A store that is away is waited for: the step is held, its entry stays pending.

    Every method raises Fenced as soon as the lease is not held any more.
    """

    def __init__(self, store: Store, user_id: str, lease: Lease) -> None:
        self._store = store
        self._user_id = user_id
        self._lease = lease

    def write(self, chat: Chat, step: Step, entries: Sequence[str]) -> None:
        """Writes a step down, with the entries of the inbox that led to it."""
        commit = Commit(
            user_id=self._user_id,
            record=chat.record,
            over=chat.state in ENDS,
            entries=entries,
            context=step.context,
            dead_letters=step.dead_letters,
            flight=step.flight if chat.record else (),
        )
        self._when_it_answers(lambda: self._store.commit(self._lease, commit))

    def answer(self, step: Step) -> None:
        """Gives the step's answers to those who asked; who hears none is told so by the front door."""
        for ask, answer in step.answers:
            try:
                self._store.reply(ask, answer)
            except StoreUnavailable as error:
                log.warning("an answer was not given: %s", error)

    def record(self) -> ChatRecord | None:
        """The chat as it was last written down."""
        return self._when_it_answers(lambda: self._store.chat(self._user_id))

    def inbox(self) -> list[tuple[str, InboxEvent]]:
        """What lies in the inbox for this user, in order: entry ids and events."""
        entries = self._when_it_answers(lambda: self._store.inbox_of(self._user_id))
        return [(entry_id, event) for entry_id, raw in entries if (event := _readable(entry_id, raw)) is not None]

    def context(self) -> tuple[ContextEntry, ...]:
        """What was said outside a chat, as of now."""
        return tuple(self._when_it_answers(lambda: self._store.context(self._user_id)))

    def _when_it_answers(self, call: Callable[[], Found]) -> Found:
        tries = 0
        while self._lease.held:
            try:
                return call()
            except StoreUnavailable as error:
                log.warning("a chat waits for the store: %s", error)
                gevent.sleep(backoff_s(tries, base_s=0.1, cap_s=1.0))
                tries += 1
        raise Fenced(f"the lease on partition {self._lease.partition} is over")


def _readable(entry_id: str, raw: bytes) -> InboxEvent | None:
    try:
        return decode_event(raw)
    except msgspec.MsgspecError:
        log.exception("entry %s cannot be read and is left where it is", entry_id)
        return None
