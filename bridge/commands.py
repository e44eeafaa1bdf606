"""What a chat wants done outside, and one row a command that says how it is carried out.

A command is carried out only after the commit that owes it; each lane carries one command at a time.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal

import msgspec

from bridge.desk import DeskSession
from bridge.messages import BotState, ConnectRequest, Message
from bridge.records import Delivery


class Lane(str, Enum):
    """A direction that carries one command at a time: towards the desk, from it, towards the user, towards the bot."""

    DESK = "desk"
    POLL = "poll"
    USER = "user"
    BOT = "bot"


class Pool(str, Enum):
    """Which outbound clients carry a command out. A poll has none: each runs in a greenlet of its own."""

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


class EnsureContact(Command, frozen=True):
    """Find the user's contact, or create it."""

    request: ConnectRequest


class OpenCase(Command, frozen=True):
    """Open the chat's case. `again`: an earlier try may have gone through; `chat_id`: what marks the case as ours."""

    request: ConnectRequest
    contact_id: str
    since_ms: int
    again: bool = False
    chat_id: str = ""


class OpenSession(Command, frozen=True):
    """Get a session from the desk."""


class RequestChat(Command, frozen=True):
    """Ask the desk for an agent."""

    request: ConnectRequest
    session: DeskSession
    contact_id: str
    case_id: str


class Poll(Command, frozen=True):
    """Ask the desk once what is new, waiting as long as it holds the question."""

    session: DeskSession


class SendToAgent(Command, frozen=True):
    """Send one text."""

    session: DeskSession
    delivery: Delivery


class AttachFile(Command, frozen=True):
    """Fetch a user's file and lay it at the case."""

    case_id: str
    session_id: str
    delivery: Delivery


class RepairSession(Command, frozen=True):
    """Do the next step of the desk's repair of a session that moved."""

    session: DeskSession


class LeaveDesk(Command, frozen=True):
    """End the chat at the desk from our side."""

    session: DeskSession


class SendToUser(Command, frozen=True):
    """Send one text to the user's channel."""

    request: ConnectRequest
    delivery: Delivery


class TellBot(Command, frozen=True):
    """Put the bot flow into a state, not before `due_at_ms`."""

    request: ConnectRequest
    state: BotState
    due_at_ms: int


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How a command is carried out.

    `limit` ends its tries, counted from `since`: now, or since the chat was opened, or since the delivery was owed.
    `paced` commands obey the rate limit of their pool. `repeatable` says whether the remote drops a repeat of the same
    command; where it does not, a repeat may have its effect twice. `jitter_s` is the longest random delay before the
    first try.
    """

    lane: Lane
    pool: Pool
    limit: Limit
    since: Literal["now", "opened", "owed"] = "now"
    paced: bool = False
    repeatable: bool = True
    jitter_s: float = 0.0


# One row a command. OpenCase looks for its case first (`again`). The desk drops a repeated number (SendToAgent).
TERMS: dict[type[Command], Terms] = {
    EnsureContact: Terms(lane=Lane.DESK, pool=Pool.RECORDS, limit=Limit.CONNECT, since="opened"),
    OpenCase: Terms(lane=Lane.DESK, pool=Pool.RECORDS, limit=Limit.CONNECT, since="opened"),
    OpenSession: Terms(lane=Lane.DESK, pool=Pool.DESK, limit=Limit.CONNECT, since="opened"),
    RequestChat: Terms(lane=Lane.DESK, pool=Pool.DESK, limit=Limit.CONNECT, since="opened"),
    Poll: Terms(lane=Lane.POLL, pool=Pool.NONE, limit=Limit.SESSION),
    SendToAgent: Terms(lane=Lane.DESK, pool=Pool.DESK, limit=Limit.DELIVERY, paced=True),
    AttachFile: Terms(lane=Lane.DESK, pool=Pool.FILES, limit=Limit.FILE, repeatable=False),
    # When the desk moves, it moves all its sessions at once. The jitter spreads their repairs.
    RepairSession: Terms(lane=Lane.DESK, pool=Pool.DESK, limit=Limit.SESSION, jitter_s=0.5),
    LeaveDesk: Terms(lane=Lane.DESK, pool=Pool.DESK, limit=Limit.LEAVE),
    # WhatsApp drops a repeated id. A text to Messenger carries no id.
    SendToUser: Terms(
        lane=Lane.USER, pool=Pool.CHANNEL, limit=Limit.DELIVERY, since="owed", paced=True, repeatable=False
    ),
    TellBot: Terms(lane=Lane.BOT, pool=Pool.BOT_FLOW, limit=Limit.DELIVERY, repeatable=False),
}

LANES: dict[type[Command], Lane] = {command: terms.lane for command, terms in TERMS.items()}
