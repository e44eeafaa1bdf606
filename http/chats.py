"""/v1/chats/connect, /v1/chat/finish and /v1/context: opening a chat, ending it, what was said outside one."""

from __future__ import annotations

import falcon

from bridge.door import Door
from bridge.http.answers import Done, Refusal, say
from bridge.http.bodies import read_body
from bridge.http.errors import ANSWERS
from bridge.http.payloads import ChatPayload, check
from bridge.http.tokens import YALO_ROLE, Gate
from bridge.inputs import checked_user_id
from bridge.messages import Answer

# The misspelling is part of the API: callers compare it (settings.md, "Connect").
CREATED = "Chat created succefully"
FINISHED = "Chat finished successfully"


class ConnectResource:
    """Opens a chat (settings.md, "Connect")."""

    def __init__(self, door: Door, gate: Gate, body_limit: int) -> None:
        self._door = door
        self._gate = gate
        self._body_limit = body_limit

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """200 when the chat was asked for at the desk; the answer's own code and sentence otherwise."""
        self._gate.admit(req, YALO_ROLE)
        payload = check(read_body(req, self._body_limit), ChatPayload)
        _tell(resp, self._door.connect(payload.to_request()), CREATED)


class FinishResource:
    """Ends a user's chat."""

    def __init__(self, door: Door, gate: Gate) -> None:
        self._door = door
        self._gate = gate

    def on_delete(self, req: falcon.Request, resp: falcon.Response, user_id: str) -> None:
        """200 when the end is on record, 404 when there is no chat."""
        self._gate.admit(req, YALO_ROLE)
        _tell(resp, self._door.finish(checked_user_id(user_id)), FINISHED)


class ContextResource:
    """What a user and the bot said in the last 24 hours outside a chat (settings.md, "Context")."""

    def __init__(self, door: Door, gate: Gate) -> None:
        self._door = door
        self._gate = gate

    def on_get(self, req: falcon.Request, resp: falcon.Response, user_id: str) -> None:
        """200 with the entries, oldest first; none is an empty list."""
        self._gate.admit(req, YALO_ROLE)
        say(resp, self._door.context(checked_user_id(user_id)))


def _tell(resp: falcon.Response, answer: Answer, done: str) -> None:
    fault = ANSWERS[answer.code]
    resp.status = fault.status
    say(resp, Done(done) if answer.code == "ok" else Refusal(answer.sentence or fault.sentence))
