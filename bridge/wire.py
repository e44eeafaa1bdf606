"""HTTP as data: what a codec sends and what it gets back. `actors/outbound/transport.py` carries it."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TypeVar

import msgspec

from bridge.errors import RemoteGarbled, RemoteRefused, RemoteUnavailable

Shape = TypeVar("Shape")

LARGEST_ANSWER = 4 * 1024 * 1024


class HttpCall(msgspec.Struct, frozen=True, kw_only=True):
    """One request: method, whole URL, headers, and a body as bytes. Times in seconds.

    `read_timeout_s` is the longest silence; `total_timeout_s` the longest that the whole answer may take;
    `largest_answer` the most bytes that its body may have.
    """

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes = b""
    read_timeout_s: float = 10.0
    total_timeout_s: float = 15.0
    largest_answer: int = LARGEST_ANSWER


class HttpReply(msgspec.Struct, frozen=True):
    """One answer: status, headers with lower-case names, and the whole body."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""

    @property
    def text(self) -> str:
        """The body as text for an error sentence: at most 300 characters, never raises."""
        return self.body[:1200].decode("utf-8", "replace")[:300].strip()


_JSON_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


def json_call(method: str, url: str, body: object = None, *, headers: Mapping[str, str] | None = None) -> HttpCall:
    """A call with a JSON body (none for `None`) and the JSON headers, to which `headers` are added."""
    encoded = b"" if body is None else msgspec.json.encode(body)
    return HttpCall(method=method, url=url, headers={**_JSON_HEADERS, **(headers or {})}, body=encoded)


def parse(reply: HttpReply, shape: type[Shape]) -> Shape:
    """The body as `shape`. Raises RemoteGarbled when it is anything else."""
    try:
        return msgspec.json.decode(reply.body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteGarbled(f"answer not understood: {error}", status=reply.status) from error


def retry_after_s(headers: Mapping[str, str], *, most_s: float = 300.0) -> float | None:
    """Seconds from a Retry-After header, a number or a date, capped; None when absent or malformed.

    A date is measured against the answer's own Date header, so that no clock has to be right.
    """
    asked = headers.get("retry-after", "")
    try:
        seconds = float(asked) if asked.strip("0123456789.") == "" else _seconds_between(headers["date"], asked)
    except (ValueError, KeyError, TypeError):
        return None
    return min(seconds, most_s) if seconds >= 0 else None


def _seconds_between(earlier: str, later: str) -> float:
    return (parsedate_to_datetime(later) - parsedate_to_datetime(earlier)).total_seconds()


def raise_for_status(reply: HttpReply, who: str, *, quoted: bool = True) -> None:
    """Raises RemoteUnavailable for 408, 425, 429 and 5xx, RemoteRefused for any other status that is not 2xx.

    The sentence quotes the body, unless `quoted` is False: some remotes answer with what they were sent. A page of a
    proxy (5xx and no JSON) is never quoted.
    """
    if 200 <= reply.status < 300:
        return
    quoted = quoted and (reply.status < 500 or _is_json(reply))
    sentence = f"[{reply.status}] - Error call with status : {reply.text if quoted else ''}".rstrip()
    if reply.status in (408, 425, 429) or reply.status >= 500:
        raise RemoteUnavailable(f"{who}: {sentence}", status=reply.status, retry_after_s=retry_after_s(reply.headers))
    raise RemoteRefused(f"{who}: {sentence}", status=reply.status)


def _is_json(reply: HttpReply) -> bool:
    try:
        msgspec.json.decode(reply.body, type=msgspec.Raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True
