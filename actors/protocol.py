"""What actors tell each other beyond a chat's own events: entries, requests, outcomes, turns of the owner."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from bridge.actors.base import Ref, tell
from bridge.actors.leases import Lease
from bridge.commands import Command, Lane, lane_of
from bridge.errors import BridgeError, RemoteGarbled
from bridge.events import Event
from bridge.messages import InboxEvent
from bridge.records import ChatRecord

log = logging.getLogger("bridge.clients")

Serve = Callable[[Command], tuple[Event, ...]]


class Entry(msgspec.Struct, frozen=True):
    """One entry of a partition's inbox. inbox → registry → interconnection.

    `chat_id` is the chat that was open when the entry was posted; empty where the entry belongs to no certain chat.
    """

    partition: int
    entry_id: str
    event: InboxEvent
    chat_id: str = ""


class Request(msgspec.Struct, frozen=True):
    """A command to carry out, and where its outcome goes. interconnection → outbound client.

    Once the lease is over the command is another owner's, and is not carried out however long it has waited.
    """

    command: Command
    reply_to: Ref
    token: int
    lease: Lease | None = None

    @property
    def lease_held(self) -> bool:
        """Whether it may still be carried out."""
        return self.lease is None or self.lease.held


class Outcome(msgspec.Struct, frozen=True):
    """A command was carried out, and these events follow. outbound client → interconnection."""

    lane: Lane
    token: int
    events: tuple[Event, ...]


class Failure(msgspec.Struct, frozen=True):
    """A command failed. outbound client → interconnection."""

    lane: Lane
    token: int
    error: BridgeError


def carry_out(serve: Serve, request: Request) -> BridgeError | None:
    """Carries out a request and tells its outcome or its failure, which is returned. No error leaves here."""
    lane = lane_of(request.command)
    failure: BridgeError
    try:
        events = serve(request.command)
    except BridgeError as error:
        failure = error
    except Exception as error:
        log.exception("%s failed", type(request.command).__name__)
        failure = RemoteGarbled(f"unexpected {type(error).__name__}")
    else:
        tell(request.reply_to, Outcome(lane, request.token, events))
        return None
    tell(request.reply_to, Failure(lane, request.token, failure))
    return failure


class RetryDue(msgspec.Struct, frozen=True):
    """It is time to try a failed command again. timer, or a pool whose remote works again → interconnection."""

    lane: Lane
    token: int


class WaitDue(msgspec.Struct, frozen=True):
    """MAX_WAIT is over for the chat that was on hold. timer → interconnection."""

    chat_id: str


class Resume(msgspec.Struct, frozen=True):
    """Go on with what the record owes. registry → interconnection.

    `reload`: read the record first. `quarantine`, where it is not empty, is the reason why the chat is to be ended.
    """

    reload: bool = False
    quarantine: str = ""


class Drain(msgspec.Struct, frozen=True):
    """Begin nothing new; say `Drained` when what is under way has ended. registry → interconnection."""


class Drained(msgspec.Struct, frozen=True):
    """Nothing is under way any more. interconnection → registry."""

    user_id: str


class Idle(msgspec.Struct, frozen=True):
    """The chat is over, after so many entries; let it go if no further one was sent. interconnection → registry."""

    user_id: str
    entries: int


class Failed(msgspec.Struct, frozen=True):
    """An interconnection met an unexpected error. interconnection → registry."""

    user_id: str
    reason: str


class PartitionGained(msgspec.Struct, frozen=True):
    """This worker owns a partition now, with these open chats. ownership → registry.

    Their polls wait `first_poll_delay_s`, so that none overlaps with a poll of the last owner.
    """

    lease: Lease
    records: tuple[ChatRecord, ...]
    first_poll_delay_s: float


class PartitionLost(msgspec.Struct, frozen=True):
    """This worker does not own a partition any more: stop acting for it at once. ownership → registry."""

    partition: int


class DrainPartitions(msgspec.Struct, frozen=True):
    """Drain every chat of these partitions, by `deadline_s` on the monotonic clock. ownership → registry (asked).

    The answer is an event that is set when all are drained.
    """

    partitions: tuple[int, ...]
    deadline_s: float


class Snapshot(msgspec.Struct, frozen=True):
    """Describe yourself for an operator. system → any actor (asked)."""


class Ping(msgspec.Struct, frozen=True):
    """Are you there? system → any actor (asked). The registry answers with how many interconnections it has."""
