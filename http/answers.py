"""The bodies of all answers: one shape for success, one for a refusal, and the few that carry more."""

from __future__ import annotations

import falcon
import msgspec

from bridge.records import ContextEntry


class Done(msgspec.Struct, frozen=True):
    """The request was carried out."""

    message: str = msgspec.field(name="Message")


class Refusal(msgspec.Struct, frozen=True):
    """The request was refused, and why."""

    description: str = msgspec.field(name="ErrorDescription")


class Token(msgspec.Struct, frozen=True):
    """A new token (settings.md, "Tokens")."""

    token: str


class TokenOwner(msgspec.Struct, frozen=True):
    """The user and the role of a token (settings.md, "Tokens")."""

    username: str
    role: str


class Welcome(msgspec.Struct, frozen=True):
    """The name and version of this service."""

    message: str = msgspec.field(name="Message")
    name: str
    version: str


class Ready(msgspec.Struct, frozen=True):
    """The worker is ready: what its store survives (`durability`), and how many chats it holds."""

    message: str = msgspec.field(name="Message")
    durability: str
    open_chats: int = msgspec.field(name="openChats")


Answerable = Done | Refusal | Token | TokenOwner | Welcome | Ready | list[ContextEntry]


def say(resp: falcon.Response, answer: Answerable) -> None:
    """Writes the answer into the response as JSON."""
    resp.content_type = falcon.MEDIA_JSON
    resp.data = msgspec.json.encode(answer)
