"""The journal: what one interconnection writes down and reads back while this worker owns its partition."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import gevent

from bridge.actors.inbox.engine import InboxEngine
from bridge.actors.leases import Lease
from bridge.actors.protocol import Entry
from bridge.actors.store.store import Commit, Store, version_of
from bridge.chat.machine import ENDS, Chat
from bridge.chat.step import Step
from bridge.errors import Fenced, StoreUnavailable
from bridge.limits import backoff_s
from bridge.records import ChatRecord, ContextEntry

log = logging.getLogger("bridge.interconnection")

Found = TypeVar("Found")


class Journal:
    """Reads and writes one user's chat. While the store does not answer, it tries again and the step waits.

    Every method raises Fenced as soon as the lease is not held any more.
    """

    def __init__(
        self, store: Store, inbox: InboxEngine, user_id: str, lease: Lease, *, record: ChatRecord | None = None
    ) -> None:
        self._base = version_of(record)
        self._store = store
        self._inbox = inbox
        self._user_id = user_id
        self._lease = lease

    def write(self, chat: Chat, step: Step, entries: Sequence[str]) -> None:
        """Writes a step, and records in the same commit that the entries of the inbox that led to it are done."""
        commit = Commit(
            user_id=self._user_id,
            record=chat.record,
            base=self._base,
            over=chat.state in ENDS,
            position=self._inbox.position(self._lease.partition, entries),
            context=step.context,
            dead_letters=step.dead_letters,
            sent_letters=step.sent_letters,
            flight=step.flight if chat.record else (),
        )
        self._write(commit, entries)
        self._base = "" if commit.over else version_of(chat.record)

    def set_aside(self, step: Step, entries: Sequence[str]) -> None:
        """Writes what entries led to that the chat may not have; the chat stays as it is."""
        position = self._inbox.position(self._lease.partition, entries)
        self._write(
            Commit(user_id=self._user_id, position=position, context=step.context, sent_letters=step.sent_letters),
            entries,
        )

    def _write(self, commit: Commit, entries: Sequence[str]) -> None:
        self._when_it_answers(lambda: self._store.commit(self._lease, commit))
        self._inbox.recorded(self._lease.partition, entries)

    def answer(self, step: Step) -> None:
        """Gives the step's answers to those who asked. An answer that is lost ends as a timeout at the front door."""
        for ask, answer in step.answers:
            try:
                self._store.reply(ask, answer)
            except StoreUnavailable as error:
                log.warning("partition %d: an answer was not given: %s", self._lease.partition, error)

    def record(self) -> ChatRecord | None:
        """The chat as it was last written down."""
        record = self._when_it_answers(lambda: self._store.chat(self._user_id))
        self._base = version_of(record)
        return record

    def inbox(self) -> list[Entry]:
        """The user's entries that no commit has recorded yet, in order."""
        return self._when_it_answers(lambda: self._inbox.read(self._user_id))

    def context(self) -> tuple[ContextEntry, ...]:
        """What was said outside a chat, as of now."""
        return tuple(self._when_it_answers(lambda: self._store.context(self._user_id)))

    def _when_it_answers(self, call: Callable[[], Found]) -> Found:
        tries = 0
        while self._lease.held:
            try:
                return call()
            except StoreUnavailable as error:
                log.warning("partition %d: a chat waits for the store: %s", self._lease.partition, error)
                gevent.sleep(backoff_s(tries, base_s=0.1, cap_s=1.0))
                tries += 1
        raise Fenced(f"the lease on partition {self._lease.partition} is over")
