"""Reads a request's body and counts its bytes meanwhile."""

from __future__ import annotations

import falcon
import gevent

from bridge.errors import PayloadError

CHUNK_BYTES = 16_384
BODY_TIMEOUT_S = 10.0
TOO_SLOW = "the body took too long to arrive"
MOST_IN_FLIGHT = 64 * 1024 * 1024
TOO_MANY = "too many bodies are on their way, try again"


class BodyBudget:
    """Counts the bytes of all bodies that this worker is reading, because slow callers make it hold them for long."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0

    def take(self, count: int) -> None:
        """Adds bytes that arrived. Raises HTTPServiceUnavailable (503) when there are too many."""
        if self._held + count > self._most:
            raise falcon.HTTPServiceUnavailable(description=TOO_MANY, retry_after=1)
        self._held += count

    def give_back(self, count: int) -> None:
        """Subtracts the bytes of a body that is complete, or given up."""
        self._held -= count


_budget = BodyBudget(MOST_IN_FLIGHT)


def read_body(req: falcon.Request, limit: int) -> bytes:
    """The whole body, at most `limit` bytes, with or without a Content-Length.

    Raises HTTPContentTooLarge (413) as soon as it is known to be longer, HTTPError 408 when it takes longer than
    BODY_TIMEOUT_S, HTTPServiceUnavailable (503) when too many are on their way, PayloadError when it breaks off.
    """
    if (req.content_length or 0) > limit:
        raise _too_large(limit)
    with gevent.Timeout(BODY_TIMEOUT_S, falcon.HTTPError(falcon.HTTP_408, description=TOO_SLOW)):
        body = _read_all(req, limit)
    if len(body) < (req.content_length or 0):
        raise PayloadError("invalid payload received : the body is shorter than its Content-Length")
    return body


def _read_all(req: falcon.Request, limit: int) -> bytes:
    # Falcon bounds a stream by its Content-Length. A chunked body has none, but Gunicorn's own stream ends by itself.
    stream = req.stream if req.env.get("wsgi.input_terminated") else req.bounded_stream
    body = bytearray()
    try:
        # `read(n)` of Gunicorn waits for n bytes or the end, so n is at most one more than the limit.
        while chunk := stream.read(min(CHUNK_BYTES, limit + 1 - len(body))):
            _budget.take(len(chunk))
            body += chunk
    except falcon.HTTPError:
        raise
    except Exception as error:
        # Each WSGI server has its own errors for chunks that are malformed or missing.
        raise PayloadError("invalid payload received : the body broke off") from error
    finally:
        _budget.give_back(len(body))
    if len(body) > limit:
        raise _too_large(limit)
    return bytes(body)


def _too_large(limit: int) -> falcon.HTTPError:
    return falcon.HTTPContentTooLarge(description=f"the body is larger than {limit} bytes")
