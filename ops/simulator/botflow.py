"""The bot flow in its two shapes, Botrunner and Studio NG (botflow.md)."""

from __future__ import annotations

from typing import Literal

import falcon
import msgspec
from falcon import Request, Response

from bridge.ops.simulator.integrations import require_bearer, understood
from bridge.ops.simulator.ledger import Ledger
from bridge.ops.simulator.settings import SimulatorSettings


class SendTo(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Botrunner's body."""

    user_id: str
    state: str
    message: Literal[""]


class Trigger(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Studio NG's body."""

    user_id: str


class BotrunnerResource:
    """POST /{bot slug}/send-to, with `?jwt=` where the bot has a token."""

    def __init__(self, settings: SimulatorSettings, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger

    def on_post(self, req: Request, resp: Response, slug: str) -> None:
        ours = self._settings.botrunner_token
        if ours and req.get_param("jwt") != ours:
            raise falcon.HTTPUnauthorized(description="jwt missing or wrong")
        sent = understood(req.bounded_stream.read(), SendTo)
        if not sent.user_id or not sent.state:
            raise falcon.HTTPBadRequest(description="userId and state are required")
        self._ledger.record(
            "bot_state", user=sent.user_id, text=sent.state, details={"flow": "botrunner", "slug": slug}
        )
        resp.media = {"status": "ok"}


class StudioResource:
    """POST /v1/triggers/{state}/webhook."""

    def __init__(self, settings: SimulatorSettings, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger

    def on_post(self, req: Request, resp: Response, state: str) -> None:
        require_bearer(req, self._settings.studio_token)
        user = understood(req.bounded_stream.read(), Trigger).user_id
        if not user:
            raise falcon.HTTPBadRequest(description="userId is required")
        self._ledger.record("bot_state", user=user, text=state, details={"flow": "studio"})
        resp.media = {"status": "ok"}


def add_routes(app: falcon.App[Request, Response], settings: SimulatorSettings, ledger: Ledger) -> None:
    """Everything under `/botrunner` and `/studio`."""
    app.add_route("/botrunner/{slug}/send-to", BotrunnerResource(settings, ledger))
    app.add_route("/studio/v1/triggers/{state}/webhook", StudioResource(settings, ledger))
