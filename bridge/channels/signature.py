"""Whether a webhook comes from whom it should: INTEGRATIONS_SIGNATURE (integrations.md, "Webhook signature")."""

from __future__ import annotations

import hmac

import falcon

BAD_SIGNATURE = "Invalid signature."


class SignatureCheck:
    """Accepts the secret in one header, or an HMAC-SHA256 of the raw body in another; without a secret, everything."""

    def __init__(self, secret: str, *, plain_header: str, hmac_header: str) -> None:
        self._secret = secret.encode()
        self._plain_header = plain_header
        self._hmac_header = hmac_header

    def require(self, req: falcon.Request, body: bytes) -> None:
        """Raises 403, the same for every reason."""
        if self._secret and not (self._plain_matches(req) | self._hmac_matches(req, body)):
            raise falcon.HTTPForbidden(description=BAD_SIGNATURE)

    def _plain_matches(self, req: falcon.Request) -> bool:
        return hmac.compare_digest(_header(req, self._plain_header), self._secret)

    def _hmac_matches(self, req: falcon.Request, body: bytes) -> bool:
        expected = b"sha256=" + hmac.new(self._secret, body, "sha256").hexdigest().encode()
        return hmac.compare_digest(_header(req, self._hmac_header).lower(), expected)


def _header(req: falcon.Request, name: str) -> bytes:
    # WSGI hands headers over as Latin-1: this gives back the bytes that were sent.
    return (req.get_header(name) or "").strip().encode("latin-1", "replace")
