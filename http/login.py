"""/v1/authenticate and /v1/tokens/check: a token for a login, and what a token says."""

from __future__ import annotations

import math
from hmac import compare_digest
from typing import NamedTuple

import falcon

from bridge.http.answers import Token, TokenOwner, say
from bridge.http.bodies import read_body
from bridge.http.limiter import FailureLimiter
from bridge.http.payloads import Credentials, check
from bridge.http.tokens import ROLES, SALESFORCE_ROLE, YALO_ROLE, Gate, TokenMint
from bridge.settings.load import Settings

BAD_LOGIN = "Invalid credentials."
TOO_MANY = "Too many failed logins, try again later."
WINDOW_S = 60.0
MOST_BY_ADDRESS = 10
MOST_BY_USERNAME = 30
MOST_BYTES = 16_384


class Account(NamedTuple):
    """One of the two who may log in."""

    username: bytes
    password: bytes
    role: str

    def matches(self, given: Credentials) -> bool:
        """Whether both are right; takes as long whichever of them is wrong."""
        same_name = compare_digest(given.username.encode(), self.username)
        same_password = compare_digest(given.password.encode(), self.password)
        return same_name & same_password & bool(self.password)


def accounts_of(settings: Settings) -> tuple[Account, ...]:
    """The accounts that the settings name."""
    yalo = Account(settings.yalo_username.encode(), settings.yalo_password.get_secret_value().encode(), YALO_ROLE)
    salesforce = Account(
        settings.salesforce_username.encode(), settings.salesforce_password.get_secret_value().encode(), SALESFORCE_ROLE
    )
    return yalo, salesforce


class AuthenticateResource:
    """A token for a login (settings.md, "Tokens")."""

    def __init__(self, mint: TokenMint, accounts: tuple[Account, ...]) -> None:
        self._mint = mint
        self._accounts = accounts
        self._by_address = FailureLimiter(MOST_BY_ADDRESS, WINDOW_S)
        self._by_username = FailureLimiter(MOST_BY_USERNAME, WINDOW_S)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """200 with the token, 401 for a wrong login, 429 after too many."""
        given = check(read_body(req, MOST_BYTES), Credentials)
        self._refuse_flood(req.remote_addr, given.username)
        owner = self._owner(given)
        if owner is None:
            self._by_address.record(req.remote_addr)
            self._by_username.record(given.username)
            raise falcon.HTTPUnauthorized(description=BAD_LOGIN, challenges=["Bearer"])
        say(resp, Token(self._mint.issue(owner)))

    def _refuse_flood(self, address: str, username: str) -> None:
        wait_s = max(self._by_address.wait_s(address), self._by_username.wait_s(username))
        if wait_s > 0:
            raise falcon.HTTPTooManyRequests(description=TOO_MANY, retry_after=math.ceil(wait_s))

    def _owner(self, given: Credentials) -> TokenOwner | None:
        # A list, not a generator: each account is compared, whether an earlier one matched or not.
        matching = [account for account in self._accounts if account.matches(given)]
        return TokenOwner(given.username, matching[0].role) if matching else None


class TokenCheckResource:
    """What a token says (settings.md, "Tokens")."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """200 with the owner's name and role, for either role."""
        say(resp, self._gate.admit(req, *ROLES))
