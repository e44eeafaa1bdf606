"""Salesforce's login: three ways to ask for a token, and how the answer is read."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlencode, urlsplit

import msgspec
from pydantic import SecretStr

from bridge.codecs.salesforce.rest import Token, fault_of, raise_for_fault
from bridge.errors import RemoteGarbled, RemoteRefused, RemoteUnavailable
from bridge.wire import HttpCall, HttpReply, parse, retry_after_s

WHO = "Salesforce login"
LoginFlow = Literal["jwt_bearer", "password", "client_credentials"]
JWT_ALGORITHM = "RS256"
# Salesforce takes no assertion that lives longer than five minutes (salesforce.md, "Login").
ASSERTION_LIFE_S = 180
_FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
_NONE = SecretStr("")


class LoginConfig(msgspec.Struct, frozen=True, kw_only=True):
    """User, address and flow of the login; secrets print as stars."""

    flow: LoginFlow
    login_url: str
    client_id: str
    client_secret: SecretStr = _NONE
    username: str = ""
    password: SecretStr = _NONE
    security_token: SecretStr = _NONE


class SalesforceLogin:
    """Asks for tokens (salesforce.md, "Login"). It does not sign: the JWT flow is given its assertion."""

    def __init__(self, config: LoginConfig) -> None:
        self.config = config

    def token_request(self, assertion: str = "") -> HttpCall:
        """The request for a token; `assertion` is `claims`, signed with RS256, and counts in the JWT flow only."""
        forms = {"password": self._password, "client_credentials": self._client_credentials}
        form = _jwt_bearer(assertion) if self.config.flow == "jwt_bearer" else forms[self.config.flow]()
        url = f"{self.config.login_url}/services/oauth2/token"
        return HttpCall(method="POST", url=url, headers=_FORM, body=urlencode(form).encode())

    def claims(self, now_s: float) -> dict[str, str | int]:
        """The claims of the JWT flow's assertion."""
        return {
            "iss": self.config.client_id,
            "sub": self.config.username,
            "aud": _audience(self.config.login_url),
            "exp": int(now_s) + ASSERTION_LIFE_S,
        }

    def token(self, reply: HttpReply) -> Token:
        """The token. Raises RemoteRefused with OAuth's `code`: asking again could lock the user out; RemoteUnavailable.

        No sentence repeats a body that is not Salesforce's, or a secret.
        """
        _raise_without_body(reply)
        raise_for_fault(reply, who=WHO, hide=self._secrets())
        token = parse(reply, Token)
        if not token.access_token or not token.access_token.isprintable() or " " in token.access_token:
            raise RemoteGarbled(f"{WHO}: the answer holds no access token", status=reply.status)
        return token

    def _password(self) -> dict[str, str]:
        config = self.config
        password = config.password.get_secret_value() + config.security_token.get_secret_value()
        return {"grant_type": "password", **self._client(), "username": config.username, "password": password}

    def _client_credentials(self) -> dict[str, str]:
        return {"grant_type": "client_credentials", **self._client()}

    def _client(self) -> dict[str, str]:
        return {"client_id": self.config.client_id, "client_secret": self.config.client_secret.get_secret_value()}

    def _secrets(self) -> list[str]:
        config = self.config
        return [secret.get_secret_value() for secret in (config.client_secret, config.password, config.security_token)]


def _jwt_bearer(assertion: str) -> dict[str, str]:
    return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}


def _audience(login_url: str) -> str:
    host = urlsplit(login_url).hostname or ""
    sandbox = host == "test.salesforce.com" or ".sandbox." in host
    return f"https://{'test' if sandbox else 'login'}.salesforce.com"


def _raise_without_body(reply: HttpReply) -> None:
    # A proxy in front of Salesforce may answer with the form that it was sent, password included.
    if 200 <= reply.status < 300 or fault_of(reply)[0]:
        return
    sentence = f"{WHO}: [{reply.status}] - Error call with status : the answer is not a Salesforce error"
    if reply.status in (408, 425, 429) or reply.status >= 500:
        raise RemoteUnavailable(sentence, status=reply.status, retry_after_s=retry_after_s(reply.headers))
    raise RemoteRefused(sentence, status=reply.status)
