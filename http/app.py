"""The WSGI application: every route, the middleware, and how errors become answers."""

from __future__ import annotations

from typing import TypeAlias

import falcon

from bridge.channels import table
from bridge.channels.channel import Channels
from bridge.door import Door
from bridge.errors import BridgeError
from bridge.http.chats import ConnectResource, ContextResource, FinishResource
from bridge.http.docs import DocsResource
from bridge.http.errors import on_bridge_error, on_crash, on_http_error
from bridge.http.health import LiveResource, ReadyResource, WelcomeResource, bridge_version
from bridge.http.login import AuthenticateResource, FailedLogins, TokenCheckResource, accounts_of
from bridge.http.middleware import Fairness, RequestIds, SafeHeaders
from bridge.http.openapi import OpenApiResource
from bridge.http.registration import RegisterResource, RemoveResource
from bridge.http.tokens import Gate, TokenMint
from bridge.http.webhooks import webhook_routes
from bridge.settings.load import Settings

FrontDoor: TypeAlias = falcon.App[falcon.Request, falcon.Response]


def create_app(door: Door, settings: Settings, channels: Channels | None = None) -> FrontDoor:
    """Builds the application. It reaches the actors only through `door`. Default `channels`: those of the settings."""
    app: FrontDoor = falcon.App(middleware=[RequestIds(), SafeHeaders(), Fairness()])
    app.req_options.strip_url_path_trailing_slash = True
    app.add_error_handler(BridgeError, on_bridge_error)
    app.add_error_handler(Exception, on_crash)
    app.set_error_serializer(on_http_error)
    webhooks = webhook_routes(door, channels or table.channels(settings), settings)
    for path, resource in (_routes(door, settings) | webhooks).items():
        app.add_route(path, resource)
    return app


def _routes(door: Door, settings: Settings) -> dict[str, object]:
    mint = TokenMint(settings.secret_key.get_secret_value(), issuer=settings.app_name, ttl_s=settings.token_ttl)
    gate = Gate(mint)
    return {
        "/v1/welcome": WelcomeResource(settings.app_name),
        "/v1/authenticate": AuthenticateResource(mint, accounts_of(settings), FailedLogins(door, settings)),
        "/v1/tokens/check": TokenCheckResource(gate),
        "/v1/chats/connect": ConnectResource(door, gate, settings),
        "/v1/chat/finish/{user_id}": FinishResource(door, gate),
        "/v1/integrations/webhook/register/{provider}": RegisterResource(door, gate),
        "/v1/integrations/webhook/remove/{provider}": RemoveResource(door, gate),
        "/v1/context/{user_id}": ContextResource(door, gate),
        "/v1/live": LiveResource(),
        "/v1/ready": ReadyResource(door),
        "/v1/openapi.json": OpenApiResource(settings.app_name, bridge_version()),
        "/v1/docs": DocsResource(),
    }
