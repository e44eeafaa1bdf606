"""The remote services of the model: a desk that drops repeated numbers, a channel that drops repeated ids, a bot."""

from __future__ import annotations

import msgspec

from bridge.commands import (
    Command,
    EnsureContact,
    LeaveDesk,
    OpenCase,
    OpenSession,
    Poll,
    RequestChat,
    SendToAgent,
    SendToUser,
    TellBot,
)
from bridge.errors import DeskError
from bridge.events import (
    AgentWrote,
    BotTold,
    CaseOpened,
    ChatEnded,
    ChatEstablished,
    ChatRequested,
    ContactReady,
    DeliveredToAgent,
    DeliveredToUser,
    DeskLeft,
    Event,
    SessionOpened,
    SessionPolled,
)
from bridge.messages import DeskSession


class DeskChat:
    """One session at the desk: the numbers it took, the texts it shows, the events that wait for a poll."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.chat_id = ""
        self.taken = 0
        self.texts: list[str] = []
        self.said: list[str] = []
        self.events: list[Event] = []
        self.acked = 0
        self.ended = False

    def take(self, number: int) -> bool:
        """Whether a POST with this number is new. Raises DeskError where it is neither new nor the last one again."""
        if number not in (self.taken, self.taken + 1):
            error = DeskError("out of step", verdict="moved", status=409)
            error.sending = _half(self.taken)
            raise error
        new = number > self.taken
        self.taken = number
        return new

    @property
    def confirmed_texts(self) -> list[str]:
        """What the agent wrote and a later poll confirmed: the desk does not give it again."""
        return [event.text for event in self.events[: self.acked] if isinstance(event, AgentWrote)]

    def texts_until(self, session: DeskSession) -> list[str]:
        """What the agent wrote and a poll with this session confirms."""
        until = _number(session, receiving=True)
        return [event.text for event in self.events[:until] if isinstance(event, AgentWrote)]

    def end(self) -> None:
        """Ends the chat; a poll says so."""
        if not self.ended:
            self.ended = True
            self.events.append(ChatEnded("agent", served=True))


class Remotes:
    """Everything outside. It outlives every crash."""

    def __init__(self) -> None:
        self.chats: dict[str, DeskChat] = {}
        self.read_by_user: list[tuple[str, str]] = []
        self.bot_states: list[str] = []
        self.left: list[str] = []

    def serve(self, command: Command) -> tuple[Event, ...]:
        """Carries out one command; gives the events that follow. Raises DeskError."""
        match command:
            case EnsureContact():
                return (ContactReady("contact"),)
            case OpenCase(chat_id=chat_id):
                return (CaseOpened(chat_id),)
            case OpenSession():
                return (SessionOpened(self._open()),)
            case RequestChat(session=session, case_id=case_id):
                chat, number = self.chats[session.id], _number(session) + 1
                chat.take(number)
                chat.chat_id = case_id
                return (ChatRequested(session.sent(_half(number))),)
            case Poll(session=session):
                return self._poll(session)
            case SendToAgent(session=session, delivery=delivery):
                return self._send(session, delivery.id, delivery.text)
            case LeaveDesk(session=session):
                self._leave(self.chats[session.id])
                return (DeskLeft(),)
            case SendToUser(delivery=delivery):
                if delivery.id not in dict(self.read_by_user):
                    self.read_by_user.append((delivery.id, delivery.text))
                return (DeliveredToUser(delivery.id),)
            case TellBot(state=state):
                self.bot_states.append(state)
                return (BotTold(),)
        raise NotImplementedError(type(command).__name__)

    def _open(self) -> DeskSession:
        session_id = f"session-{len(self.chats) + 1}"
        self.chats[session_id] = DeskChat(session_id)
        return DeskSession(id=session_id, opened_at_ms=0, sending=_half(0), receiving=_half(0), desk="model")

    def _leave(self, chat: DeskChat) -> None:
        if not chat.ended:
            self.left.append(chat.chat_id)
        chat.end()

    def _poll(self, session: DeskSession) -> tuple[Event, ...]:
        chat = self.chats[session.id]
        # What a poll confirms is gone at the desk.
        chat.acked = max(chat.acked, _number(session, receiving=True))
        news = chat.events[chat.acked :]
        if chat.ended and not news:
            raise DeskError("no such session", verdict="gone", status=403)
        return (SessionPolled(_half(len(chat.events))), *news) if news else ()

    def _send(self, session: DeskSession, delivery_id: str, text: str) -> tuple[Event, ...]:
        chat, number = self.chats[session.id], _number(session) + 1
        if chat.ended:
            raise DeskError("no such session", verdict="gone", status=403)
        if chat.take(number):
            chat.texts.append(text)
        return (DeliveredToAgent(delivery_id, _half(number)),)


def accept(chat: DeskChat) -> None:
    """An agent takes the chat."""
    if not chat.ended and ChatEstablished("Luz") not in chat.events:
        chat.events.append(ChatEstablished("Luz"))


def write(chat: DeskChat, text: str) -> None:
    """The agent writes a text."""
    if not chat.ended and ChatEstablished("Luz") in chat.events:
        chat.said.append(text)
        chat.events.append(AgentWrote(text))


def _half(number: int) -> msgspec.Raw:
    return msgspec.Raw(str(number).encode())


def _number(session: DeskSession, *, receiving: bool = False) -> int:
    return int(bytes(session.receiving if receiving else session.sending))
