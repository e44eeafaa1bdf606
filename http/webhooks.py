"""/v1/integrations/{whatsapp,facebook}/webhook: what users and the bot said, stored before it is answered 200."""

from __future__ import annotations

import logging
from typing import Protocol

import falcon

from bridge.door import Door
from bridge.errors import PayloadError
from bridge.http.answers import Done, say
from bridge.http.bodies import read_body
from bridge.channels.signature import SignatureCheck
from bridge.messages import UserMessage
from bridge.settings.load import Settings

log = logging.getLogger(__name__)

MALFORMED = "invalid pauload received : error decode body request"


class Reader(Protocol):
    """Makes sense of one channel's deliveries."""

    def read(self, raw: bytes) -> list[UserMessage]:
        """What a delivery says, in order. Raises PayloadError."""


class LeaveWords:
    """Words that end a chat: KEYWORDS_LEAVE; in dev and staging KEYWORDS_RESTART (settings.md, "Restart words")."""

    def __init__(self, settings: Settings) -> None:
        restart = settings.keywords_restart if settings.heeds_restart_words else ()
        self._words = frozenset(word.strip().lower() for word in (*restart, *settings.keywords_leave))

    def heard_in(self, message: UserMessage) -> bool:
        """Whether the user's whole message is one of them."""
        return message.sender == "user" and message.media is None and message.text.strip().lower() in self._words


class WebhookResource:
    """Takes one channel's deliveries (integrations.md, "Webhook answers"). A repeat is 200: the door drops it."""

    def __init__(self, door: Door, reader: Reader, settings: Settings) -> None:
        self._door = door
        self._reader = reader
        self._leave_words = LeaveWords(settings)
        self._body_limit = settings.body_limit
        self._signature = SignatureCheck(
            settings.integrations_signature.get_secret_value(),
            plain_header=settings.signature_header,
            hmac_header=settings.signature_hmac_header,
        )

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """200 once everything is stored; 503 when a part could not be: then the sender repeats the whole."""
        body = read_body(req, self._body_limit)
        self._signature.require(req, body)
        for message in self._read(body):
            self._door.post(message, leave=self._leave_words.heard_in(message))
        say(resp, Done("insert success"))

    def _read(self, body: bytes) -> list[UserMessage]:
        try:
            return self._reader.read(body)
        except PayloadError as error:
            log.warning("a webhook of %d bytes was not understood: %.200s", len(body), error)
            raise PayloadError(MALFORMED) from error
