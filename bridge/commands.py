"""What a chat wants done outside: one command in flight a lane, carried out only after the commit that owes it."""

from __future__ import annotations

from enum import Enum

from bridge.desk import DeskSession
from bridge.messages import BotState, ConnectRequest, Message
from bridge.records import Delivery


class Lane(str, Enum):
    """A direction that carries one command at a time: towards the desk, from it, towards the user, towards the bot."""

    DESK = "desk"
    POLL = "poll"
    USER = "user"
    BOT = "bot"


class EnsureContact(Message, frozen=True):
    """Find the user's contact, or create it."""

    request: ConnectRequest


class OpenCase(Message, frozen=True):
    """Open the chat's case. `again`: an earlier try may have gone through; `chat_id`: what marks the case as ours."""

    request: ConnectRequest
    contact_id: str
    since_ms: int
    again: bool = False
    chat_id: str = ""


class OpenSession(Message, frozen=True):
    """Get a session from the desk."""


class RequestChat(Message, frozen=True):
    """Ask the desk for an agent."""

    request: ConnectRequest
    session: DeskSession
    contact_id: str
    case_id: str


class Poll(Message, frozen=True):
    """Ask the desk once what is new, waiting as long as it holds the question."""

    session: DeskSession


class SendToAgent(Message, frozen=True):
    """Send one text."""

    session: DeskSession
    delivery: Delivery


class AttachFile(Message, frozen=True):
    """Fetch a user's file and lay it at the case."""

    case_id: str
    session_id: str
    delivery: Delivery


class RepairSession(Message, frozen=True):
    """Do the next step of the desk's repair of a session that moved."""

    session: DeskSession


class LeaveDesk(Message, frozen=True):
    """End the chat at the desk from our side."""

    session: DeskSession


class SendToUser(Message, frozen=True):
    """Send one text to the user's channel."""

    request: ConnectRequest
    delivery: Delivery


class TellBot(Message, frozen=True):
    """Put the bot flow into a state, not before `due_at_ms`."""

    request: ConnectRequest
    state: BotState
    due_at_ms: int


Command = (
    EnsureContact
    | OpenCase
    | OpenSession
    | RequestChat
    | Poll
    | SendToAgent
    | AttachFile
    | RepairSession
    | LeaveDesk
    | SendToUser
    | TellBot
)

LANES: dict[type[Message], Lane] = {
    EnsureContact: Lane.DESK,
    OpenCase: Lane.DESK,
    OpenSession: Lane.DESK,
    RequestChat: Lane.DESK,
    Poll: Lane.POLL,
    SendToAgent: Lane.DESK,
    AttachFile: Lane.DESK,
    RepairSession: Lane.DESK,
    LeaveDesk: Lane.DESK,
    SendToUser: Lane.USER,
    TellBot: Lane.BOT,
}
