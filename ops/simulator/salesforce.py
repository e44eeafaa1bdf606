"""Salesforce's HTTP side: the token endpoint with its three grants, and the door to the data API."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import falcon
import jwt
from falcon import Request, Response

from bridge.ops.simulator.data import DataApi
from bridge.ops.simulator.data_call import DataCall
from bridge.ops.simulator.ledger import Ledger
from bridge.ops.simulator.org import DataError, Org
from bridge.ops.simulator.settings import SimulatorSettings

_JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_AUDIENCES = ("https://login.salesforce.com", "https://test.salesforce.com")


class LoginRefused(Exception):
    """An OAuth error: its code and description."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error


class Tokens:
    """The access tokens that are good, with the time when each was given."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._given: dict[str, float] = {}

    def give(self) -> str:
        """A new one."""
        token = f"{self._settings.organization_id or '00D'}!AQ{uuid.uuid4().hex}"
        self._given[token] = time.monotonic()
        return token

    def good(self, token: str) -> bool:
        """Whether it was given here and has not expired."""
        age_limit_s = self._settings.token_ttl_s
        given = self._given.get(token)
        return given is not None and (not age_limit_s or time.monotonic() - given < age_limit_s)

    def expire(self) -> None:
        """All that were given are bad from now on."""
        self._given.clear()


class TokenResource:
    """POST /services/oauth2/token (salesforce.md, "Login")."""

    def __init__(self, settings: SimulatorSettings, tokens: Tokens, ledger: Ledger) -> None:
        self._settings = settings
        self._tokens = tokens
        self._ledger = ledger
        self._grants: dict[str, Callable[[dict[str, str]], None]] = {
            "password": self._check_password,
            "client_credentials": self._check_client_credentials,
            _JWT_GRANT: self._check_assertion,
        }

    def on_post(self, req: Request, resp: Response) -> None:
        form = dict(parse_qsl(req.bounded_stream.read().decode("utf-8", "replace"), keep_blank_values=True))
        grant = form.get("grant_type", "")
        try:
            self._check(req, form, grant)
        except LoginRefused as refused:
            self._ledger.record("login_refused", text=refused.error, details={"grant": grant})
            resp.status, resp.media = 400, {"error": refused.error, "error_description": str(refused)}
            return
        self._ledger.record("login", text=grant)
        resp.media = self._success(req)

    def _check(self, req: Request, form: dict[str, str], grant: str) -> None:
        if not (req.content_type or "").startswith("application/x-www-form-urlencoded"):
            raise LoginRefused("invalid_request", "the body must be form-encoded")
        if grant not in self._grants:
            raise LoginRefused("unsupported_grant_type", "grant type not supported")
        self._grants[grant](form)

    def _success(self, req: Request) -> dict[str, str]:
        return {
            "access_token": self._tokens.give(),
            "instance_url": f"{req.prefix}/salesforce",
            "id": f"{req.prefix}/salesforce/id/{self._settings.organization_id}/0055f000000InteAAA",
            "token_type": "Bearer",
            "issued_at": str(int(time.time() * 1000)),
            "signature": "c2lnbmF0dXJl",
        }

    def _check_client(self, form: dict[str, str]) -> None:
        if form.get("client_id") != self._settings.client_id:
            raise LoginRefused("invalid_client_id", "client identifier invalid")
        if form.get("client_secret") != self._settings.client_secret:
            raise LoginRefused("invalid_client", "invalid client credentials")

    def _check_password(self, form: dict[str, str]) -> None:
        self._check_client(form)
        ours = (self._settings.username, self._settings.password + self._settings.security_token)
        # A blocked flow looks like a wrong password (salesforce.md, "Login").
        if (form.get("username"), form.get("password")) != ours or self._settings.password_flow_blocked:
            raise LoginRefused("invalid_grant", "authentication failure")

    def _check_client_credentials(self, form: dict[str, str]) -> None:
        self._check_client(form)
        if not self._settings.run_as_user:
            raise LoginRefused("invalid_grant", "no client credentials user enabled")

    def _check_assertion(self, form: dict[str, str]) -> None:
        claims = self._claims(form.get("assertion", ""))
        if claims.get("iss") != self._settings.client_id:
            raise LoginRefused("invalid_client_id", "client identifier invalid")
        if claims.get("sub") != self._settings.username:
            raise LoginRefused("invalid_grant", "user hasn't approved this consumer")
        if claims["exp"] - time.time() > 300:
            raise LoginRefused("invalid_grant", "expiry too far in the future")

    def _claims(self, assertion: str) -> dict[str, Any]:
        key = self._settings.jwt_public_key
        required = ["iss", "sub", "aud", "exp"]
        options: Any = {"require": required, "verify_signature": bool(key), "verify_exp": True, "verify_aud": True}
        try:
            if jwt.get_unverified_header(assertion).get("alg") != "RS256":
                raise LoginRefused("invalid_grant", "algorithm not supported")
            claims: dict[str, Any] = jwt.decode(
                assertion, key, algorithms=["RS256"], audience=_AUDIENCES, options=options
            )
        except jwt.InvalidAudienceError as error:
            raise LoginRefused("invalid_grant", "Audience validation failed") from error
        except jwt.ExpiredSignatureError as error:
            raise LoginRefused("invalid_grant", "assertion expired") from error
        except jwt.InvalidTokenError as error:
            raise LoginRefused("invalid_grant", "invalid assertion") from error
        return claims


class DataResource:
    """Everything under /services/data: the token, the content type, JSON in and out."""

    def __init__(self, tokens: Tokens, api: DataApi) -> None:
        self._tokens = tokens
        self._api = api

    def __call__(self, req: Request, resp: Response, **params: Any) -> None:
        try:
            self._authorize(req)
            answer = self._api.answer(_call(req))
        except DataError as error:
            resp.status, resp.media = error.status, [error.body]
            return
        resp.status = answer.status
        if isinstance(answer.body, bytes):
            resp.content_type, resp.data = "application/octet-stream", answer.body
        elif answer.body is not None:
            resp.media = answer.body

    def _authorize(self, req: Request) -> None:
        scheme, _, token = (req.get_header("Authorization") or "").partition(" ")
        if scheme and (scheme.lower() not in ("bearer", "oauth") or not token.strip()):
            raise DataError("INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE", status=401)
        if not self._tokens.good(token.strip()):
            raise DataError("INVALID_SESSION_ID", "Session expired or invalid", status=401)


def _call(req: Request) -> DataCall:
    raw = req.bounded_stream.read()
    if raw and not (req.content_type or "").startswith("application/json"):
        raise DataError("UNSUPPORTED_MEDIA_TYPE", f"Content type {req.content_type} not supported.", status=415)
    try:
        body = json.loads(raw) if raw else None
    except (ValueError, RecursionError) as error:
        raise DataError("JSON_PARSER_ERROR", f"Unexpected character: {error}") from error
    return DataCall(
        method=req.method,
        path=req.env["PATH_INFO"].encode("latin-1").decode("utf-8", "replace").removeprefix("/salesforce"),
        params=dict(parse_qsl(req.query_string, keep_blank_values=True)),
        headers={name.lower(): value for name, value in req.headers.items()},
        body=body,
    )


def add_routes(
    app: falcon.App[Request, Response], settings: SimulatorSettings, ledger: Ledger, *, tokens: Tokens, org: Org
) -> None:
    """Everything under `/salesforce`."""
    app.add_route("/salesforce/services/oauth2/token", TokenResource(settings, tokens, ledger))
    app.add_sink(DataResource(tokens, DataApi(settings, org)), "/salesforce/services/data")
