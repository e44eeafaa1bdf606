"""What a chat wants done outside, and one row a command that says how it is carried out.

A command is carried out only after the commit that owes it; each lane carries one command at a time.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Literal

import msgspec

from bridge.errors import BridgeError, DeskError, RemoteError, RemoteUnavailable
from bridge.events import (
    BotUntold,
    ConnectRefused,
    DeskLeft,
    DeskUnreachable,
    Event,
    FileRejected,
    SessionExpired,
    SessionStepped,
    UndeliverableToAgent,
    UndeliverableToUser,
)
from bridge.messages import BotState, ConnectRequest, DeskSession, Message
from bridge.records import Delivery


class Lane(str, Enum):
    """A direction that carries one command at a time: towards the desk, from it, towards the user, towards the bot.

    A file has a lane of its own: its upload takes up to a minute, and the repair of a session must not wait for that.
    """

    DESK = "desk"
    FILE = "file"
    POLL = "poll"
    USER = "user"
    BOT = "bot"


class Pool(str, Enum):
    """Which outbound clients carry a command out. A poll has none: each runs in a greenlet of its own."""

    CONTROL = "desk control"
    DESK = "desk"
    RECORDS = "salesforce"
    FILES = "files"
    CHANNEL = "user channel"
    BOT_FLOW = "bot flow"
    NONE = "none"


class Limit(str, Enum):
    """Which time limit of the policy ends the tries of a command."""

    CONNECT = "connect"
    SESSION = "session"
    DELIVERY = "delivery"
    FILE = "file"
    LEAVE = "leave"


class Command(Message, frozen=True):
    """Base of all commands."""

    @property
    def not_before_ms(self) -> int:
        """The time before which it must not begin; 0 for at once."""
        return 0

    def repeated(self) -> Command:
        """The same command after a try that may have gone through."""
        return self

    def next_try(self) -> Command:
        """The command to try after this one failed."""
        return self.repeated()

    def given_up(self, error: BridgeError, tries: int) -> tuple[Event, ...]:
        """What follows when it is not tried again."""
        raise NotImplementedError


class OpeningCommand(Command, frozen=True):
    """Base of the commands that open a chat: if one is given up, the caller is answered."""

    def given_up(self, error: BridgeError, tries: int) -> tuple[Event, ...]:
        return (ConnectRefused(str(error), "unavailable" if may_pass(error) else "refused"),)


class SessionCommand(Command, frozen=True):
    """Base of the commands without which a session cannot go on."""

    session: DeskSession

    def given_up(self, error: BridgeError, tries: int) -> tuple[Event, ...]:
        return (SessionExpired(str(error)) if is_gone(error) else DeskUnreachable(str(error)),)


class EnsureContact(OpeningCommand, frozen=True):
    """Find the user's contact, or create it."""

    request: ConnectRequest


class OpenCase(OpeningCommand, frozen=True):
    """Open the chat's case. `again`: an earlier try may have gone through; `chat_id` marks the case as this chat's."""

    request: ConnectRequest
    contact_id: str
    since_ms: int
    again: bool = False
    chat_id: str = ""

    def repeated(self) -> OpenCase:
        return msgspec.structs.replace(self, again=True)


class OpenSession(OpeningCommand, frozen=True):
    """Get a session from the desk."""


class RequestChat(OpeningCommand, frozen=True):
    """Ask the desk for an agent."""

    request: ConnectRequest
    session: DeskSession
    contact_id: str
    case_id: str


class Poll(SessionCommand, frozen=True):
    """Ask the desk once what is new. The desk holds the answer until there is something."""


class RepairSession(SessionCommand, frozen=True):
    """Do the next step of the repair of a session that moved, not before `due_at_ms`."""

    due_at_ms: int = 0

    @property
    def not_before_ms(self) -> int:
        return self.due_at_ms


class LeaveDesk(Command, frozen=True):
    """End the chat at the desk. `delete`: ending it in order failed, so the session is to be deleted."""

    session: DeskSession
    delete: bool = False

    def next_try(self) -> LeaveDesk:
        return msgspec.structs.replace(self, delete=True)

    def given_up(self, error: BridgeError, tries: int) -> tuple[Event, ...]:
        return (DeskLeft(),)


class SendToAgent(Command, frozen=True):
    """Send one text, not before `due_at_ms`: a desk may lose texts that follow each other too fast."""

    session: DeskSession
    delivery: Delivery
    due_at_ms: int = 0

    @property
    def not_before_ms(self) -> int:
        return self.due_at_ms

    def given_up(self, error: BridgeError, tries: int) -> tuple[Event, ...]:
        """The desk may have taken the text: the session goes on from a half in which that does no harm."""
        if is_gone(error):
            return (SessionExpired(str(error)),)
        sending = error.sending if isinstance(error, RemoteError) else None
        stepped = () if sending is None else (SessionStepped(sending),)
        return (*stepped, UndeliverableToAgent(self.delivery.id, str(error), tries))


class AttachFile(Command, frozen=True):
    """Fetch a user's file and store it at the case."""

    case_id: str
    session_id: str
    delivery: Delivery

    def given_up(self, error: BridgeError, tries: int) -> tuple[Event, ...]:
        return (FileRejected(self.delivery.id, str(error), tries),)


class SendToUser(Command, frozen=True):
    """Send one text to the user's channel."""

    request: ConnectRequest
    delivery: Delivery

    def given_up(self, error: BridgeError, tries: int) -> tuple[Event, ...]:
        return (UndeliverableToUser(self.delivery.id, str(error), tries),)


class TellBot(Command, frozen=True):
    """Put the bot flow into a state, not before `due_at_ms`."""

    request: ConnectRequest
    state: BotState
    due_at_ms: int

    @property
    def not_before_ms(self) -> int:
        return self.due_at_ms

    def given_up(self, error: BridgeError, tries: int) -> tuple[Event, ...]:
        return (BotUntold(str(error)),)


def is_gone(error: BridgeError) -> bool:
    """Whether the desk says that the session does not exist any more."""
    return isinstance(error, DeskError) and error.verdict == "gone"


def may_pass(error: BridgeError) -> bool:
    """Whether the same request may succeed later."""
    return isinstance(error, RemoteUnavailable) or (isinstance(error, DeskError) and not is_gone(error))


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How a command is carried out.

    `limit` ends its tries, counted from `since`: now, or since the chat was opened, or since the delivery was owed.
    `paced` commands obey the rate limit of their pool. `repeatable` says whether the remote drops a repeat of the same
    command; where it does not, a repeat may have its effect twice. `insisted` commands are tried again although they
    were refused, MAX_RETRIES times. `jitter_s` is the longest random delay before the first try. Pauses
    between two tries are not shorter than `shortest_pause_s`, and not longer than `longest_pause_s` whatever the remote
    asks for.
    """

    lane: Lane
    pool: Pool
    limit: Limit
    since: Literal["now", "opened", "owed"] = "now"
    paced: bool = False
    repeatable: bool = True
    insisted: bool = False
    jitter_s: float = 0.0
    shortest_pause_s: float = 0.0
    longest_pause_s: float = math.inf


# One row a command. OpenCase looks for its case first (`again`). The desk drops a repeated number (SendToAgent).
TERMS: dict[type[Command], Terms] = {
    EnsureContact: Terms(lane=Lane.DESK, pool=Pool.RECORDS, limit=Limit.CONNECT, since="opened"),
    OpenCase: Terms(lane=Lane.DESK, pool=Pool.RECORDS, limit=Limit.CONNECT, since="opened"),
    OpenSession: Terms(lane=Lane.DESK, pool=Pool.CONTROL, limit=Limit.CONNECT, since="opened"),
    RequestChat: Terms(lane=Lane.DESK, pool=Pool.CONTROL, limit=Limit.CONNECT, since="opened"),
    # A session that is not polled for about 45 s expires, so no Retry-After may delay a poll or a repair for long.
    Poll: Terms(lane=Lane.POLL, pool=Pool.NONE, limit=Limit.SESSION, longest_pause_s=5.0),
    SendToAgent: Terms(lane=Lane.DESK, pool=Pool.DESK, limit=Limit.DELIVERY, paced=True),
    AttachFile: Terms(lane=Lane.FILE, pool=Pool.FILES, limit=Limit.FILE, repeatable=False),
    # When the desk moves, it moves all its sessions at once. The jitter spreads their repairs.
    RepairSession: Terms(lane=Lane.DESK, pool=Pool.CONTROL, limit=Limit.SESSION, jitter_s=0.5, longest_pause_s=5.0),
    # The next try deletes the session. Until then the poll reads what the agent wrote.
    LeaveDesk: Terms(lane=Lane.DESK, pool=Pool.CONTROL, limit=Limit.LEAVE, shortest_pause_s=1.0),
    # WhatsApp drops a repeated id. A text to Messenger carries no id.
    SendToUser: Terms(
        lane=Lane.USER,
        pool=Pool.CHANNEL,
        limit=Limit.DELIVERY,
        since="owed",
        paced=True,
        repeatable=False,
        insisted=True,
    ),
    TellBot: Terms(lane=Lane.BOT, pool=Pool.BOT_FLOW, limit=Limit.DELIVERY, repeatable=False, insisted=True),
}


def lane_of(command: Command) -> Lane:
    """The lane that carries the command."""
    return TERMS[type(command)].lane
