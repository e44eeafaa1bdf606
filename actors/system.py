"""Start and stop: every actor and greenlet of a worker, in a fixed order, and back."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

import gevent
import gevent.event
import pykka

from bridge.actors.base import Ref
from bridge.actors.chats.interconnection import ChatContext, Interconnection
from bridge.actors.chats.polling import polls_at
from bridge.actors.chats.registry import InterconnectionRegistry
from bridge.actors.door import ActorDoor
from bridge.actors.inbox.dead_workers import worker_name
from bridge.actors.inbox.engine import EngineFactory, InboxEngine
from bridge.actors.inbox.ownership import Ownership
from bridge.actors.inbox.redis import BLOCK_S, RedisInbox
from bridge.actors.inbox.replies import Replies
from bridge.actors.leases import Lease
from bridge.actors.outbound.token_refresh import TokenRefresher
from bridge.actors.outbound.wiring import Pools, Remotes
from bridge.actors.protocol import Ping, Snapshot
from bridge.actors.store.connections import Connections
from bridge.actors.store.failures import FailureCounts
from bridge.actors.store.store import Store
from bridge.channels import table
from bridge.channels.channel import Channels, longest_texts
from bridge.chat.policy import ChatPolicy
from bridge.errors import NewerRecord, SettingsError
from bridge.keys import Keys
from bridge.records import ChatRecord
from bridge.settings import wiring
from bridge.settings.load import Settings

log = logging.getLogger("bridge.system")

# Less than Gunicorn's timeout, whose clock runs from the fork on.
FIRST_CHATS_S = 2.0
# For all actors together: those that wait for the store answer nobody, and there may be thousands.
SNAPSHOT_S = 2.0


class System:
    """A worker's actors, from the store to the door. `engine` makes the inbox, `channels` carry the users' messages."""

    def __init__(
        self, settings: Settings, engine: EngineFactory = RedisInbox, channels: Channels | None = None
    ) -> None:
        self.worker = worker_name()
        self.started_at_ms = time.time_ns() // 1_000_000
        connections = Connections(settings)
        keys = Keys(settings.client, settings.partitions)
        self.inbox = engine(connections, keys)
        self.store = _store(connections, settings, keys, self.inbox)
        _check_layout(self.store, settings)
        _check_deployment(self.store, settings)
        _check_records(self.store)
        _warn_of_replicas(self.store)
        self._channels = channels or table.channels(settings)
        self._remotes = Remotes(settings, self._channels)
        self._pools = Pools(self._remotes, settings)
        self._policy = _policy(settings, self._channels)
        self._context = self._chat_context()
        self.registry: Ref = InterconnectionRegistry.start(self._start_interconnection)
        self._replies = Replies(
            connections.client(blocking_s=BLOCK_S), keys.replies(self.worker), clock=self.store.clock
        )
        self._ownership = Ownership(self.store, self.worker, registry=self.registry, inbox=self.inbox)
        self.door = ActorDoor(self.store, self.inbox, self._replies, timeout_s=self._policy.connect_s)
        self.door.attach(
            registry=self.registry,
            ownership=self._ownership,
            channel=self._remotes.channel,
            pool=self._pools.channel,
            failures=FailureCounts(connections, keys),
        )
        self._handing_over = False
        self._handed_over = gevent.event.Event()
        self._token_refresher = TokenRefresher(self._remotes.tokens, settings.spec_schedule)

    def start(self) -> None:
        """In the order in which one leans on the other; an actor that died at its start is noticed here."""
        self.registry.ask(Ping(), timeout=5.0)
        self._replies.start()
        self.inbox.start(self.registry)
        self._ownership.start()
        self._token_refresher.start()
        self._ownership.first_round.wait(timeout=FIRST_CHATS_S)
        log.info("worker %s owns %d partitions", self.worker, len(self._ownership.partitions))

    def hand_over(self, deadline_s: float) -> None:
        """Not ready from now on; brings every chat to rest and frees the partitions within `deadline_s` seconds.

        Asks that wait for an answer go on waiting: the next owner gives it.
        """
        if self._handing_over:
            # Somebody else has begun to: whoever stops the actors next must not do so in the midst of it.
            self._handed_over.wait(timeout=max(deadline_s, 0.0))
            return
        self._handing_over = True
        self.door.close()
        self._token_refresher.stop()
        self._ownership.stop(deadline_s=time.monotonic() + deadline_s)
        self._handed_over.set()

    def stop(self, deadline_s: float) -> None:
        """Hands over, if that was not done, and stops everybody within `deadline_s` seconds."""
        deadline_s += time.monotonic()
        self.hand_over(deadline_s - time.monotonic() - 1.0)
        self.inbox.stop()
        self._replies.stop()
        for pool in self._pools.all:
            pool.stop()
        # In the order in which they started: Pykka's own registry is a list, and the other way is quadratic.
        stopping = [ref.stop(block=False) for ref in pykka.ActorRegistry.get_all()]
        late = sum(not _ended(stopped, deadline_s) for stopped in stopping)
        if late:
            log.warning("%d actors did not stop in time", late)

    def snapshot(self) -> dict[str, Any]:
        """Every actor as it is now, for an operator."""
        registry: dict[str, Any] = self.registry.ask(Snapshot(), timeout=2.0)  # type: ignore[assignment]
        asked = [ref.ask(Snapshot(), block=False) for ref in registry.pop("refs")]
        deadline_s = time.monotonic() + SNAPSHOT_S
        return {
            "worker": {
                "id": self.worker,
                "pid": os.getpid(),
                "partitions": len(self._ownership.partitions),
                "started_at_ms": self.started_at_ms,
                "durability": self.store.durability,
            },
            "registry": registry,
            "interconnections": [one for one in (_answer(future, deadline_s) for future in asked) if one],
            "pools": [pool.snapshot() for pool in self._pools.all],
        }

    def _chat_context(self) -> ChatContext:
        desk = self._remotes.desk
        return ChatContext(self.store, self._policy, self._pools.send, polls_at(desk.serve), desk.describe, self.inbox)

    def _start_interconnection(
        self, user_id: str, lease: Lease, *, registry: Ref, record: ChatRecord | None, first_poll_delay_s: float
    ) -> Ref:
        ref: Ref = Interconnection.start(
            self._context, user_id, lease, registry=registry, record=record, first_poll_delay_s=first_poll_delay_s
        )
        return ref


def start(settings: Settings, engine: EngineFactory = RedisInbox, channels: Channels | None = None) -> System:
    """A running system; `channels` are by default the settings'. Raises SettingsError, StoreUnavailable."""
    system = System(settings, engine, channels)
    system.start()
    return system


def _store(connections: Connections, settings: Settings, keys: Keys, inbox: InboxEngine) -> Store:
    return Store(connections, keys, client=settings.client, mailbox_limit=settings.mailbox_limit, engine=inbox.scripts)


def _check_layout(store: Store, settings: Settings) -> None:
    if (found := store.check_layout()) != settings.partitions:
        raise SettingsError(
            [f"SALESFORCE_INTEGRATION_PARTITIONS is {settings.partitions}, but this store was first used with {found}."]
        )


def _check_deployment(store: Store, settings: Settings) -> None:
    ours = {
        "SALESFORCE_INTEGRATION_ENVIRONMENT": settings.environment.strip().lower(),
        "SALESFORCE_INTEGRATION_SFC_ORGANIZATION_ID": settings.sfc_organization_id,
        "SALESFORCE_INTEGRATION_SFC_DEPLOYMENT_ID": settings.sfc_deployment_id,
        "SALESFORCE_INTEGRATION_SFC_BASE_URL": settings.sfc_base_url,
        "SALESFORCE_INTEGRATION_INTEGRATIONS_BASE_URL": settings.integrations_base_url,
    }
    found = store.check_deployment(ours)
    if other := {name: value for name, value in found.items() if ours.get(name, value) != value}:
        names = ", ".join(f"{name} is {ours[name]!r} here and {value!r} there" for name, value in other.items())
        raise SettingsError(
            [
                f"This store is used by another deployment: {names}. Give this one a CLIENT or a Redis of its own, or "
                f"delete the key {store.keys.deployment} when the change is meant."
            ]
        )


def _check_records(store: Store) -> None:
    try:
        for partition in range(store.keys.partitions):
            store.check_versions(partition)
    except NewerRecord as error:
        raise SettingsError([f"{error}: start that version, or wait until those chats are over."]) from error


def _warn_of_replicas(store: Store) -> None:
    if replicas := store.unconfirmed_replicas():
        log.warning(
            "Redis has %d replicas and REDIS_WAIT_REPLICAS is 0: a fail-over loses messages that were answered 200",
            replicas,
        )


def _policy(settings: Settings, channels: Channels) -> ChatPolicy:
    return ChatPolicy(
        texts=wiring.texts(settings, longest_texts(channels)),
        bot_delay_s=wiring.bot_flow(settings).delays_s,
        connect_s=settings.main_context_time_out,
        max_wait_s=settings.max_wait,
        queue_update_interval_s=settings.queue_update_interval,
        delivery_s=settings.delivery_give_up,
        session_s=settings.session_give_up,
        overlap_pause_s=settings.sleep_long_polling_s,
        retries=settings.max_retries,
        desk_text_gap_s=settings.desk_text_gap,
        desk_longest_text=settings.desk_longest_text,
    )


def _answer(future: pykka.Future[Any], deadline_s: float) -> dict[str, Any] | None:
    try:
        answer: dict[str, Any] | None = future.get(timeout=max(deadline_s - time.monotonic(), 0.0))
    except (pykka.Timeout, pykka.ActorDeadError):
        return None
    return answer


def _ended(stopped: pykka.Future[Any], deadline_s: float) -> bool:
    try:
        stopped.get(timeout=max(deadline_s - time.monotonic(), 0.0))
    except pykka.Timeout:
        return False
    except pykka.ActorDeadError:
        return True
    return True
