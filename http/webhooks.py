"""/v1/integrations/{provider}/webhook: what users and the bot said, stored before it is answered 200."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

import falcon

from bridge.channels.channel import Challenge, Channel, Channels, Header, Received
from bridge.door import Door
from bridge.errors import PayloadError
from bridge.http.answers import Done, say
from bridge.http.bodies import read_body
from bridge.messages import UserMessage
from bridge.settings.load import Settings

log = logging.getLogger(__name__)

PATH = "/v1/integrations/{provider}/webhook"
MALFORMED = "invalid pauload received : error decode body request"
BAD_SIGNATURE = "Invalid signature."


def webhook_routes(door: Door, channels: Channels, settings: Settings) -> dict[str, object]:
    """The webhook of each channel, by its path."""
    return {PATH.format(provider=name): _resource(door, channel, settings) for name, channel in channels.items()}


def _resource(door: Door, channel: Channel, settings: Settings) -> object:
    if channel.challenge is None:
        return WebhookResource(door, channel, settings)
    return ChallengedWebhookResource(door, channel, settings, challenge=channel.challenge)


class LeaveWords:
    """Words that end a chat: KEYWORDS_LEAVE; in dev and staging KEYWORDS_RESTART (settings.md, "Restart words")."""

    def __init__(self, settings: Settings) -> None:
        restart = settings.keywords_restart if settings.heeds_restart_words else ()
        self._words = frozenset(word.strip().lower() for word in (*restart, *settings.keywords_leave))

    def heard_in(self, message: UserMessage) -> bool:
        """Whether the user's whole message is one of them."""
        return message.sender == "user" and message.media is None and message.text.strip().lower() in self._words


class WebhookResource:
    """Takes one channel's webhooks (integrations.md, "Webhook answers"). A repeat is 200: the door drops it."""

    def __init__(self, door: Door, channel: Channel, settings: Settings) -> None:
        self._door = door
        self._channel = channel
        self._leave_words = LeaveWords(settings)
        self._body_limit = settings.webhook_body_limit

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """200 once everything is stored; 503 when a part could not be: then the sender repeats the whole."""
        received = self._read(self._verified_body(req))
        self._report(received)
        self._store(received.messages)
        say(resp, Done("insert success"))

    def _verified_body(self, req: falcon.Request) -> bytes:
        header = _headers_of(req)
        if self._channel.admits(header):
            body = read_body(req, self._body_limit)
            if self._channel.verify(header, body):
                return body
        raise falcon.HTTPForbidden(description=BAD_SIGNATURE)

    def _read(self, body: bytes) -> Received:
        try:
            return self._channel.read(body, now_ms=time.time_ns() // 1_000_000)
        except PayloadError as error:
            log.warning("a webhook of %d bytes was not understood: %.200s", len(body), error)
            raise PayloadError(MALFORMED) from error

    def _report(self, received: Received) -> None:
        if received.silent:
            kinds = ", ".join(f"{count} x {kind}" for kind, count in received.silent.items())
            log.info("a %s webhook holds what says nothing: %s", self._channel.provider, kinds)

    def _store(self, messages: Iterable[UserMessage]) -> None:
        for message in messages:
            self._door.post(message, leave=self._leave_words.heard_in(message))


class ChallengedWebhookResource(WebhookResource):
    """The same for a channel whose sender checks the URL by a GET before it posts there."""

    def __init__(self, door: Door, channel: Channel, settings: Settings, *, challenge: Challenge) -> None:
        super().__init__(door, channel, settings)
        self._challenge = challenge

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """200 with the text that the channel gives; 403 when it gives none."""
        answer = self._challenge({name: req.get_param(name) or "" for name in req.params})
        if answer is None:
            raise falcon.HTTPForbidden(description=BAD_SIGNATURE)
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = answer


def _headers_of(req: falcon.Request) -> Header:
    return lambda name: req.get_header(name) or ""
