"""The tokens of the API: how they are signed, what they hold, and which roles they admit."""

from __future__ import annotations

import time

import falcon
import jwt

from bridge.http.answers import TokenOwner

YALO_ROLE = "YALO_ROLE"
SALESFORCE_ROLE = "SALESFORCE_ROLE"
ROLES = (YALO_ROLE, SALESFORCE_ROLE)

ALGORITHM = "HS256"
LEEWAY_S = 10
MOST_BYTES = 8192

NO_TOKEN = "An Authorization header or an Query Param with name token is required."
BAD_TOKEN = "Invalid Authorization token."


class InvalidToken(Exception):
    """This service did not sign the token, or it is not valid now."""


class TokenMint:
    """Signs and reads tokens with one key, one algorithm and one issuer; the header of a token changes none of them."""

    def __init__(self, key: str, *, issuer: str, ttl_s: float) -> None:
        self._key = key.encode()
        self._issuer = issuer
        self._ttl_s = ttl_s

    def issue(self, owner: TokenOwner) -> str:
        """A token for the owner; it holds the name and the role, but no secret."""
        now_s = int(time.time())
        claims = {
            "iss": self._issuer,
            "iat": now_s,
            "exp": now_s + int(self._ttl_s),
            "username": owner.username,
            "role": owner.role,
        }
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)

    def read(self, token: str) -> TokenOwner:
        """The owner of the token. Raises InvalidToken for one that is malformed, expired or signed by another key."""
        if len(token) > MOST_BYTES:
            raise InvalidToken("too long")
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                issuer=self._issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iat", "iss"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise InvalidToken(type(error).__name__) from error
        return self._owner(claims.get("username"), claims.get("role"))

    @staticmethod
    def _owner(username: object, role: object) -> TokenOwner:
        if isinstance(username, str) and isinstance(role, str) and role in ROLES:
            return TokenOwner(username, role)
        raise InvalidToken("not one of our claims")


class Gate:
    """Admits a request by its token, from the Authorization header or from `?token=` (settings.md, "Tokens")."""

    def __init__(self, mint: TokenMint) -> None:
        self._mint = mint

    def admit(self, req: falcon.Request, *roles: str) -> TokenOwner:
        """The owner of the request's token, in one of `roles`.

        Raises 401 without a token that is valid now, so that a caller knows to log in again, 403 with another role.
        """
        token = _token_of(req)
        if not token:
            raise falcon.HTTPUnauthorized(description=NO_TOKEN, challenges=["Bearer"])
        try:
            owner = self._mint.read(token)
        except InvalidToken as error:
            raise falcon.HTTPUnauthorized(description=BAD_TOKEN, challenges=["Bearer"]) from error
        if owner.role not in roles:
            raise falcon.HTTPForbidden(description=BAD_TOKEN)
        return owner


def _token_of(req: falcon.Request) -> str:
    """The bearer token, else the token of the query, else the whole header, which is then refused as a bad token."""
    header = (req.auth or "").strip()
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip()
    return req.get_param("token") or header
