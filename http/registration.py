"""/v1/integrations/webhook/{register,remove}: where the Integrations API sends what users say."""

from __future__ import annotations

import logging

import falcon

from bridge.door import Door
from bridge.errors import AnswerTimeout, RemoteError
from bridge.http.answers import Done, Refusal, say
from bridge.http.payloads import checked_provider
from bridge.http.tokens import YALO_ROLE, Gate

log = logging.getLogger(__name__)


class RegisterResource:
    """Registers our webhook of a provider (settings.md, "Webhook registration")."""

    def __init__(self, door: Door, gate: Gate) -> None:
        self._door = door
        self._gate = gate

    def on_post(self, req: falcon.Request, resp: falcon.Response, provider: str) -> None:
        """200, or 500 when the Integrations API refuses or gives no answer."""
        self._gate.admit(req, YALO_ROLE)
        known = checked_provider(provider)
        try:
            self._door.register_webhook(known)
            say(resp, Done(f"Register webhook success with provider : {known}"))
        except (RemoteError, AnswerTimeout) as error:
            _fail(resp, error, "error register webhook")


class RemoveResource:
    """Removes our webhook of a provider (settings.md, "Webhook registration")."""

    def __init__(self, door: Door, gate: Gate) -> None:
        self._door = door
        self._gate = gate

    def on_delete(self, req: falcon.Request, resp: falcon.Response, provider: str) -> None:
        """200, or 500 when the Integrations API refuses or gives no answer."""
        self._gate.admit(req, YALO_ROLE)
        known = checked_provider(provider)
        try:
            self._door.remove_webhook(known)
            say(resp, Done(f"Remove webhook success with provider : {known}"))
        except (RemoteError, AnswerTimeout) as error:
            _fail(resp, error, "error remove webhook")


def _fail(resp: falcon.Response, error: Exception, sentence: str) -> None:
    # The fault is the Integrations API's, but callers expect 500 (settings.md, "Webhook registration").
    log.warning("%s: %s", sentence, error)
    resp.status = 500
    say(resp, Refusal(sentence))
