"""Whether a webhook comes from the one who may send it (integrations.md, "Webhook signature")."""

from __future__ import annotations

import hmac

from bridge.channels.channel import Header


class SharedSecret:
    """Accepts the secret in one header, or an HMAC-SHA256 of the raw body in another; without a secret, everything."""

    def __init__(self, secret: str, *, plain_header: str, hmac_header: str) -> None:
        self._secret = secret.encode()
        self._plain_header = plain_header
        self._hmac_header = hmac_header

    @property
    def headers(self) -> str:
        """The two headers, for an operator to read."""
        return f"{self._plain_header} with the secret, or {self._hmac_header} with sha256=<HMAC of the body>"

    def admits(self, header: Header) -> bool:
        """Whether these headers are, or could be, those of a signed request: only an HMAC needs the body."""
        return not self._secret or self._plain_matches(header) or bool(header(self._hmac_header).strip())

    def verify(self, header: Header, body: bytes) -> bool:
        """Whether the request is signed."""
        if not self._secret:
            return True
        return self._plain_matches(header) | hmac_matches(header(self._hmac_header), self._secret, body)

    def _plain_matches(self, header: Header) -> bool:
        return hmac.compare_digest(_sent_bytes(header(self._plain_header)), self._secret)


def hmac_matches(given: str, key: bytes, body: bytes) -> bool:
    """Whether `given` is `sha256=` and the HMAC-SHA256 of `body` in hexadecimal, compared in constant time."""
    expected = b"sha256=" + hmac.new(key, body, "sha256").hexdigest().encode()
    return hmac.compare_digest(_sent_bytes(given).lower(), expected)


def _sent_bytes(value: str) -> bytes:
    # WSGI decodes headers as Latin-1: this gives back the bytes that were sent.
    return value.strip().encode("latin-1", "replace")
