"""What the API answers: one shape for success, one for refusal, and the few that carry more."""

from __future__ import annotations

import falcon
import msgspec

from bridge.records import ContextEntry


class Done(msgspec.Struct, frozen=True):
    """A request that was carried out."""

    message: str = msgspec.field(name="Message")


class Refusal(msgspec.Struct, frozen=True):
    """A request that was not, and why."""

    description: str = msgspec.field(name="ErrorDescription")


class Token(msgspec.Struct, frozen=True):
    """A fresh token (settings.md, "Tokens")."""

    token: str


class TokenOwner(msgspec.Struct, frozen=True):
    """Whom a token was given to, and what it is good for (settings.md, "Tokens")."""

    username: str
    role: str


class Welcome(msgspec.Struct, frozen=True):
    """Which service this is."""

    message: str = msgspec.field(name="Message")
    name: str
    version: str


class Ready(msgspec.Struct, frozen=True):
    """A worker that may be given requests, what its store survives, and how many chats it holds."""

    message: str = msgspec.field(name="Message")
    durability: str
    open_chats: int = msgspec.field(name="openChats")


Answerable = Done | Refusal | Token | TokenOwner | Welcome | Ready | list[ContextEntry]


def say(resp: falcon.Response, answer: Answerable) -> None:
    """Puts the answer into the response as JSON."""
    resp.content_type = falcon.MEDIA_JSON
    resp.data = msgspec.json.encode(answer)
