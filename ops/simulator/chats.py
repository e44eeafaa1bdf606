"""One Live Agent session and its chat: what the agent does to it, what waits to be polled, and when it dies.

Choices where the sources are silent (liveagent.md, "What the simulator decides"): batches are numbered on after a
reconnect; what an agent wrote and was not delivered then stands in the transcript of ChasitorSessionData and does not
come as an event again, while other undelivered events come after it; ChatEnded is still delivered, to one batch, and
everything after it is 403.
"""

from __future__ import annotations

import base64
import os
import time
import uuid
from collections.abc import Callable
from typing import Any, Literal

import gevent
import msgspec

from bridge.ops.simulator.chat_parts import Agent, Batch, Event, Line, NotNow, Poll, Refusal
from bridge.ops.simulator.ledger import Ledger
from bridge.ops.simulator.settings import SimulatorSettings

ChatStatus = Literal["created", "queued", "active", "ended"]
Repair = Literal["", "data", "resync"]

_IDLE = {"isEnabled": False, "warningTime": 0, "timeout": 0}


class Chat:
    """State of one session. Only the polls, the nouns and the scripted agent touch it; `wake` ends its held poll."""

    def __init__(self, settings: SimulatorSettings, ledger: Ledger, *, base_url: str) -> None:
        self.settings = settings
        self.ledger = ledger
        self.base_url = base_url
        self.id = str(uuid.uuid4())
        self.key = _key(self.id)
        self.affinity = os.urandom(4).hex()
        self.status: ChatStatus = "created"
        self.reason = ""
        self.visitor = ""
        self.request: dict[str, Any] = {}
        self.agent: Agent | None = None
        self.established = False
        self.position = 0
        self.transcript: list[Line] = []
        # the POST side
        self.number = 0
        self.last_post = b""
        self.said_at = 0.0
        self.file_token = ""
        # the poll side
        self.pending: list[Event] = []
        self.batch: Batch | None = None
        self.batches = 0
        self.offset = int(time.time() * 10) % 500_000_000
        self.poll: Poll | None = None
        self.gone = False
        # the repair
        self.unconfirmed: Batch | None = None
        self.broken = False
        self.was_503 = False
        self.repair: Repair = ""
        self.repairs = 0
        self.on_dequeue: Callable[[], None] = lambda: None
        self._expiry: Any = None
        self.arm_expiry()

    # --- events to the visitor --------------------------------------------------------------------------------------

    def push(self, kind: str, message: dict[str, Any] | None = None) -> None:
        """Queues an event for the next poll."""
        self.pending.append({"type": kind, "message": message or {}})
        self.wake()

    def wake(self) -> None:
        """Wakes the held poll, which then looks for a batch."""
        if self.poll is not None:
            self.poll.woken.set()

    def next_batch(self) -> Batch | None:
        """What a poll is answered: the batch that was not acked yet, or all that is pending as a new one."""
        if self.batch is None and self.pending:
            self.offset += 1 + len(self.pending)
            self.batch = Batch(self.pending, self.batches, self.offset)
            self.batches += 1
            self.pending = []
        if self.batch is not None and self.repair == "data":
            self.repair = "resync"
        return self.batch

    def confirm(self, ack: int | None) -> None:
        """Forgets the batch that is acked; no `ack` at all confirms whatever went out (liveagent.md, "Long poll")."""
        if ack is not None and not -1 <= ack < self.batches:
            raise Refusal(400, f"ack {ack} was never given out", properties={"ack": "out of range"})
        if self.batch is not None and (ack is None or ack >= self.batch.sequence):
            self.batch = None
        if self.unconfirmed is not None:
            unread = ack is not None and ack < self.unconfirmed.sequence
            texts = [event for event in self.unconfirmed.messages if event["type"] == "ChatMessage"]
            self.pending[1:1], self.unconfirmed = texts if unread else [], None

    # --- the agent's side -------------------------------------------------------------------------------------------

    def enqueue(self, request: dict[str, Any], position: int) -> None:
        """The chat waits for an agent."""
        self.request, self.visitor, self.status = request, request["visitorName"], "queued"
        self.position = position
        self.push("ChatRequestSuccess", self._request_success())
        self._record("chat_queued", details={"button": request.get("buttonId", ""), "position": position})

    def accept(self, agent: Agent) -> None:
        """An agent takes the chat, waiting in the queue or left by another agent."""
        self._require(self.status == "queued" or (self.status == "active" and self.agent is None), "is not waiting")
        self._leave_queue()
        self.agent, self.status = agent, "active"
        kind = "ChatTransferred" if self.established else "ChatEstablished"
        self.established = True
        self.push(kind, self._agent_joined(agent))
        self._record("chat_transferred" if kind == "ChatTransferred" else "chat_established", text=agent.name)

    def say(self, text: str) -> None:
        """The agent writes."""
        agent = self._present_agent()
        self._write("Agent", agent.name, text)
        schedule = {"responseDelayMilliseconds": 0}
        self.push("ChatMessage", {"text": text, "name": agent.name, "agentId": agent.id, "schedule": schedule})
        self._record("agent_said", text=text)

    def types(self, *, stops: bool) -> None:
        """The agent begins or stops typing."""
        agent = self._present_agent()
        self.push("AgentNotTyping" if stops else "AgentTyping", {"name": agent.name, "agentId": agent.id})

    def transfer(self, agent: Agent | None) -> None:
        """The chat goes to another agent, or back to a queue when `agent` is None."""
        self._present_agent()
        self.agent = agent
        if agent is None:
            self.push("TransferToButtonInitiated")
            self._record("chat_requeued")
            return
        self._write("OperatorTransferred", agent.name, "")
        self.push("ChatTransferred", self._agent_joined(agent))
        self._record("chat_transferred", text=agent.name)

    def disconnect(self) -> None:
        """The agent's connection is lost; the chat lives on and another may accept it (liveagent.md, "Events")."""
        agent = self._present_agent()
        self.agent = None
        self.push("AgentDisconnect", {"name": agent.name, "agentId": agent.id})
        self._record("agent_disconnected", text=agent.name)

    def update_queue(self, position: int, wait_s: float) -> None:
        """The visitor's place changes; the event is sent only if the visitor asked for it (`receiveQueueUpdates`)."""
        self._require(self.status == "queued", "is not in a queue")
        self._require(bool(self.request.get("receiveQueueUpdates")), "did not ask for queue updates")
        self.position = position
        self.push("QueueUpdate", {"position": position, "estimatedWaitTime": wait_s})

    def request_file(self) -> str:
        """The agent asks for a file; one token takes one file (liveagent.md, "Files")."""
        self._present_agent()
        self.file_token = uuid.uuid4().hex
        self.push("FileTransfer", self._file("Requested"))
        return self.file_token

    def settle_file(self, outcome: str) -> None:
        """The file arrived, failed or was cancelled; its token is used up."""
        self.push("FileTransfer", self._file(outcome))
        self.file_token = ""

    def end(self, reason: str, *, event: str = "ChatEnded") -> None:
        """The chat is over: `event` is still delivered, every POST is refused."""
        self._require(self.status != "ended", "has ended")
        body: Event = {"reason": reason, "attachedRecords": []} if event == "ChatEnded" else {"reason": reason}
        self.push(event, body)
        self._over(reason)

    def destroy(self, reason: str) -> None:
        """The session is gone at once: nothing more is delivered."""
        self.gone = True
        self.pending, self.batch = [], None
        self._disarm_expiry()
        if self.status != "ended":
            self._over(reason)
        self.wake()

    def _over(self, reason: str) -> None:
        self._leave_queue()
        self.status, self.reason = "ended", reason
        self._record("chat_ended", text=reason)
        self.wake()

    def _leave_queue(self) -> None:
        if self.status == "queued":
            self.on_dequeue()

    # --- life -------------------------------------------------------------------------------------------------------

    def arm_expiry(self) -> None:
        """Starts the time that the session lives without a poll."""
        self._disarm_expiry()
        if not self.gone:
            self._expiry = gevent.get_hub().loop.timer(self.settings.expiry_s)
            self._expiry.start(self.expire)

    def hold_expiry(self) -> None:
        """Stops that time while a poll is held."""
        self._disarm_expiry()

    def expire(self) -> None:
        """No poll came within `expiry_s`: the session ends."""
        self._record("session_expired")
        self.destroy("expired")

    def _disarm_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.stop()
            self._expiry.close()
            self._expiry = None

    # --- the repair -------------------------------------------------------------------------------------------------

    def break_off(self) -> None:
        """The server that held the session is gone: 503 to everything until it is reconnected."""
        self.broken = True
        self._record("session_broken")
        self.wake()

    def reconnect(self, offset: int) -> None:
        """New affinity, POST numbers from 1, the session's data before anything else (liveagent.md, "Reconnect")."""
        unseen = self.batch.messages if self.batch is not None and offset < self.batch.offset else []
        repeated = ("ChatMessage", "ChasitorSessionData")
        kept = [event for event in [*unseen, *self.pending] if event["type"] not in repeated]
        self.unconfirmed = self.batch if self.settings.reconnect_repeats else None
        self.batch, self.pending = None, [{"type": "ChasitorSessionData", "message": self._session_data()}, *kept]
        self.affinity = os.urandom(4).hex()
        self.number, self.last_post = 0, b""
        self.broken = self.was_503 = False
        self.repair = "data"
        self.repairs += 1
        self._record("session_reconnected")
        self.wake()

    # --- shapes -----------------------------------------------------------------------------------------------------

    def hear(self, text: str) -> None:
        """The visitor's text goes into the transcript."""
        self._write("Chasitor", self.visitor, text)

    def _write(self, kind: Literal["Agent", "Chasitor", "OperatorTransferred"], name: str, text: str) -> None:
        now_ms = int(time.time() * 1000)
        self.transcript.append(Line(kind, name, text, now_ms, len(self.transcript)))

    def _record(self, kind: str, **fields: Any) -> None:
        self.ledger.record(kind, session=self.id, user=self.visitor, **fields)

    def _require(self, holds: bool, complaint: str) -> None:
        if not holds:
            raise NotNow(f"chat {self.id} ({self.status}) {complaint}")

    def _present_agent(self) -> Agent:
        self._require(self.status == "active" and self.agent is not None, "has no agent")
        assert self.agent is not None
        return self.agent

    def _agent_joined(self, agent: Agent) -> Event:
        return {"name": agent.name, "userId": agent.id, "sneakPeekEnabled": False, "chasitorIdleTimeout": _IDLE}

    def _file(self, kind: str) -> Event:
        return {
            "type": kind,
            "uploadServletUrl": f"{self.base_url}/upload",
            "fileToken": self.file_token,
            "cdmServletUrl": f"{self.base_url}/upload",
        }

    def _request_success(self) -> Event:
        return {
            "queuePosition": self.position,
            "estimatedWaitTime": -1,
            "connectionTimeout": int(self.settings.expiry_s * 1000),
            "customDetails": self.request.get("prechatDetails", []),
            "sensitiveDataRules": [],
            "transcriptSaveEnabled": False,
            "visitorId": str(uuid.uuid4()),
            **self._place(),
        }

    def _session_data(self) -> Event:
        lines = [msgspec.to_builtins(line) for line in self.transcript]
        return {"queuePosition": self.position, "sneakPeekEnabled": False, "chatMessages": lines, **self._place()}

    def _place(self) -> Event:
        geo = {"countryCode": "MX", "countryName": "Mexico", "latitude": 19.4, "longitude": -99.1}
        return {"geoLocation": geo, "url": "", "oref": "", "postChatUrl": ""}


def _key(session_id: str) -> str:
    """`<id>!<epoch ms>!<base64>`, always with `+`, `/` and `=` in it: a client must survive them in a path."""
    signature = base64.b64encode(b"\xfb\xff\xfe" + os.urandom(26)).decode()
    return f"{session_id}!{int(time.time() * 1000)}!{signature}"
