"""The events that come to a chat from the desk, from Salesforce, from the user's channel and from the bot flow.

They name no desk; the codec of a desk translates its answers into them.
"""

from __future__ import annotations

import msgspec

from bridge.messages import AnswerCode, DeskSession, Turn
from bridge.messages import Event as Event
from bridge.records import ContextEntry

# --- opening ----------------------------------------------------------------------------------------------------------


class ContactReady(Event, frozen=True):
    """The user's contact was found or created."""

    contact_id: str


class ContactBlocked(Event, frozen=True):
    """The user's contact may not chat."""

    contact_id: str


class CaseOpened(Event, frozen=True):
    """The chat's case exists."""

    case_id: str


class SessionOpened(Event, frozen=True):
    """The desk gave a session. No agent was asked for yet."""

    session: DeskSession


class ChatRequested(Event, frozen=True):
    """The desk took the request for an agent."""

    session: DeskSession


# --- the session ------------------------------------------------------------------------------------------------------


class SessionPolled(Event, frozen=True):
    """A poll was answered: `receiving` is the new receiving half of the session."""

    receiving: msgspec.Raw
    turn: Turn | None = None


class SessionStepped(Event, frozen=True):
    """A POST or a repair changed the session without delivering a text: `sending` is its new sending half."""

    sending: msgspec.Raw
    turn: Turn | None = None


class SessionBroke(Event, frozen=True):
    """The desk said that the session moved: it must be repaired before anything else is sent."""

    reason: str = ""


class SessionStale(Event, frozen=True):
    """The session expired before an agent was asked for: another one is needed."""

    reason: str


class TextFound(Event, frozen=True):
    """A repair found one more text of ours at the desk than were confirmed: this one, the last."""

    text: str


# --- what ends a chat -------------------------------------------------------------------------------------------------


class Ending(Event, frozen=True):
    """Base of what ends a chat. A caller who still waits for the chat is answered with `code` and `reason`."""

    reason: str

    @property
    def code(self) -> AnswerCode:
        return "refused"


class ConnectRefused(Ending, frozen=True):
    """The chat cannot be opened."""

    code: AnswerCode = "refused"


class ConnectOverdue(Ending, frozen=True):
    """The time to open the chat is over: its caller is told that there was no answer."""

    reason: str = "no answer in time"
    code: AnswerCode = "unavailable"


class ChatRefused(Ending, frozen=True):
    """The desk gave the request up: no agent will come."""


class ChatEnded(Ending, frozen=True):
    """The desk ended the chat. `served` is False where it ended because no agent was available."""

    served: bool


class SessionExpired(Ending, frozen=True):
    """The desk does not know the session any more."""


class DeskUnreachable(Ending, frozen=True):
    """The desk does not answer for this session, or refuses to. The session may still exist there."""


class WaitExpired(Ending, frozen=True):
    """The user waited on hold as long as MAX_WAIT allows."""

    reason: str = "the wait took too long"


class ChatQuarantined(Ending, frozen=True):
    """The chat's interconnection failed again and again, so the chat is given up."""


# --- waiting and talking ----------------------------------------------------------------------------------------------


class ChatQueued(Event, frozen=True):
    """The user waits for an agent. Position is None where the desk gives none; the wait is in seconds."""

    position: int | None = None
    wait_s: float | None = None


class QueueMoved(Event, frozen=True):
    """The user's place in the queue changed."""

    position: int | None = None
    wait_s: float | None = None


class ChatEstablished(Event, frozen=True):
    """An agent is there. `context` is what was said before; the interconnection reads it from the store."""

    agent_name: str
    context: tuple[ContextEntry, ...] = ()


class ChatTransferred(Event, frozen=True):
    """Another agent took over."""

    agent_name: str


class AgentWrote(Event, frozen=True):
    """The agent sent a text."""

    text: str


class AgentUnreadable(Event, frozen=True):
    """The desk sent something that cannot be read, again and again; it is passed over."""


class AgentTyped(Event, frozen=True):
    """The agent began or stopped to type."""

    typing: bool


class AgentLeft(Event, frozen=True):
    """The agent's connection dropped. The chat goes on."""


class TransferBegan(Event, frozen=True):
    """The chat is being transferred to another agent or queue."""


class FileRequested(Event, frozen=True):
    """The agent asked for a file, or sent one, through the desk's own channel."""


class DeskLeft(Event, frozen=True):
    """The desk took our request to end the chat, or there was nothing left to end."""


class DeskSilent(Event, frozen=True):
    """After the desk took our request to end the chat, it has nothing more for us."""


# --- deliveries -------------------------------------------------------------------------------------------------------


class DeliveredToAgent(Event, frozen=True):
    """The desk took a text: `sending` is the new sending half of the session."""

    delivery_id: str
    sending: msgspec.Raw


class DeliveredToUser(Event, frozen=True):
    """The channel took a text."""

    delivery_id: str


class FileAttached(Event, frozen=True):
    """A user's file is stored at the case under this name."""

    delivery_id: str
    name: str


class DeliveryFailed(Event, frozen=True):
    """Base of what ends a delivery that was not taken. `attempts` counts its tries."""

    delivery_id: str
    reason: str
    attempts: int = 1


class UndeliverableToAgent(DeliveryFailed, frozen=True):
    """The desk did not take a text, and it is not tried again."""


class UndeliverableToUser(DeliveryFailed, frozen=True):
    """The channel did not take a text, and it is not tried again."""


class FileRejected(DeliveryFailed, frozen=True):
    """A user's file could not be fetched or stored."""


class BotTold(Event, frozen=True):
    """The bot flow is in its new state."""


class BotUntold(Event, frozen=True):
    """The bot flow could not be put into its new state."""

    reason: str
