"""/v1/integrations/{provider}/webhook: what users and the bot said, stored before it is answered 200."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping

import falcon

from bridge.channels.channel import Challenge, Channel, Channels, Header, Received
from bridge.door import Door
from bridge.errors import PayloadError, StoreError, StoreUnavailable
from bridge.http.answers import Done, say
from bridge.http.bodies import read_body
from bridge.messages import UserMessage
from bridge.settings.load import Settings

log = logging.getLogger(__name__)

PATH = "/v1/integrations/{provider}/webhook"
MALFORMED = "invalid pauload received : error decode body request"
BAD_SIGNATURE = "Invalid signature."
# Kinds are partly a sender's words, so they are bounded, too.
MOST_KINDS = 100
MOST_SHOWN = 5


def webhook_routes(door: Door, channels: Channels, settings: Settings) -> dict[str, object]:
    """The webhook of each channel, by its path."""
    return {PATH.format(provider=name): _resource(door, channel, settings) for name, channel in channels.items()}


def _resource(door: Door, channel: Channel, settings: Settings) -> object:
    if channel.challenge is None:
        return WebhookResource(door, channel, settings)
    return ChallengedWebhookResource(door, channel, settings, challenge=channel.challenge)


class WebhookLog:
    """What an operator reads of one channel's webhooks: at most one line a request, and no text that anybody wrote."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._known_kinds: set[str] = set()
        self._warned = False

    def bad_signature(self) -> None:
        """The first refusal is an error that says what is expected: every user may be unheard because of it."""
        # Whoever reaches the webhook can cause a line, so the later ones are for DEBUG.
        level, self._warned = (logging.DEBUG if self._warned else logging.ERROR), True
        log.log(
            level,
            "a %s webhook was refused: it is not signed. INTEGRATIONS_SIGNATURE is expected as %s",
            self._channel.provider,
            self._channel.signature_headers,
        )

    def left_out(self, received: Received) -> None:
        """What could not be taken, each time; what says nothing, once a kind."""
        fresh = {kind: count for kind, count in received.silent.items() if self._is_news(kind)}
        if received.refused or fresh:
            level = logging.WARNING if received.refused else logging.INFO
            left_out = _counted({**received.refused, **fresh})
            log.log(level, "a %s webhook holds what was left out: %s", self._channel.provider, left_out)

    def _is_news(self, kind: str) -> bool:
        if kind in self._known_kinds or len(self._known_kinds) >= MOST_KINDS:
            return False
        self._known_kinds.add(kind)
        return True


def _counted(kinds: Mapping[str, int]) -> str:
    shown = [f"{count} x {kind}" for kind, count in list(kinds.items())[:MOST_SHOWN]]
    return ", ".join([*shown, "…"] if len(kinds) > MOST_SHOWN else shown)


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
        self._log = WebhookLog(channel)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """200 once everything is stored; 503 when a part could not be: then the sender repeats the whole."""
        received = self._read(self._verified_body(req))
        self._log.left_out(received)
        self._store(received.messages)
        say(resp, Done("insert success"))

    def _verified_body(self, req: falcon.Request) -> bytes:
        header = _headers_of(req)
        if self._channel.admits(header):
            body = read_body(req, self._body_limit)
            if self._channel.verify(header, body):
                return body
        self._log.bad_signature()
        raise falcon.HTTPForbidden(description=BAD_SIGNATURE)

    def _read(self, body: bytes) -> Received:
        try:
            return self._channel.read(body, now_ms=time.time_ns() // 1_000_000)
        except PayloadError as error:
            log.warning("a webhook of %d bytes was not understood: %.200s", len(body), error)
            raise PayloadError(MALFORMED) from error

    def _store(self, messages: Iterable[UserMessage]) -> None:
        """Stores what can be stored, in each user's order, and raises the first fault only then.

        A store out of reach ends it at once: every further message would wait for it as long.
        """
        refused: dict[str, StoreError] = {}
        for message in messages:
            if message.user_id in refused:
                continue
            try:
                self._door.post(message, leave=self._leave_words.heard_in(message))
            except StoreUnavailable:
                raise
            except StoreError as error:
                refused[message.user_id] = error
        if refused:
            raise next(iter(refused.values()))


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
