"""A chat on a stage: the test plays everyone around it, by hand or by events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from bridge.chat.machine import ENDS, Chat
from bridge.chat.policy import ChatPolicy
from bridge.chat.step import Step
from bridge.codecs.liveagent.session import LiveAgentSession, read, receiving_half, sending_half, written
from bridge.commands import Command, Lane, lane_of
from bridge.events import (
    CaseOpened,
    ChatEstablished,
    ChatQueued,
    ChatRequested,
    ContactReady,
    DeliveredToAgent,
    DeliveredToUser,
    Event,
    SessionOpened,
    SessionPolled,
)
from bridge.messages import (
    Ask,
    BotState,
    ConnectRequest,
    ConnectRequested,
    DeskSession,
    FinishRequested,
    LeaveRequested,
    Media,
    Provider,
    UserMessage,
    UserMessageReceived,
)
from bridge.records import ChatRecord, ChatState, ContextEntry, Delivery, decode_record, encode_record
from bridge.texts import Messages, Texts

USER = "5217331175599"
DELAYS: dict[BotState, float] = {"blocked": 5.0, "timeout": 5.0, "success": 0.0}
REQUEST = ConnectRequest(
    user_id=USER, bot_slug="shop", bot_id="1", name="Ana", provider="whatsapp", email="ana@example.com"
)
CALLER, FINISHER = Ask("replies", "connect"), Ask("replies", "finish")
SESSION = written(LiveAgentSession(session_id="s", key="s!1!k", affinity="a", opened_at_ms=0))
PICTURE = Media(kind="image", url="https://media.example/1.jpg", caption="my receipt")


PLAIN = Messages(
    wait_agent="please wait",
    agent_disconnected="the agent left",
    file_from_agent="a file came",
    transfer_began="a moment, please",
    delivery_failed="the agent did not get that",
    unreadable="a text could not be read",
    not_received="the user did not get this",
    context_failed="the context was not shown",
)


class PlainTexts(Texts):
    """Texts that a test recognises."""

    def __init__(self) -> None:
        super().__init__(PLAIN, ZoneInfo("UTC"), longest_text={})

    def transferred(self, agent_name: str) -> str:
        return f"you talk to {agent_name}"

    def queue(self, position: int | None, wait_s: float | None) -> str:
        return "" if position is None else f"place {position}"

    def context(self, entries: Sequence[ContextEntry]) -> str:
        return "before: " + ", ".join(entry.text for entry in entries)

    def welcome(self, name: str) -> str:
        return f"I am {name}"

    def file_sent(self, media: Media, name: str) -> str:
        return f"file {name}"

    def file_failed(self, media: Media) -> str:
        return "the file failed"

    def parts(self, provider: Provider, text: str) -> list[str]:
        return text.split("|") if text else []


def policy(**choices: Any) -> ChatPolicy:
    return ChatPolicy(**{"texts": PlainTexts(), "bot_delay_s": DELAYS, **choices})


def changed(session: DeskSession, **fields: Any) -> DeskSession:
    """A Live Agent session of which some fields are different."""
    return written(msgspec.structs.replace(read(session), **fields))


def sending(session: DeskSession, **fields: Any) -> msgspec.Raw:
    """The sending half of a Live Agent session of which some fields are different."""
    return sending_half(msgspec.structs.replace(read(session), **fields))


def receiving(session: DeskSession, **fields: Any) -> msgspec.Raw:
    """The receiving half of a Live Agent session of which some fields are different."""
    return receiving_half(msgspec.structs.replace(read(session), **fields))


def said(text: str, *, media: Media | None = None) -> UserMessage:
    return UserMessage(message_id=f"id-{text}", user_id=USER, provider="whatsapp", sent_at_ms=0, text=text, media=media)


def wrote(text: str, *, media: Media | None = None) -> UserMessageReceived:
    return UserMessageReceived(said(text, media=media))


def left(word: str = "restart") -> LeaveRequested:
    return LeaveRequested(said(word))


CONNECT = ConnectRequested(REQUEST, CALLER)
FINISH = FinishRequested(USER, FINISHER)

BEFORE = ContextEntry(user_id=USER, client="shop", timestamp=1, text="hola", sender="user", ttl="")
REQUESTED = changed(SESSION, sequence=1)


class Stage:
    """A chat, its clock, and what it has asked for and not been answered."""

    def __init__(self, **choices: Any) -> None:
        self.policy = policy(**choices)
        self.now_ms = 1_000_000
        self.chat = self._chat(None)
        self.under_way: dict[Lane, Command] = {}
        self.step = Step(now_ms=0, policy=self.policy, stored=None, busy=(), new_id=str)
        self.steps: list[Step] = []

    def _chat(self, record: ChatRecord | None) -> Chat:
        return Chat(self.policy, record, new_id=lambda: "chat")

    @property
    def record(self) -> ChatRecord:
        assert self.chat.record is not None
        return self.chat.record

    @property
    def session(self) -> DeskSession:
        assert self.record.session is not None
        return self.record.session

    @property
    def state(self) -> ChatState:
        return self.chat.state

    def is_in(self, state: ChatState) -> bool:
        return self.chat.state is state

    def happens(self, *events: Event, after_s: float = 0.0) -> Step:
        """Gives the chat these events as one step."""
        self.now_ms += int(after_s * 1000)
        self.step = self.chat.apply(events, busy=self.under_way.keys(), now_ms=self.now_ms)
        self.steps.append(self.step)
        if self.step.cancel_poll:
            del self.under_way[Lane.POLL]
        if self.step.cancel_bot:
            del self.under_way[Lane.BOT]
        for command in self.step.commands:
            lane = lane_of(command)
            assert lane not in self.under_way, f"{type(command).__name__} beside {self.under_way[lane]}"
            self.under_way[lane] = command
        return self.step

    def done(self, lane: Lane, *events: Event, after_s: float = 0.0) -> Step:
        """Ends what is under way in a lane, with these events."""
        del self.under_way[lane]
        return self.happens(*events, after_s=after_s)

    def crash(self) -> Step:
        """The process ends; another one goes on from the record."""
        self.under_way.clear()
        self.chat = self._chat(decode_record(encode_record(self.record)))
        return self.happens()

    # --- short ways -------------------------------------------------------------------------------------------------

    def asked_for_session(self) -> Stage:
        self.happens(CONNECT)
        self.done(Lane.DESK, ContactReady("contact"))
        self.done(Lane.DESK, CaseOpened("case"))
        return self

    def connecting(self) -> Stage:
        """The desk was asked for an agent and has said nothing yet."""
        self.asked_for_session()
        self.done(Lane.DESK, SessionOpened(SESSION))
        self.done(Lane.DESK, ChatRequested(changed(SESSION, sequence=1)))
        return self

    def on_hold(self) -> Stage:
        self.connecting()
        self.hears(ChatQueued(3))
        self.drain_user()
        return self

    def active(self, *, context: tuple[ContextEntry, ...] = ()) -> Stage:
        self.on_hold()
        self.hears(ChatEstablished("Eva", context))
        self.drain_agent()
        return self

    def closing(self) -> Stage:
        """The API ended it; the desk and the bot have still to be told."""
        self.active()
        self.happens(FINISH)
        return self

    def hears(self, *events: Event) -> Step:
        """The poll under way brings these."""
        half = receiving(self.session, ack=read(self.session).ack + 1)
        return self.done(Lane.POLL, SessionPolled(half), *events)

    def takes(self) -> str:
        """The desk takes the text under way; gives that text."""
        command: Any = self.under_way[Lane.DESK]
        known = read(command.session)
        half = sending(command.session, sequence=known.sequence + 1, said=known.said + 1)
        self.done(Lane.DESK, DeliveredToAgent(command.delivery.id, half))
        text: str = command.delivery.text
        return text

    def drain_agent(self) -> list[str]:
        """The desk takes everything that is owed to the agent; gives the texts in order."""
        texts = []
        while Lane.DESK in self.under_way and self.record.to_agent:
            texts.append(self.takes())
        return texts

    def drain_user(self) -> list[str]:
        """The channel takes everything that is owed to the user; gives the texts in order."""
        texts = []
        while Lane.USER in self.under_way:
            command: Any = self.under_way[Lane.USER]
            texts.append(command.delivery.text)
            self.done(Lane.USER, DeliveredToUser(command.delivery.id))
        return texts

    @property
    def owed_to_user(self) -> list[str]:
        return texts_of(self.record.to_user)

    @property
    def owed_to_agent(self) -> list[str]:
        return texts_of(self.record.to_agent)

    @property
    def over(self) -> bool:
        return self.state in ENDS


def texts_of(deliveries: list[Delivery]) -> list[str]:
    return [delivery.text for delivery in deliveries]


def kinds(commands: dict[Lane, Command]) -> dict[Lane, type[Any]]:
    return {lane: type(command) for lane, command in commands.items()}
