"""Turns errors into answers: one table, always JSON, nothing internal."""

from __future__ import annotations

import logging
from typing import NamedTuple

import falcon

from bridge.errors import (
    AnswerTimeout,
    BridgeError,
    Fenced,
    MailboxFull,
    PayloadError,
    RemoteError,
    RemoteRefused,
    RemoteUnavailable,
    StoreError,
    StoreUnavailable,
)
from bridge.http.answers import Refusal, say
from bridge.messages import AnswerCode

log = logging.getLogger(__name__)


class Fault(NamedTuple):
    """How one kind of error is answered; when `sentence` is empty, the error's own sentence is used."""

    status: int
    sentence: str = ""
    retry_after_s: int = 0


FAULTS: dict[type[BridgeError], Fault] = {
    PayloadError: Fault(400),
    StoreUnavailable: Fault(503, "the store is not available, try again", retry_after_s=5),
    MailboxFull: Fault(503, "the chat has too many messages waiting, try again", retry_after_s=10),
    Fenced: Fault(503, "the chat is moving to another process, try again", retry_after_s=2),
    StoreError: Fault(503, "the store failed, try again", retry_after_s=5),
    AnswerTimeout: Fault(504, "no answer in time; whether it was done is not known"),
    RemoteUnavailable: Fault(504, "a neighbour gave no answer"),
    RemoteRefused: Fault(502, "a neighbour refused"),
    RemoteError: Fault(502, "a neighbour failed"),
    BridgeError: Fault(500, "internal error"),
}

ANSWERS: dict[AnswerCode, Fault] = {
    "ok": Fault(200),
    "absent": Fault(404, "this user has no chat"),
    "exists": Fault(409, "this user has a chat"),
    "blocked": Fault(403, "this contact is blocked"),
    "refused": Fault(502, "salesforce refused"),
    "unavailable": Fault(504, "salesforce gave no answer"),
}


def fault_of(error: BridgeError) -> Fault:
    """The row of the error's class, or of its nearest base class in the table."""
    return next(FAULTS[kind] for kind in type(error).__mro__ if kind in FAULTS)


def on_bridge_error(req: falcon.Request, resp: falcon.Response, error: BridgeError, params: dict[str, str]) -> None:
    """Answers an error of the bridge's own hierarchy."""
    fault = fault_of(error)
    if fault.status >= 500:
        # The path can hold a phone number, which the log must not; its template does not hold it.
        log.warning(
            "%s %s answered %d: %s: %s", req.method, req.uri_template, fault.status, type(error).__name__, error
        )
    resp.status = fault.status
    if fault.retry_after_s:
        resp.set_header("Retry-After", str(fault.retry_after_s))
    say(resp, Refusal(fault.sentence or str(error)))


def on_crash(req: falcon.Request, resp: falcon.Response, error: Exception, params: dict[str, str]) -> None:
    """Answers an unexpected error: the caller gets a request id, the log gets the traceback under the same id."""
    request_id = getattr(req.context, "request_id", "-")
    log.error("%s %s crashed, request %s", req.method, req.uri_template, request_id, exc_info=error)
    resp.status = 500
    say(resp, Refusal(f"internal error, request {request_id}"))


def on_http_error(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError) -> None:
    """Writes every HTTPError as JSON: those of Falcon (unknown route, wrong method, …) and those raised here."""
    say(resp, Refusal(error.description or error.title or str(error.status)))
