"""/v1/chats/connect, /v1/chat/finish and /v1/context: open a chat, end it, read what was said outside a chat."""

from __future__ import annotations

import falcon

from bridge.door import Door
from bridge.http.answers import Done, Refusal, say
from bridge.http.bodies import read_body
from bridge.http.errors import ANSWERS
from bridge.http.extra_data import ExtraDataKeys
from bridge.http.payloads import ChatPayload, check
from bridge.http.tokens import YALO_ROLE, Gate
from bridge.inputs import checked_user_id
from bridge.messages import Answer
from bridge.settings.load import Settings

# The misspelling is part of the API: callers compare these sentences (settings.md, "Connect" and "Finish").
CREATED = "Chat created succefully"
FINISHED = "Chat finished successfully"
NO_CHAT = "could not finish chat in salesforce : error not found interconnection: not found interconnection"


class ConnectResource:
    """Opens a chat (settings.md, "Connect")."""

    def __init__(self, door: Door, gate: Gate, settings: Settings) -> None:
        self._door = door
        self._gate = gate
        self._body_limit = settings.body_limit
        self._extra_data_keys = ExtraDataKeys(settings)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """200 when the desk has the request for the chat; otherwise the status and sentence of the answer."""
        self._gate.admit(req, YALO_ROLE)
        body = read_body(req, self._body_limit)
        payload = check(body, ChatPayload, extra_data=self._extra_data_keys.select)
        _tell(resp, self._door.connect(payload.to_request()), CREATED)


class FinishResource:
    """Ends a user's chat."""

    def __init__(self, door: Door, gate: Gate) -> None:
        self._door = door
        self._gate = gate

    def on_delete(self, req: falcon.Request, resp: falcon.Response, user_id: str) -> None:
        """200 when the end is on record, 404 when there is no chat."""
        self._gate.admit(req, YALO_ROLE)
        answer = self._door.finish(checked_user_id(user_id))
        _tell(resp, Answer("absent", NO_CHAT) if answer.code == "absent" else answer, FINISHED)


class ContextResource:
    """What a user and the bot said in the last 24 hours outside a chat (settings.md, "Context")."""

    def __init__(self, door: Door, gate: Gate) -> None:
        self._door = door
        self._gate = gate

    def on_get(self, req: falcon.Request, resp: falcon.Response, user_id: str) -> None:
        """200 with the entries, oldest first; an empty list when there are no entries."""
        self._gate.admit(req, YALO_ROLE)
        say(resp, self._door.context(checked_user_id(user_id)))


def _tell(resp: falcon.Response, answer: Answer, done: str) -> None:
    fault = ANSWERS[answer.code]
    resp.status = fault.status
    say(resp, Done(done) if answer.code == "ok" else Refusal(answer.sentence or fault.sentence))
