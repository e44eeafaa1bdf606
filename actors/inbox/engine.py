"""The durable mailbox: what each engine of it does. Redis Streams is the first engine.

Redis owns, the engine only carries: leases and the fence are the same with every engine. Each partition has one
reader, the worker that holds its lease. Where that reader stands is recorded by the commit of the step that an entry
led to, so that the chat and its place in the inbox move together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from bridge.actors.base import Ref
from bridge.actors.protocol import Entry
from bridge.actors.store.commands import EngineScripts
from bridge.actors.store.connections import Connections
from bridge.keys import Keys
from bridge.messages import InboxEvent


class InboxEngine(Protocol):
    """Carries entries from any worker to the worker that owns the user's partition: each at least once, in order."""

    scripts: EngineScripts

    def start(self, registry: Ref) -> None:
        """Begins to read; each entry is told to the registry, once for each time that its partition is assigned."""

    def stop(self) -> None:
        """Ends after the read that is under way."""

    def append(self, event: InboxEvent, chat_id: str = "") -> None:
        """Appends an event that belongs to this chat, or to whichever is open where the id is empty.

        Durable when it returns. Raises StoreUnavailable: then it is not known whether the event was appended. An ask
        may be appended again; a repeat changes nothing.
        """

    def read(self, user_id: str) -> list[Entry]:
        """A user's entries that no commit has recorded yet, in order. Raises StoreUnavailable."""

    def position(self, partition: int, entries: Sequence[str]) -> Sequence[str | int]:
        """What `record_position` is to be given in the commit of the step that these entries led to."""

    def recorded(self, partition: int, entries: Sequence[str]) -> None:
        """The commit that was given the position of these entries is written."""

    def assigned(self, partition: int) -> None:
        """This worker holds the partition's lease: read it from the first entry that no commit has recorded.

        Raises StoreUnavailable.
        """

    def revoked(self, partitions: Iterable[int]) -> None:
        """This worker gives these partitions up: nothing of them is told any more."""


EngineFactory = Callable[[Connections, Keys], InboxEngine]
