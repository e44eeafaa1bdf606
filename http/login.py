"""/v1/authenticate and /v1/tokens/check: a token for a login, and what a token says."""

from __future__ import annotations

import logging
import math
from hmac import compare_digest
from typing import NamedTuple

import falcon

from bridge.door import Door
from bridge.errors import StoreUnavailable
from bridge.http.answers import Token, TokenOwner, say
from bridge.http.bodies import read_body
from bridge.http.callers import caller_of
from bridge.http.payloads import Credentials, check
from bridge.http.tokens import ROLES, SALESFORCE_ROLE, YALO_ROLE, Gate, TokenMint
from bridge.settings.load import Settings

log = logging.getLogger(__name__)

BAD_LOGIN = "Invalid credentials."
TOO_MANY = "Too many failed logins, try again later."
WINDOW_S = 60.0
MOST_FAILURES = 10
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


class FailedLogins:
    """Counts failed logins for each caller and account. It refuses floods of wrong logins, and never a right one.

    The accounts' names are public and a proxy may be the address of everyone: if failures refused a right login,
    anybody could keep the bot out.
    """

    def __init__(self, door: Door, settings: Settings) -> None:
        self._door = door
        self._trusted_proxies = settings.trusted_proxies
        self._known = {settings.yalo_username, settings.salesforce_username}

    def refuse(self, req: falcon.Request, username: str) -> falcon.HTTPError:
        """The answer to one more failed login: 401, or 429 after too many."""
        caller = caller_of(req, self._trusted_proxies)
        # All unknown names count as one, or a stranger could write as many keys as there are names.
        account = username if username in self._known else ""
        try:
            failures = self._door.count_failure(f"login {caller} {account}", window_s=WINDOW_S)
        except StoreUnavailable:
            return _wrong()
        if failures.count <= MOST_FAILURES:
            return _wrong()
        if failures.count == MOST_FAILURES + 1:
            log.warning("more than %d failed logins within %g s from %s", MOST_FAILURES, WINDOW_S, caller)
        return falcon.HTTPTooManyRequests(description=TOO_MANY, retry_after=math.ceil(max(failures.left_s, 1)))


def _wrong() -> falcon.HTTPError:
    return falcon.HTTPUnauthorized(description=BAD_LOGIN, challenges=["Bearer"])


class AuthenticateResource:
    """A token for a login (settings.md, "Tokens")."""

    def __init__(self, mint: TokenMint, accounts: tuple[Account, ...], failed_logins: FailedLogins) -> None:
        self._mint = mint
        self._accounts = accounts
        self._failed_logins = failed_logins

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """200 with the token, 401 for a wrong login, 429 after too many."""
        given = check(read_body(req, MOST_BYTES), Credentials)
        owner = self._owner(given)
        if owner is None:
            raise self._failed_logins.refuse(req, given.username)
        say(resp, Token(self._mint.issue(owner)))

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
