"""The control API under `/control`: what Simulator's methods do, for curl and for other processes. JSON throughout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import falcon
import msgspec
from falcon import Request, Response

from bridge.ops.simulator.chat_parts import NotNow
from bridge.ops.simulator.chats import Chat
from bridge.ops.simulator.desk import NoSuchChat
from bridge.ops.simulator.faults import Fault
from bridge.ops.simulator.media import File, MediaHost
from bridge.ops.simulator.org import DataError
from bridge.ops.simulator.scene import Scene

_LONGEST_WAIT_S = 25.0

GUIDE = {
    "GET /control/chats": "every session: id, visitor, status, texts, prechat details",
    "GET /control/chats/{who}": "one: by session id, visitor's name, case or contact id, e-mail, phone, or `last`",
    "POST /control/chats/{who}/accept": "{name, user_id}",
    "POST /control/chats/{who}/say": "{text}",
    "POST /control/chats/{who}/type": "{stops}",
    "POST /control/chats/{who}/transfer": "{name, user_id, to_queue}",
    "POST /control/chats/{who}/disconnect": "{}",
    "POST /control/chats/{who}/end": "{reason}",
    "POST /control/chats/{who}/fail": "{reason}",
    "POST /control/chats/{who}/queue-update": "{position, wait_s}",
    "POST /control/chats/{who}/event": "{type, message}",
    "POST /control/chats/{who}/request-file": "{}",
    "POST /control/chats/{who}/cancel-file": "{}",
    "POST /control/chats/{who}/break": "{}: 503 until it is reconnected",
    "POST /control/chats/{who}/lose": "{}: 403 from now on",
    "GET|PATCH /control/settings": "{hold_s, expiry_s, auto_accept, …}",
    "GET|POST|DELETE /control/faults": "{path, method, session, contains, status, body, headers, delay_s, times, skip, "
    "drop, garbage, act}",
    "DELETE /control/faults/{id}": "disarms one",
    "POST /control/contacts": "{LastName, Email, MobilePhone, blocked, …}",
    "GET /control/records/{Object}": "every Contact, Account, Case, ContentVersion, …",
    "POST /control/tokens/expire": "every access token is bad from now on",
    "PUT /control/media/{name}": "the body's bytes under their content type, or JSON {data (base64), content_type, "
    "status, redirect, repeat, chunk_bytes, chunk_delay_s, length} as application/vnd.simulator+json",
    "GET /control/ledger?after=&limit=&kind=&name=": "what was accepted, in order; `name` is a session or a user",
    "GET /control/events?after=&wait_s=": "the entries after a number, waiting for the first of them",
    "GET /control/requests": "requests by method, path and status",
    "GET /control/counts?kinds=": "sessions by status, polls held, and the ledger's entries of these kinds",
}


class Accept(msgspec.Struct, forbid_unknown_fields=True):
    """An agent's name and id."""

    name: str = "Ana"
    user_id: str = "0055f000001AnaA"


class Say(msgspec.Struct, forbid_unknown_fields=True):
    """The text to send."""

    text: str


class Type(msgspec.Struct, forbid_unknown_fields=True):
    """Whether typing begins or stops."""

    stops: bool = False


class Transfer(msgspec.Struct, forbid_unknown_fields=True):
    """The agent who gets the chat, or a queue."""

    name: str = "Luis"
    user_id: str = "0055f000001LuiS"
    to_queue: bool = False


class End(msgspec.Struct, forbid_unknown_fields=True):
    """Why."""

    reason: str = "agent"


class Fail(msgspec.Struct, forbid_unknown_fields=True):
    """Why."""

    reason: str = "Unavailable"


class QueueUpdate(msgspec.Struct, forbid_unknown_fields=True):
    """The new place in the queue."""

    position: int
    wait_s: float = -1


class SendEvent(msgspec.Struct, forbid_unknown_fields=True):
    """An event of any type."""

    type: str
    message: dict[str, Any] = {}


class Plain(msgspec.Struct, forbid_unknown_fields=True):
    """An act without arguments."""


class ChatsResource:
    """The chats, and what the agent does to them."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._acts: dict[str, tuple[type, Callable[..., Any]]] = {
            "accept": (Accept, scene.accept),
            "say": (Say, scene.say),
            "type": (Type, scene.types),
            "transfer": (Transfer, scene.transfer),
            "disconnect": (Plain, scene.disconnect),
            "end": (End, scene.end),
            "fail": (Fail, scene.fail),
            "queue-update": (QueueUpdate, scene.queue_update),
            "event": (SendEvent, scene.send_event),
            "request-file": (Plain, scene.request_file),
            "cancel-file": (Plain, scene.cancel_file),
            "break": (Plain, scene.break_session),
            "lose": (Plain, scene.lose_session),
        }

    def on_get(self, req: Request, resp: Response) -> None:
        status = req.get_param("status", default="")
        resp.media = {"chats": [describe(chat) for chat in self._scene.chats(status)]}

    def on_get_chat(self, req: Request, resp: Response, who: str) -> None:
        resp.media = describe(self._scene.chat(who))

    def on_post_act(self, req: Request, resp: Response, who: str, act: str) -> None:
        if act not in self._acts:
            raise falcon.HTTPNotFound(description=f"no such act; there are {', '.join(self._acts)}")
        shape, do = self._acts[act]
        given = _understood(req, shape)
        chat = self._scene.chat(who)
        do(chat.id, **{name: getattr(given, name) for name in given.__struct_fields__})
        resp.media = describe(chat)


def describe(chat: Chat) -> dict[str, Any]:
    """A chat as the control API shows it."""
    return {
        "session": chat.id,
        "status": chat.status,
        "reason": chat.reason,
        "visitor": chat.visitor,
        "agent": chat.agent.name if chat.agent else None,
        "position": chat.position,
        "sequence": chat.number,
        "polled": chat.poll is not None,
        "pending": [event["type"] for event in chat.pending],
        "broken": chat.broken,
        "file_token": chat.file_token,
        "prechat": {detail["label"]: detail["value"] for detail in chat.request.get("prechatDetails", [])},
        "transcript": [msgspec.to_builtins(line) for line in chat.transcript],
    }


class SettingsResource:
    """The simulator's settings."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def on_get(self, req: Request, resp: Response) -> None:
        resp.media = msgspec.to_builtins(self._scene.settings)

    def on_patch(self, req: Request, resp: Response) -> None:
        self._scene.configure(**_understood(req, dict[str, Any]))
        self.on_get(req, resp)


class FaultsResource:
    """The faults that are armed."""

    def __init__(self, scene: Scene) -> None:
        self._faults = scene.faults

    def on_get(self, req: Request, resp: Response) -> None:
        resp.media = {"faults": [msgspec.to_builtins(fault) for fault in self._faults.armed()]}

    def on_post(self, req: Request, resp: Response) -> None:
        resp.status = falcon.HTTP_201
        resp.media = msgspec.to_builtins(self._faults.add(_understood(req, Fault)))

    def on_delete(self, req: Request, resp: Response) -> None:
        self._faults.clear()
        self.on_get(req, resp)

    def on_delete_one(self, req: Request, resp: Response, fault_id: int) -> None:
        if not self._faults.remove(fault_id):
            raise falcon.HTTPNotFound(description="no such fault is armed")
        self.on_get(req, resp)


class OrgResource:
    """Contacts, records and access tokens."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def on_post_contacts(self, req: Request, resp: Response) -> None:
        resp.status = falcon.HTTP_201
        resp.media = {"id": self._scene.seed_contact(**_understood(req, dict[str, Any]))}

    def on_get_records(self, req: Request, resp: Response, kind: str) -> None:
        resp.media = {"records": self._scene.records(self._scene.org.kind(kind).name)}

    def on_post_expire(self, req: Request, resp: Response) -> None:
        self._scene.expire_tokens()
        resp.media = {}


class MediaResource:
    """What the media host serves."""

    def __init__(self, host: MediaHost) -> None:
        self._host = host

    def on_put(self, req: Request, resp: Response, name: str) -> None:
        content_type = req.content_type or "application/octet-stream"
        described = content_type.startswith("application/vnd.simulator+json")
        file = _understood(req, File) if described else File(data=req.bounded_stream.read(), content_type=content_type)
        self._host.files[name] = file
        resp.status, resp.media = falcon.HTTP_201, {"url": f"{req.prefix}/media/{name}"}


class LedgerResource:
    """The ledger, whole, in parts, or as it grows."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._ledger = scene.ledger

    def on_get(self, req: Request, resp: Response) -> None:
        kind, name = req.get_param("kind", default=""), req.get_param("name", default="")
        after, limit = req.get_param_as_int("after", default=0), req.get_param_as_int("limit", default=1000)
        found = self._ledger.entries(kind, name) if kind else self._ledger.since(after, limit=limit)
        self._show(resp, [entry for entry in found if entry.number > after][:limit])

    def on_get_events(self, req: Request, resp: Response) -> None:
        after = req.get_param_as_int("after", default=0)
        wait_s = min(req.get_param_as_float("wait_s", default=5.0), _LONGEST_WAIT_S)
        try:
            self._ledger.wait_for(lambda: self._ledger.last_number() > after, wait_s)
        except TimeoutError:
            self._show(resp, [])
            return
        self._show(resp, self._ledger.since(after))

    def on_get_requests(self, req: Request, resp: Response) -> None:
        resp.media = {"requests": self._ledger.request_table(), "overlaps": dict(self._ledger.overlaps)}

    def on_get_counts(self, req: Request, resp: Response) -> None:
        chats = self._scene.chats()
        resp.media = {
            "sessions": Counter(chat.status for chat in chats),
            "polled": sum(chat.poll is not None for chat in chats),
            "entries": {kind: self._ledger.count(kind) for kind in req.get_param_as_list("kinds", default=[])},
            "last": self._ledger.last_number(),
        }

    def _show(self, resp: Response, entries: list[Any]) -> None:
        shown = {"entries": entries, "last": self._ledger.last_number()}
        resp.content_type, resp.data = falcon.MEDIA_JSON, msgspec.json.encode(shown)


class GuideResource:
    """The list of what the control API offers."""

    def on_get(self, req: Request, resp: Response) -> None:
        resp.media = GUIDE


def _understood(req: Request, shape: Any) -> Any:
    return msgspec.json.decode(req.bounded_stream.read() or b"{}", type=shape)


def _answer(status: int, describe_error: Callable[[Exception], Any]) -> Callable[..., None]:
    def handle(req: Request, resp: Response, error: Exception, params: Any) -> None:
        resp.status, resp.media = status, {"error": describe_error(error)}

    return handle


def add_routes(app: falcon.App[Request, Response], scene: Scene, host: MediaHost) -> None:
    """Everything under `/control`."""
    chats, faults = ChatsResource(scene), FaultsResource(scene)
    org, ledger = OrgResource(scene), LedgerResource(scene)
    app.add_route("/control", GuideResource())
    app.add_route("/control/chats", chats)
    app.add_route("/control/chats/{who}", chats, suffix="chat")
    app.add_route("/control/chats/{who}/{act}", chats, suffix="act")
    app.add_route("/control/settings", SettingsResource(scene))
    app.add_route("/control/faults", faults)
    app.add_route("/control/faults/{fault_id:int}", faults, suffix="one")
    app.add_route("/control/contacts", org, suffix="contacts")
    app.add_route("/control/records/{kind}", org, suffix="records")
    app.add_route("/control/tokens/expire", org, suffix="expire")
    app.add_route("/control/media/{name}", MediaResource(host))
    app.add_route("/control/ledger", ledger)
    app.add_route("/control/events", ledger, suffix="events")
    app.add_route("/control/requests", ledger, suffix="requests")
    app.add_route("/control/counts", ledger, suffix="counts")
    app.add_error_handler(NoSuchChat, _answer(404, lambda error: f"no such chat: {error.args[0]}"))
    app.add_error_handler(NotNow, _answer(409, str))
    app.add_error_handler(msgspec.MsgspecError, _answer(400, str))
    app.add_error_handler(DataError, _answer(400, lambda error: getattr(error, "body", str(error))))
