"""The door: what an HTTP request may ask of the actors, turned into posts, asks and calls."""

from __future__ import annotations

import time
from collections.abc import Callable

import gevent
import pykka

from bridge.actors.base import Ref
from bridge.actors.inbox.engine import InboxEngine
from bridge.actors.inbox.ownership import Ownership
from bridge.actors.inbox.replies import Replies
from bridge.actors.outbound.channels import UserChannel
from bridge.actors.outbound.pool import ClientPool
from bridge.actors.protocol import Ping
from bridge.actors.store.failures import FailureCounts
from bridge.actors.store.store import Store
from bridge.door import Failures, Health, Posted
from bridge.errors import AnswerTimeout, StoreUnavailable
from bridge.messages import (
    PROVIDERS,
    Answer,
    Ask,
    ConnectRequest,
    ConnectRequested,
    FinishRequested,
    InboxEvent,
    LeaveRequested,
    Provider,
    UserMessage,
    UserMessageReceived,
    user_key,
)
from bridge.records import ContextEntry

POST_TRIES = 2
ASK_TRIES_S = 3.0
ASK_PAUSE_S = 0.2


class ActorDoor:
    """Implements `bridge.door.Door`. It keeps nothing in memory: a post is in the store before it is answered."""

    def __init__(self, store: Store, inbox: InboxEngine, replies: Replies, *, timeout_s: float) -> None:
        self._store = store
        self._inbox = inbox
        self._replies = replies
        self._timeout_s = timeout_s

    def attach(
        self,
        *,
        registry: Ref,
        ownership: Ownership,
        channel: UserChannel,
        pool: ClientPool,
        failures: FailureCounts,
    ) -> None:
        """Gives it the parts that exist only in a running system."""
        self._failures = failures
        self._registry = registry
        self._ownership = ownership
        self._channel = channel
        self._pool = pool
        self._closing = False
        self._open_chats = 0

    def close(self) -> None:
        """From now on this worker is not ready."""
        self._closing = True

    def post(self, message: UserMessage, *, leave: bool = False) -> Posted:
        """Stores a message; what the bot said may only be context."""
        event: InboxEvent | None = None
        if message.sender == "user":
            event = LeaveRequested(message) if leave else UserMessageReceived(message)
        for _ in range(POST_TRIES - 1):
            try:
                return self._store.post(message, event, append=self._inbox.append)
            except StoreUnavailable:
                # The script drops a message that it has seen, so the whole script may be repeated.
                continue
        return self._store.post(message, event, append=self._inbox.append)

    def connect(self, request: ConnectRequest) -> Answer:
        """Opens a chat and waits for the answer: opened, or why not."""
        return self._ask(lambda ask: ConnectRequested(request, ask))

    def finish(self, user_id: str) -> Answer:
        """Ends a chat and waits until that is on record."""
        answers = [self._finish(user_id, provider) for provider in PROVIDERS]
        return next((answer for answer in answers if answer.code != "absent"), answers[0])

    def _finish(self, user_id: str, provider: Provider) -> Answer:
        chat_id = self._store.open_chat_id(user_key(user_id, provider))
        return self._ask(lambda ask: FinishRequested(user_id, ask, provider), chat_id)

    def context(self, user_id: str) -> list[ContextEntry]:
        """What was said outside a chat."""
        return [entry for provider in PROVIDERS for entry in self._store.context(user_key(user_id, provider))]

    def count_failure(self, name: str, *, window_s: float) -> Failures:
        """Counts one failure, for all workers."""
        return self._failures.add(name, window_s=window_s)

    def register_webhook(self, provider: Provider) -> None:
        """Tells the Integrations API where our webhook is."""
        self._call(lambda: self._channel.register(provider))

    def remove_webhook(self, provider: Provider) -> None:
        """Tells it to forget our webhook."""
        self._call(lambda: self._channel.remove(provider))

    def health(self) -> Health:
        """Whether the registry and the store work, and whether this worker owns what it should."""
        checks = (self._check_stopping, self._check_store, self._check_registry)
        faults = [fault for check in checks if (fault := check())]
        return Health(
            ready=not faults,
            faults=tuple(faults),
            durability=self._store.durability,
            open_chats=self._open_chats,
        )

    def _check_stopping(self) -> str:
        if self._closing:
            return "this worker is stopping"
        return "" if self._ownership.first_round.is_set() else "this worker is starting"

    def _check_store(self) -> str:
        try:
            self._store.ping()
        except StoreUnavailable as error:
            return str(error)
        return ""

    def _check_registry(self) -> str:
        try:
            self._open_chats = int(self._registry.ask(Ping(), timeout=2.0))  # type: ignore[arg-type]
        except (pykka.Timeout, pykka.ActorDeadError):
            return "the registry does not answer"
        return ""

    def _ask(self, event: Callable[[Ask], InboxEvent], chat_id: str = "") -> Answer:
        deadline_s = time.monotonic() + self._timeout_s
        ask = self._replies.expect()
        try:
            self._append(event(ask), chat_id)
        except StoreUnavailable:
            self._replies.drop(ask)
            raise
        return self._replies.wait(ask, timeout_s=max(deadline_s - time.monotonic(), 0.0))

    def _append(self, event: InboxEvent, chat_id: str) -> None:
        """Appends an ask. One that failed may have been appended all the same; the inbox drops the repeat."""
        deadline_s = time.monotonic() + ASK_TRIES_S
        while True:
            try:
                return self._inbox.append(event, chat_id)
            except StoreUnavailable:
                if time.monotonic() > deadline_s:
                    raise
                gevent.sleep(ASK_PAUSE_S)

    def _call(self, work: Callable[[], None]) -> None:
        try:
            self._pool.call(work, timeout_s=self._timeout_s)
        except pykka.Timeout:
            raise AnswerTimeout(f"the Integrations API did not answer within {self._timeout_s:g} s") from None
