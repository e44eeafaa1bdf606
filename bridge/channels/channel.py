"""What every channel offers, whoever is behind it: webhooks in, calls out."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Protocol

import msgspec

from bridge.messages import Media, Provider, UserMessage
from bridge.wire import HttpCall, HttpReply

# Gives a header of a request by its name in any case; "" when the request has none.
Header = Callable[[str], str]
# Answers a GET on the webhook's URL: takes its query, gives the body of the answer, or None for a refusal.
Challenge = Callable[[Mapping[str, str]], str | None]
# Yields each call that it needs, is sent the reply, returns the file. It may raise RemoteError.
Fetch = Generator[HttpCall, HttpReply, bytes]


class Received(msgspec.Struct, frozen=True):
    """What one webhook says: its messages in order, and how many of each kind of thing were left out.

    `silent` things say nothing that an agent could read. `refused` ones do, but cannot be taken as they are.
    """

    messages: tuple[UserMessage, ...] = ()
    silent: Mapping[str, int] = {}
    refused: Mapping[str, int] = {}


class Channel(Protocol):
    """Carries one provider's messages. It keeps no state and does no I/O, so one object serves a whole worker."""

    @property
    def provider(self) -> Provider:
        """Whose users it reaches."""

    @property
    def longest_text(self) -> int:
        """Characters that it takes in one text."""

    @property
    def signature_headers(self) -> str:
        """Which headers sign a webhook, for an operator to read."""

    @property
    def challenge(self) -> Challenge | None:
        """Answers the GET by which the sender checks the webhook's URL; None when it sends none."""

    # --- webhooks -------------------------------------------------------------------------------------------------

    def admits(self, header: Header) -> bool:
        """Whether the body of a webhook with these headers is worth reading."""

    def verify(self, header: Header, body: bytes) -> bool:
        """Whether a webhook was signed by the one who may send it; asked before `read`."""

    def read(self, body: bytes, *, now_ms: int) -> Received:
        """What a webhook says. Raises PayloadError when the whole of it cannot be understood."""

    # --- calls ----------------------------------------------------------------------------------------------------

    def send_text(self, user_id: str, *, delivery_id: str, text: str) -> HttpCall:
        """Sends one text, not longer than `longest_text`; `delivery_id` is the same at every attempt."""

    def send_file(self, user_id: str, *, delivery_id: str, media: Media) -> HttpCall | None:
        """Sends one file by its URL; None when the channel carries only texts."""

    def check_sent(self, reply: HttpReply) -> None:
        """Returns if the text or the file was taken. Raises RemoteError."""

    def register(self) -> HttpCall:
        """Tells the sender of webhooks where ours is. Raises RemoteRefused when only a person can do that."""

    def check_registered(self, reply: HttpReply) -> None:
        """Returns if the webhook is known now. Raises RemoteError."""

    def remove(self) -> HttpCall:
        """Tells the sender to forget our webhook. Raises RemoteRefused when only a person can do that."""

    def check_removed(self, reply: HttpReply) -> None:
        """Returns if the webhook is forgotten now. Raises RemoteError."""

    def fetch_file(self, media: Media) -> Fetch | None:
        """Fetches a user's file with calls of the channel's own; None when its URL is open to everyone."""


Channels = Mapping[Provider, Channel]


def longest_texts(channels: Channels) -> dict[Provider, int]:
    """How many characters each provider's channel takes in one text."""
    return {provider: channel.longest_text for provider, channel in channels.items()}
