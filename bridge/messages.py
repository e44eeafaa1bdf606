"""What users and callers ask: the values that messages are made of, and the events that come through the inbox.

Commands are imperative, events are past tense. All are frozen and know nothing of actors.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

Provider = Literal["whatsapp", "facebook"]
ExtraValue = str | bool | int | float
MediaKind = Literal["image", "document", "audio", "video", "file"]
BotState = Literal["blocked", "timeout", "success"]


Health = Literal["ok", "broken", "restoring", "repairing"]


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of all messages."""


class Event(Message, frozen=True):
    """Base of all events: something that happened. The events of the inbox are below, the others in `bridge.events`."""


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

    @property
    def user_key(self) -> str:
        return user_key(self.user_id, self.provider)


PROVIDERS: tuple[Provider, ...] = get_args(Provider)
_PREFIXES = tuple(f"{provider}:" for provider in PROVIDERS)


def user_key(user_id: str, provider: Provider) -> str:
    """Who a user is: the provider and the id there. Two providers may give the same id to two people.

    The key of a WhatsApp user is the id alone, as it was before Messenger had keys of its own.
    """
    plain = provider == "whatsapp" and not user_id.startswith(_PREFIXES)
    return user_id if plain else f"{provider}:{user_id}"


def id_of_key(key: str) -> str:
    """The user's id, of a key that `user_key` made."""
    return key.partition(":")[2] if key.startswith(_PREFIXES) else key


def mask_user(user_id: str) -> str:
    """`5215512345599` as `521*******599`: enough to tell two users apart, too little to call one."""
    if len(user_id) < 9:
        return user_id[:1] + "*" * max(len(user_id) - 1, 0)
    return user_id[:3] + "*" * (len(user_id) - 6) + user_id[-3:]


class ConnectRequest(Message, frozen=True, kw_only=True):
    """What the bot gives to open a chat (settings.md, "Connect")."""

    user_id: str
    bot_slug: str
    bot_id: str
    name: str
    provider: Provider
    email: str
    phone_number: str = ""
    extra_data: dict[str, ExtraValue] = {}

    @property
    def user_key(self) -> str:
        return user_key(self.user_id, self.provider)


class Ask(Message, frozen=True):
    """Who waits for an answer: the reply stream to write to, the id to write there, and when the waiting began."""

    reply_to: str
    correlation_id: str
    asked_at_ms: int = 0


class DeskSession(Message, frozen=True, kw_only=True):
    """A session at a desk. The chat keeps it and reads only its health; the driver of the desk reads the two halves.

    A POST or a repair replaces the sending half, a poll the receiving half, so neither overwrites the other.
    `health`: `ok`; `broken`: repair it, do not poll; `restoring`: a poll comes next; `repairing`: repair it and poll.
    """

    id: str
    opened_at_ms: int
    sending: msgspec.Raw
    receiving: msgspec.Raw
    desk: str = "liveagent"
    health: Health = "ok"

    @property
    def ok(self) -> bool:
        """Whether texts may be sent."""
        return self.health == "ok"

    @property
    def repairable(self) -> bool:
        """Whether the next step of the repair is a command of ours."""
        return self.health in ("broken", "repairing")

    @property
    def pollable(self) -> bool:
        """Whether a poll may begin."""
        return self.health != "broken"

    def received(self, half: msgspec.Raw, turn: Turn | None = None) -> DeskSession:
        """This session after a poll brought `half`."""
        return msgspec.structs.replace(self, receiving=half, health=self._after(turn))

    def sent(self, half: msgspec.Raw, turn: Turn | None = None) -> DeskSession:
        """This session after a POST or a repair brought `half`."""
        return msgspec.structs.replace(self, sending=half, health=self._after(turn))

    def broke(self) -> DeskSession:
        """This session after the desk said that it moved."""
        return msgspec.structs.replace(self, health="broken")

    def _after(self, turn: Turn | None) -> Health:
        # A command that began before the last change of health knows nothing about that change.
        return turn.after if turn is not None and turn.before == self.health else self.health


class Turn(Message, frozen=True):
    """A change of a session's health. It counts only if the health is still `before`."""

    before: Health
    after: Health


AnswerCode = Literal["ok", "exists", "blocked", "refused", "unavailable", "absent"]


class Answer(Message, frozen=True):
    """What an ask is answered: `ok`, or why not, with the sentence that the caller is told.

    `exists`: the user has a chat; `blocked`: the contact is blocked; `refused`: Salesforce said no;
    `unavailable`: Salesforce gave no answer; `absent`: there is no such chat.
    """

    code: AnswerCode
    sentence: str = ""


# --- events from the front door; these travel through the durable inbox -----------------------------------------------


class InboxEventBase(Event, frozen=True, tag_field="type", tag=True):
    """Base of what the inbox carries."""


class ConnectRequested(InboxEventBase, frozen=True):
    """The bot asks for a chat."""

    request: ConnectRequest
    ask: Ask | None = None

    @property
    def user_id(self) -> str:
        return self.request.user_id

    @property
    def user_key(self) -> str:
        return self.request.user_key


class FinishRequested(InboxEventBase, frozen=True):
    """A caller of the API ends the user's chat."""

    user_id: str
    ask: Ask | None = None
    provider: Provider = "whatsapp"

    @property
    def user_key(self) -> str:
        return user_key(self.user_id, self.provider)


class UserMessageReceived(InboxEventBase, frozen=True):
    """The user said something. `letter` names the dead letter that is sent again by it."""

    message: UserMessage
    letter: str = ""

    @property
    def user_id(self) -> str:
        return self.message.user_id

    @property
    def user_key(self) -> str:
        return self.message.user_key


class LeaveRequested(InboxEventBase, frozen=True):
    """The user said one of the words that end the chat; `message` is that word."""

    message: UserMessage

    @property
    def user_id(self) -> str:
        return self.message.user_id

    @property
    def user_key(self) -> str:
        return self.message.user_key


InboxEvent = ConnectRequested | FinishRequested | UserMessageReceived | LeaveRequested


def encode_event(event: InboxEvent) -> bytes:
    """The event as the inbox stores it."""
    return msgspec.json.encode(event)


_decoder = msgspec.json.Decoder(InboxEvent)


def decode_event(raw: bytes) -> InboxEvent:
    """The event that `encode_event` wrote. Raises msgspec.MsgspecError for anything else."""
    event: InboxEvent = _decoder.decode(raw)
    return event
