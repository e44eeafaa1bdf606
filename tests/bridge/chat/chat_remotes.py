"""Remotes made of plain data, for chats played in thousands: a desk that speaks Live Agent, and the rest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from bridge.actors.outbound.liveagent import LiveAgentDesk
from bridge.codecs.liveagent.requests import LiveAgentCodec
from bridge.commands import (
    AttachFile,
    Command,
    EnsureContact,
    LeaveDesk,
    OpenCase,
    OpenSession,
    Poll,
    RepairSession,
    RequestChat,
    SendToAgent,
    SendToUser,
    TellBot,
)
from bridge.errors import BridgeError, RemoteRefused, RemoteUnavailable
from bridge.events import (
    BotTold,
    CaseOpened,
    ContactBlocked,
    ContactReady,
    DeliveredToUser,
    Event,
    FileAttached,
)
from bridge.wire import HttpCall, HttpReply

CODEC = LiveAgentCodec("https://desk.example", organization_id="org", deployment_id="dep", api_version="42")

# How a call may go wrong: before or after the remote did it, or by its own word.
Fault = Literal["", "drop before", "drop after", "500", "refused"]
FAULTS: tuple[Fault, ...] = ("", "", "", "drop before", "drop after", "500", "refused")

Phase = Literal["new", "queued", "active", "ended", "gone"]


class Desk:
    """One org's Live Agent: it takes POSTs in sequence, holds back what was not acked, and moves when told to.

    A repeated number has no stated answer (liveagent.md, "Sequence numbers"): `drops_repeats` says 200 instead of 409.
    """

    def __init__(self) -> None:
        self.drops_repeats = False
        self.heard: list[str] = []
        self.too_early = 0
        self.sessions = 0
        self.phase: Phase = "gone"
        self.confirmed: set[str] = set()
        self.accepted = self.broken = self.may_reconnect = False
        self.pending: list[dict[str, Any]] = []

    def begin(self) -> None:
        self.sessions += 1
        self.phase = "new"
        self.accepted = self.broken = self.may_reconnect = False
        self.affinity, self.sequence = f"a{self.sessions}.0", 0
        self.pending, self.batches = [], 0
        self.batch: tuple[int, list[dict[str, Any]]] = (-1, [])
        self.transcript: list[dict[str, Any]] = []
        self.moves = 0

    # --- what its agents and its weather do -------------------------------------------------------------------------

    def happens(self, kind: str, **message: Any) -> None:
        self.pending.append({"type": kind, "message": message})

    def accept(self) -> None:
        self.phase, self.accepted = "active", True
        self.happens("ChatEstablished", name="Eva")

    def say(self, text: str) -> None:
        self.transcript.append({"type": "Agent", "content": text})
        self.happens("ChatMessage", text=text)

    def end(self, kind: str, reason: str) -> None:
        self.phase = "ended"
        self.happens(kind, reason=reason)

    # --- what it is asked -------------------------------------------------------------------------------------------

    def send(self, call: HttpCall) -> HttpReply:
        noun = call.url.split("?")[0].rpartition("/")[2]
        if call.method == "DELETE":
            return self._delete(noun)
        if noun == "SessionId":
            self.begin()
            body = {"id": f"s{self.sessions}", "key": f"k{self.sessions}", "affinityToken": self.affinity}
            return _json({**body, "clientPollTimeout": 40})
        if call.headers.get("X-LIVEAGENT-SESSION-KEY") != f"k{self.sessions}" or self.phase == "gone":
            return HttpReply(403, body=b"Session required but was invalid or not found")
        if noun == "ReconnectSession":
            return self._reconnect()
        if self.broken or call.headers["X-LIVEAGENT-AFFINITY"] != self.affinity:
            self.may_reconnect = True
            return HttpReply(503, body=b"Invalid Affinity Token")
        self.may_reconnect = False
        if noun == "Messages":
            return self._poll(int(call.url.rpartition("=")[2]))
        return self._post(noun, call)

    def _delete(self, key: str) -> HttpReply:
        if key != f"k{self.sessions}" or self.phase == "gone":
            return HttpReply(403)
        if self.broken:
            self.may_reconnect = True
            return HttpReply(503)
        self.phase = "gone"
        return HttpReply(200)

    def _poll(self, ack: int) -> HttpReply:
        sequence, events = self.batch
        if sequence > ack:
            return _json({"messages": events, "sequence": sequence, "offset": 7})
        self.confirmed.update(text for event in events for text in _agent_texts(event))
        if self.pending:
            self.batch, self.pending = (self.batches, self.pending), []
            self.batches += 1
            return self._poll(ack)
        if self.phase == "ended":
            self.phase = "gone"
            return HttpReply(403)
        return HttpReply(204)

    def _post(self, noun: str, call: HttpCall) -> HttpReply:
        if noun == "ChasitorResyncState":
            return HttpReply(200)
        if self.phase == "ended":
            return HttpReply(403)
        number = int(call.headers["X-LIVEAGENT-SEQUENCE"])
        if number == self.sequence and self.drops_repeats:
            return HttpReply(200, body=b"OK")
        if number != self.sequence + 1:
            return HttpReply(409, body=f"Out of sync Ack. Expected {number}. Actual {self.sequence}".encode())
        body = msgspec.json.decode(call.body)
        if noun == "ChatMessage":
            if self.phase != "active":
                self.too_early += 1
                return HttpReply(500)
            self.heard.append(body["text"])
            self.transcript.append({"type": "Chasitor", "content": body["text"]})
        self.sequence = number
        if noun == "ChasitorInit":
            self.phase = "queued"
            self.happens("ChatRequestSuccess", queuePosition=3)
        if noun == "ChatEnd":
            self.end("ChatEnded", body["reason"])
        return HttpReply(200, body=b"OK")

    def _reconnect(self) -> HttpReply:
        if not self.may_reconnect:
            return HttpReply(405)
        self.broken, self.moves, self.sequence = False, self.moves + 1, 0
        self.affinity = f"a{self.sessions}.{self.moves}"
        retold = ("ChatMessage", "ChasitorSessionData")
        kept = [event for event in (*self.batch[1], *self.pending) if event["type"] not in retold]
        data = {"type": "ChasitorSessionData", "message": {"chatMessages": list(self.transcript)}}
        self.batch, self.pending = (-1, []), [data, *kept]
        return _json(
            {
                "messages": [
                    {"type": "ReconnectSession", "message": {"resetSequence": True, "affinityToken": self.affinity}}
                ]
            }
        )


_AT_THE_DESK = (OpenSession, RequestChat, Poll, SendToAgent, RepairSession, LeaveDesk)


class Line:
    """The transport to a desk that is a function."""

    def __init__(self, ask: Callable[[HttpCall], HttpReply]) -> None:
        self.send = ask


class Remotes:
    """The desk, Salesforce's records, the user's channel and the bot, and how a command is carried out at them."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.blocked = False
        self.received: dict[str, str] = {}
        self.told: list[str] = []
        self.attached: Counter[str] = Counter()
        self.fault: Fault = ""
        line = Line(self._ask)
        desk = LiveAgentDesk(CODEC, lambda request: "button", posts=line, polls=line)
        self._served: dict[type[Any], Callable[[Any], tuple[Event, ...]]] = {
            EnsureContact: self._contact,
            OpenCase: lambda command: (CaseOpened("case"),),
            **dict.fromkeys(_AT_THE_DESK, desk.serve),
            AttachFile: self._attach,
            SendToUser: self._receive,
            TellBot: self._tell,
        }

    def serve(self, command: Command, fault: Fault = "") -> tuple[Event, ...] | BridgeError:
        """What became of a command; a fault strikes the first call that it makes."""
        self.fault = fault
        try:
            if not isinstance(command, _AT_THE_DESK):
                self._stumble("before")
            events = self._served[type(command)](command)
            self._stumble("after")
        except BridgeError as error:
            return error
        return events

    def _stumble(self, when: str) -> None:
        fault, after = self.fault, self.fault == "drop after"
        if not fault or after != (when == "after"):
            return
        self.fault = ""
        if fault == "refused":
            raise RemoteRefused("400", status=400)
        raise RemoteUnavailable(fault)

    def _ask(self, call: HttpCall) -> HttpReply:
        if self.fault in ("500", "refused"):
            status = 500 if self.fault == "500" else 400
            self.fault = ""
            return HttpReply(status)
        self._stumble("before")
        reply = self.desk.send(call)
        self._stumble("after")
        return reply

    def _contact(self, command: EnsureContact) -> tuple[Event, ...]:
        return (ContactBlocked("contact"),) if self.blocked else (ContactReady("contact"),)

    def _attach(self, command: AttachFile) -> tuple[Event, ...]:
        self.attached[command.delivery.id] += 1
        return (FileAttached(command.delivery.id, command.delivery.id),)

    def _receive(self, command: SendToUser) -> tuple[Event, ...]:
        # The channel drops what it has: the id is the same at every attempt.
        self.received.setdefault(command.delivery.id, command.delivery.text)
        return (DeliveredToUser(command.delivery.id),)

    def _tell(self, command: TellBot) -> tuple[Event, ...]:
        self.told.append(command.state)
        return (BotTold(),)


def _agent_texts(event: dict[str, Any]) -> list[str]:
    if event["type"] == "ChatMessage":
        return [event["message"]["text"]]
    entries = event["message"].get("chatMessages", ())
    return [entry["content"] for entry in entries if entry["type"] == "Agent"]


def numbered(text: str) -> int:
    """The number at the end of a text."""
    found = re.search(r"\d+$", text)
    assert found is not None
    return int(found.group())


def _json(body: Any) -> HttpReply:
    return HttpReply(200, body=msgspec.json.encode(body))
