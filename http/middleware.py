"""The middleware of every request: it yields to the actors, gives a request id, and sets headers for browsers."""

from __future__ import annotations

import re
import uuid

import falcon
import gevent

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class Fairness:
    """Yields once for each request: a busy keep-alive connection switches no greenlets, so all actors would wait."""

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        gevent.sleep(0)


class RequestIds:
    """Keeps the caller's X-Request-Id if it is short and plain, makes one otherwise, and answers with it."""

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        given = req.get_header("X-Request-Id") or ""
        req.context.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        resp.set_header("X-Request-Id", req.context.request_id)


class SafeHeaders:
    """Adds the headers that every answer needs, unless a resource has set its own."""

    def process_response(self, req: falcon.Request, resp: falcon.Response, resource: object, succeeded: bool) -> None:
        for name, value in SAFE_HEADERS.items():
            if resp.get_header(name) is None:
                resp.set_header(name, value)
