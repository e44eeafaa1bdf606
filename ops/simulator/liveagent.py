"""Live Agent's HTTP side: headers, System, Chasitor and Visitor resources, and the upload servlet."""

from __future__ import annotations

import json
import re
from typing import Any

import falcon
from falcon import Request, Response

from bridge.ops.simulator import polls
from bridge.ops.simulator.chasitor import Chasitor
from bridge.ops.simulator.chat_parts import LOST, Refusal
from bridge.ops.simulator.chats import Chat
from bridge.ops.simulator.desk import Desk
from bridge.ops.simulator.settings import SimulatorSettings

_IDS = re.compile(r"[\[\],\s]+")


def refuse(req: Request, resp: Response, refusal: Refusal, params: Any) -> None:
    """A 400 is JSON and names the wrong properties; all else is plain text (liveagent.md, "Status codes")."""
    resp.status = refusal.status
    if refusal.properties is None:
        resp.content_type, resp.text = "text/plain", str(refusal)
        return
    details = [{"property": name, "message": why} for name, why in refusal.properties.items()]
    resp.content_type, resp.text = "application/json", json.dumps({"message": str(refusal), "details": details})


class Doorkeeper:
    """Checks the headers that every call of a session must carry (liveagent.md, "Addresses and headers")."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def version(self, req: Request) -> int:
        """The API version, a bare number. Raises Refusal 400."""
        version = req.get_header("X-LIVEAGENT-API-VERSION") or ""
        if not version.isdecimal():
            raise Refusal(400, "API version required", properties={"X-LIVEAGENT-API-VERSION": "not a number"})
        return int(version)

    def session(self, req: Request) -> Chat:
        """The chat of a call with key and affinity. Raises Refusal 400, 403, 503."""
        self.version(req)
        chat = self._desk.by_key(req.get_header("X-LIVEAGENT-SESSION-KEY"))
        self.alive(req, chat)
        return chat

    def alive(self, req: Request, chat: Chat) -> None:
        """Raises Refusal: 403 for a session that is gone, 503 for another affinity than the session's."""
        if chat.gone:
            raise Refusal(403, LOST)
        if chat.broken or req.get_header("X-LIVEAGENT-AFFINITY") != chat.affinity:
            chat.was_503 = True
            raise Refusal(503, "Invalid Affinity Token")


class SessionResource:
    """GET System/SessionId opens a session; DELETE System/SessionId/{key} ends it."""

    def __init__(self, settings: SimulatorSettings, desk: Desk, doorkeeper: Doorkeeper) -> None:
        self._settings = settings
        self._desk = desk
        self._doorkeeper = doorkeeper

    def on_get(self, req: Request, resp: Response) -> None:
        self._doorkeeper.version(req)
        if req.get_header("X-LIVEAGENT-AFFINITY") not in (None, "null"):
            raise Refusal(400, "A first call has no affinity", properties={"X-LIVEAGENT-AFFINITY": "not null"})
        chat = self._desk.open(f"{req.prefix}/liveagent")
        resp.media = {
            "id": chat.id,
            "key": chat.key,
            "affinityToken": chat.affinity,
            "clientPollTimeout": self._settings.poll_timeout_s,
        }

    def on_delete_key(self, req: Request, resp: Response, key: str) -> None:
        self._doorkeeper.version(req)
        chat = self._desk.by_key(key)
        self._doorkeeper.alive(req, chat)
        chat.destroy("client")
        _ok(resp)


class MessagesResource:
    """GET System/Messages: the long poll."""

    def __init__(self, doorkeeper: Doorkeeper) -> None:
        self._doorkeeper = doorkeeper

    def on_get(self, req: Request, resp: Response) -> None:
        chat = self._doorkeeper.session(req)
        ack = _whole_number(req.params.get("ack"), "ack")
        batch = polls.hold(chat, ack, req.env.get("simulator.socket"))
        if batch is None:
            resp.status = falcon.HTTP_204
            return
        resp.media = {"messages": batch.messages, "sequence": batch.sequence, "offset": batch.offset}


class ReconnectResource:
    """GET System/ReconnectSession, only after a 503 (liveagent.md, "Reconnect" and "What the simulator decides")."""

    def __init__(self, desk: Desk, doorkeeper: Doorkeeper) -> None:
        self._desk = desk
        self._doorkeeper = doorkeeper

    def on_get(self, req: Request, resp: Response) -> None:
        chat = self._admit(req)
        chat.reconnect(_offset(req, chat))
        answer = {"resetSequence": True, "affinityToken": chat.affinity}
        resp.media = {"messages": [{"type": "ReconnectSession", "message": answer}]}

    def _admit(self, req: Request) -> Chat:
        version = self._doorkeeper.version(req)
        chat = self._desk.by_key(req.get_header("X-LIVEAGENT-SESSION-KEY"))
        if chat.gone:
            raise Refusal(403, LOST)
        if not chat.was_503 or version < 37:
            raise Refusal(405, "Method Not Allowed")
        if req.get_header("X-LIVEAGENT-AFFINITY") != "null":
            raise Refusal(400, "A reconnect has no affinity", properties={"X-LIVEAGENT-AFFINITY": "not null"})
        return chat


class PostResource:
    """POST Chasitor/{noun} and System/MultiNoun."""

    def __init__(self, chasitor: Chasitor, doorkeeper: Doorkeeper) -> None:
        self._chasitor = chasitor
        self._doorkeeper = doorkeeper

    def on_post(self, req: Request, resp: Response, noun: str = "MultiNoun") -> None:
        chat = self._doorkeeper.session(req)
        body = req.bounded_stream.read()
        number = _whole_number(req.get_header("X-LIVEAGENT-SEQUENCE"), "X-LIVEAGENT-SEQUENCE")
        self._chasitor.post(chat, noun, body, number)
        _ok(resp)


class VisitorResource:
    """GET Visitor/{Availability,Settings,VisitorId}: no session needed."""

    def __init__(self, settings: SimulatorSettings, doorkeeper: Doorkeeper) -> None:
        self._settings = settings
        self._doorkeeper = doorkeeper

    def on_get_availability(self, req: Request, resp: Response) -> None:
        self._admit(req)
        if self._settings.switch_server:
            _message(resp, "SwitchServer", {"newUrl": self._settings.switch_server})
            return
        ids = _IDS.split(req.get_param("Availability.ids", required=True).strip("[] "))
        _message(resp, "Availability", {"results": [self._availability(id_) for id_ in ids]})

    def on_get_settings(self, req: Request, resp: Response) -> None:
        self._admit(req)
        buttons = [{**self._availability(self._settings.button_id), "type": "Standard", "language": "es_MX"}]
        here = f"{req.prefix}/liveagent"
        _message(resp, "Settings", {"pingRate": 50000, "contentServerUrl": here, "buttons": buttons})

    def on_get_visitor(self, req: Request, resp: Response) -> None:
        self._admit(req)
        _message(resp, "VisitorId", {"sessionId": "visitor"})

    def on_post_breadcrumb(self, req: Request, resp: Response) -> None:
        self._doorkeeper.version(req)
        _ok(resp)

    def _admit(self, req: Request) -> None:
        self._doorkeeper.version(req)
        for name, ours in (("org_id", self._settings.organization_id), ("deployment_id", self._settings.deployment_id)):
            if ours and req.get_param(name, default="")[:15] != ours[:15]:
                raise Refusal(400, f"{name} is not ours", properties={name: "missing or not ours"})

    def _availability(self, button: str) -> dict[str, Any]:
        if not self._settings.agents_online or button in self._settings.closed_buttons:
            return {"id": button}
        return {"id": button, "isAvailable": True, "estimatedWaitTime": -1}


class UploadResource:
    """POST of the one file that an agent asked for (liveagent.md, "Files")."""

    def __init__(self, settings: SimulatorSettings, desk: Desk) -> None:
        self._settings = settings
        self._desk = desk

    def on_post(self, req: Request, resp: Response) -> None:
        chat = self._admit(req)
        files = [(part.secure_filename, part.get_data()) for part in req.get_media() if part.name == "file"]
        if not files:
            raise Refusal(400, "no part named file")
        name, data = files[0]
        chat.ledger.record("file_uploaded", session=chat.id, text=name, details={"bytes": len(data)})
        chat.settle_file("Success")
        _ok(resp)

    def _admit(self, req: Request) -> Chat:
        token, key = req.get_param("fileToken", default=""), req.get_param("chatKey", default="")
        ours, org = self._settings.organization_id, req.get_param("orgId", default="")
        chat = self._desk.known(key)
        addressed = req.get_param("encoding") == "UTF-8" and (not ours or org[:15] == ours[:15])
        if chat is None or not addressed or not token or chat.file_token != token:
            raise Refusal(403, "upload not expected")
        return chat


def add_routes(app: falcon.App[Request, Response], settings: SimulatorSettings, desk: Desk) -> None:
    """Everything under `/liveagent`."""
    doorkeeper = Doorkeeper(desk)
    chasitor = Chasitor(settings, desk)
    session = SessionResource(settings, desk, doorkeeper)
    visitor = VisitorResource(settings, doorkeeper)
    post = PostResource(chasitor, doorkeeper)
    rest = "/liveagent/chat/rest"
    app.add_route(f"{rest}/System/SessionId", session)
    app.add_route(f"{rest}/System/SessionId/{{key:path}}", session, suffix="key")
    app.add_route(f"{rest}/System/Messages", MessagesResource(doorkeeper))
    app.add_route(f"{rest}/System/ReconnectSession", ReconnectResource(desk, doorkeeper))
    app.add_route(f"{rest}/System/MultiNoun", post)
    app.add_route(f"{rest}/Chasitor/{{noun}}", post)
    app.add_route(f"{rest}/Visitor/Availability", visitor, suffix="availability")
    app.add_route(f"{rest}/Visitor/Settings", visitor, suffix="settings")
    app.add_route(f"{rest}/Visitor/VisitorId", visitor, suffix="visitor")
    app.add_route(f"{rest}/Visitor/Breadcrumb", visitor, suffix="breadcrumb")
    app.add_route("/liveagent/upload", UploadResource(settings, desk))
    app.add_error_handler(Refusal, refuse)


def _ok(resp: Response) -> None:
    resp.content_type, resp.text = "text/plain", "OK"


def _message(resp: Response, kind: str, message: dict[str, Any]) -> None:
    resp.media = {"messages": [{"type": kind, "message": message}]}


def _offset(req: Request, chat: Chat) -> int:
    """The offset of the last batch that the client has; one that was never given out is refused."""
    name = "ReconnectSession.offset"
    offset = _whole_number(req.params.get(name), name)
    if offset is None or offset > chat.offset:
        raise Refusal(400, f"{name} is required", properties={name: "missing or never given out"})
    return offset


def _whole_number(value: Any, name: str) -> int | None:
    if value is None:
        return None
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise Refusal(400, f"{name} is no number", properties={name: "not a number"}) from error
