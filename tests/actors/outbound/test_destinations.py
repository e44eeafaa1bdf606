"""The destination of each command."""

from __future__ import annotations

import msgspec
import pytest
from actor_parts import desk_session, said, wants_chat

from bridge.actors.outbound.destinations import destination_of
from bridge.commands import (
    TERMS,
    AttachFile,
    Command,
    EnsureContact,
    LeaveDesk,
    OpenCase,
    OpenSession,
    Poll,
    RepairSession,
    RequestChat,
    SendToAgent,
    SendToUser,
    TellBot,
)
from bridge.messages import Media
from bridge.records import Delivery

CHAT, SESSION = wants_chat(), desk_session()
FACEBOOK = msgspec.structs.replace(CHAT, provider="facebook", bot_slug="ventas")
TEXT = Delivery(id="c-1", text="hola", owed_since_ms=0)


def file(url: str) -> AttachFile:
    return AttachFile("500", "s-1", msgspec.structs.replace(TEXT, media=Media("image", url), message=said()))


DESTINATIONS: list[tuple[Command, str]] = [
    (EnsureContact(CHAT), ""),
    (OpenCase(CHAT, "003", since_ms=0), ""),
    (OpenSession(), ""),
    (Poll(SESSION), ""),
    (RequestChat(CHAT, SESSION, "003", "500"), "the server"),
    (SendToAgent(SESSION, TEXT), "the server"),
    (RepairSession(SESSION), "the server"),
    (LeaveDesk(SESSION), "the server"),
    (SendToUser(CHAT, TEXT), "whatsapp"),
    (SendToUser(FACEBOOK, TEXT), "facebook"),
    (TellBot(FACEBOOK, "success", 0), "ventas"),
    (file("https://Media.Example.:8443/a?b=c"), "media.example"),
    (file(""), "whatsapp"),
    (file("http://[::1"), "whatsapp"),
]


@pytest.mark.parametrize(("command", "destination"), DESTINATIONS)
def test_the_destination_of_a_command(command: Command, destination: str) -> None:
    assert destination_of(command, lambda session: "the server") == destination


def test_every_command_is_covered() -> None:
    assert {type(command) for command, _ in DESTINATIONS} == set(TERMS)
