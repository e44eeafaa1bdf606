"""/v1/docs: a page to read and try the API. It loads nothing from other hosts, and its policy forbids it."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import falcon

PAGE = Path(__file__).with_name("docs_page.html")


class DocsResource:
    """Serves the page, with a Content-Security-Policy that allows only its own style and script."""

    def __init__(self) -> None:
        self._page = PAGE.read_bytes()
        self._policy = (
            f"default-src 'none'; connect-src 'self'; img-src data:; style-src {_hash_of(self._page, 'style')}; "
            f"script-src {_hash_of(self._page, 'script')}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """200 with the page."""
        resp.content_type = "text/html; charset=utf-8"
        resp.set_header("Content-Security-Policy", self._policy)
        resp.data = self._page


def _hash_of(page: bytes, tag: str) -> str:
    inside = re.findall(rf"<{tag}>(.*?)</{tag}>".encode(), page, re.DOTALL)
    return " ".join(f"'sha256-{b64encode(sha256(text).digest()).decode()}'" for text in inside)
