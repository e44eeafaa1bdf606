"""What users and callers ask: the values that messages are made of, and the events that come through the inbox.

Commands are imperative, events are past tense. All are frozen and know nothing of actors.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Provider = Literal["whatsapp", "facebook"]
MediaKind = Literal["image", "document", "audio", "video", "file"]
BotState = Literal["blocked", "timeout", "success"]


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of all messages."""


# --- values ---------------------------------------------------------------------------------------------------------


class Media(Message, frozen=True):
    """A file that a user sent, and what the channel says of it.

    It lies at `url`, or, where that is empty, with the channel, which knows it by `file_id`.
    """

    kind: MediaKind
    url: str = ""
    mime_type: str = ""
    caption: str = ""
    file_id: str = ""


class UserMessage(Message, frozen=True, kw_only=True):
    """One thing that a bot user (or, for context, the bot) said. `message_id` repeats when a delivery repeats."""

    message_id: str
    user_id: str
    provider: Provider
    sent_at_ms: int
    sender: Literal["user", "bot"] = "user"
    text: str = ""
    media: Media | None = None


class ConnectRequest(Message, frozen=True, kw_only=True):
    """What the bot gives to open a chat (settings.md, "Connect")."""

    user_id: str
    bot_slug: str
    bot_id: str
    name: str
    provider: Provider
    email: str
    phone_number: str = ""
    extra_data: dict[str, str] = {}


class Ask(Message, frozen=True):
    """Who waits for an answer: the reply stream to write to, the id to write there, and when the waiting began."""

    reply_to: str
    correlation_id: str
    asked_at_ms: int = 0


AnswerCode = Literal["ok", "exists", "blocked", "refused", "unavailable", "absent"]


class Answer(Message, frozen=True):
    """What an ask is answered: `ok`, or why not, with the sentence that the caller is told.

    `exists`: the user has a chat; `blocked`: the contact is blocked; `refused`: Salesforce said no;
    `unavailable`: Salesforce gave no answer; `absent`: there is no such chat.
    """

    code: AnswerCode
    sentence: str = ""


# --- events from the front door; these travel through the durable inbox -----------------------------------------------


class InboxEventBase(Message, frozen=True, tag_field="type", tag=True):
    """Base of what the inbox carries."""


class ConnectRequested(InboxEventBase, frozen=True):
    """The bot asks for a chat."""

    request: ConnectRequest
    ask: Ask | None = None

    @property
    def user_id(self) -> str:
        return self.request.user_id


class FinishRequested(InboxEventBase, frozen=True):
    """A caller of the API ends the user's chat."""

    user_id: str
    ask: Ask | None = None


class UserMessageReceived(InboxEventBase, frozen=True):
    """The user said something."""

    message: UserMessage

    @property
    def user_id(self) -> str:
        return self.message.user_id


class LeaveRequested(InboxEventBase, frozen=True):
    """The user said one of the words that end the chat; `message` is that word."""

    message: UserMessage

    @property
    def user_id(self) -> str:
        return self.message.user_id


InboxEvent = ConnectRequested | FinishRequested | UserMessageReceived | LeaveRequested


def encode_event(event: InboxEvent) -> bytes:
    """The event as the inbox stores it."""
    return msgspec.json.encode(event)


_decoder = msgspec.json.Decoder(InboxEvent)


def decode_event(raw: bytes) -> InboxEvent:
    """The event that `encode_event` wrote. Raises msgspec.MsgspecError for anything else."""
    event: InboxEvent = _decoder.decode(raw)
    return event
