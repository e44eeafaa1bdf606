"""What happened at Salesforce, at the desk, at the user's side: the events that come up to a chat.

They speak of an agent desk, whichever it is; how a desk says these things stands in its codec.
"""

from __future__ import annotations

from bridge.desk import DeskSession
from bridge.messages import AnswerCode, InboxEvent, Message
from bridge.records import ContextEntry


class ContactReady(Message, frozen=True):
    """The user's contact was found or created."""

    contact_id: str


class ContactBlocked(Message, frozen=True):
    """The user's contact may not chat."""

    contact_id: str


class CaseOpened(Message, frozen=True):
    """The chat's case exists."""

    case_id: str


class SessionOpened(Message, frozen=True):
    """The desk gave a session; nobody has been asked for yet."""

    session: DeskSession


class ChatRequested(Message, frozen=True):
    """The desk took the request for an agent."""

    session: DeskSession


class ConnectRefused(Message, frozen=True):
    """The chat cannot be opened; the code and sentence are what the caller is told."""

    code: AnswerCode
    sentence: str


class SessionPolled(Message, frozen=True):
    """A poll was answered: the session's bookkeeping of what it heard went on."""

    session: DeskSession


class SessionStepped(Message, frozen=True):
    """A POST or a repair moved the session on, without a text being taken."""

    session: DeskSession


class TextFound(Message, frozen=True):
    """A repair found one more text of ours at the desk than we had counted: this one, the last."""

    text: str


class ConnectOverdue(Message, frozen=True):
    """Whoever asked for the chat has been told that there was no answer in time."""

    code: AnswerCode = "unavailable"
    reason: str = "no answer in time"


class ChatQuarantined(Message, frozen=True):
    """The chat's interconnection fell again and again; it is ended before it does so for ever."""

    reason: str


class SessionStale(Message, frozen=True):
    """The session ended before an agent was asked for: another one is needed."""

    reason: str


class SessionExpired(Message, frozen=True):
    """The session is gone for good."""

    reason: str


class DeskUnreachable(Message, frozen=True):
    """The desk answers for this session no more, or refuses to; the session itself may be alive there."""

    reason: str


class ChatQueued(Message, frozen=True):
    """The user waits for an agent. Position is None where the desk gives none; the wait is in seconds."""

    position: int | None = None
    wait_s: float | None = None


class QueueMoved(Message, frozen=True):
    """The user's place in the queue changed."""

    position: int | None = None
    wait_s: float | None = None


class ChatRefused(Message, frozen=True):
    """No agent will come: the desk gave the request up."""

    reason: str


class ChatEstablished(Message, frozen=True):
    """An agent is there. `context` is what was said before, filled in on the way by the interconnection."""

    agent_name: str
    context: tuple[ContextEntry, ...] = ()


class ChatTransferred(Message, frozen=True):
    """Another agent took over."""

    agent_name: str


class AgentWrote(Message, frozen=True):
    """The agent sent a text."""

    text: str


class AgentTyped(Message, frozen=True):
    """The agent began or stopped to type."""

    typing: bool


class AgentLeft(Message, frozen=True):
    """The agent's connection dropped; the chat itself goes on."""


class TransferBegan(Message, frozen=True):
    """The chat is on its way to another agent or queue."""


class FileRequested(Message, frozen=True):
    """The agent asked for, or sent, a file through the desk's own channel."""


class ChatEnded(Message, frozen=True):
    """The desk ended the chat; `served` is false where it ended for want of an agent."""

    reason: str
    served: bool


class DeskLeft(Message, frozen=True):
    """Our own leaving was taken by the desk (or there was nothing left to leave)."""


class DeliveredToAgent(Message, frozen=True):
    """The desk took a text."""

    delivery_id: str
    session: DeskSession


class UndeliverableToAgent(Message, frozen=True):
    """The desk will not take this text, however often it is tried."""

    delivery_id: str
    reason: str
    attempts: int = 1


class FileAttached(Message, frozen=True):
    """A user's file lies at the case under this name."""

    delivery_id: str
    name: str


class FileRejected(Message, frozen=True):
    """A user's file could not be fetched or stored."""

    delivery_id: str
    reason: str
    attempts: int = 1


class DeliveredToUser(Message, frozen=True):
    """The channel took a text."""

    delivery_id: str


class UndeliverableToUser(Message, frozen=True):
    """The channel will not take this text."""

    delivery_id: str
    reason: str
    attempts: int = 1


class BotTold(Message, frozen=True):
    """The bot flow is in its new state."""


class BotUntold(Message, frozen=True):
    """The bot flow could not be put into its new state."""

    reason: str


class WaitExpired(Message, frozen=True):
    """The user waited on hold as long as MAX_WAIT allows."""


Event = (
    InboxEvent
    | ContactReady
    | ContactBlocked
    | CaseOpened
    | SessionOpened
    | ChatRequested
    | ConnectRefused
    | SessionPolled
    | SessionStepped
    | TextFound
    | ConnectOverdue
    | ChatQuarantined
    | SessionStale
    | SessionExpired
    | DeskUnreachable
    | ChatQueued
    | QueueMoved
    | ChatRefused
    | ChatEstablished
    | ChatTransferred
    | AgentWrote
    | AgentTyped
    | AgentLeft
    | TransferBegan
    | FileRequested
    | ChatEnded
    | DeskLeft
    | DeliveredToAgent
    | UndeliverableToAgent
    | FileAttached
    | FileRejected
    | DeliveredToUser
    | UndeliverableToUser
    | BotTold
    | BotUntold
    | WaitExpired
)
