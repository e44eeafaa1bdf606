"""The other side of the third channel, over a real socket: takes messages, gives files to the bearer of its token."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from gevent.pywsgi import WSGIServer

TOKEN = "graph-token"


class GraphApi:
    """One number's Graph API. `sent` is what it took, in order; `files` is what users uploaded, by id."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self._server = WSGIServer(("127.0.0.1", 0), self._answer, log=None)
        self._server.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.stop()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, body = self._serve(environ)
        start_response(status, [("Content-Type", "application/json")])
        return [body]

    def _serve(self, environ: dict[str, Any]) -> tuple[str, bytes]:
        if environ.get("HTTP_AUTHORIZATION") != f"Bearer {TOKEN}":
            return "401 Unauthorized", b"{}"
        if environ["REQUEST_METHOD"] == "POST":
            self.sent.append(json.loads(environ["wsgi.input"].read()))
            return "200 OK", json.dumps({"messages": [{"id": f"wamid.{len(self.sent)}"}]}).encode()
        first, _, name = environ["PATH_INFO"].lstrip("/").partition("/")
        if first == "bytes":
            return "200 OK", self.files[name]
        return "200 OK", json.dumps({"url": f"{self.url}/bytes/{first}", "mime_type": "image/jpeg"}).encode()
