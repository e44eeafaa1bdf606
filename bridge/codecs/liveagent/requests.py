"""Live Agent's REST protocol: a session and what is wanted in, requests out; answers in, session and events out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from bridge.codecs.liveagent.batches import Batch, read_batch
from bridge.codecs.liveagent.events import EventReader
from bridge.codecs.liveagent.session import LiveAgentSession, OutOfStep
from bridge.errors import DeskError, RemoteGarbled, RemoteRefused, RemoteUnavailable
from bridge.events import Event
from bridge.messages import ConnectRequest
from bridge.wire import HttpCall, HttpReply, json_call, parse, raise_for_status

_OUT_OF_STEP = re.compile(r"\bactual\b\W{0,3}?(-?\d{1,18})\b", re.IGNORECASE)
_WHO = "Live Agent"
_POLL_TIMEOUT_S = 40.0
_LONGEST_POLL_S = 300.0
# Batches in a row with messages and an old number, after which the session counts as broken.
_MOST_STALE = 5


class _SessionBody(msgspec.Struct, rename="camel"):
    id: str
    key: str
    affinity_token: str
    client_poll_timeout: Any = _POLL_TIMEOUT_S


class _Messages(msgspec.Struct):
    messages: list[Any]


class Prechat(msgspec.Struct, frozen=True):
    """What a request for an agent is about: the button (queue), and the two records that go with it."""

    button_id: str
    contact_id: str
    case_id: str


class PolledBatch(msgspec.Struct, frozen=True):
    """What one poll brought: the session as it is now, the events in order, the names of what was not understood."""

    session: LiveAgentSession
    events: tuple[Event, ...] = ()
    unknown: tuple[str, ...] = ()


class LiveAgentCodec:
    """One org and deployment. `base_url` may hold `/chat/rest` or not (liveagent.md, "Addresses and headers")."""

    def __init__(self, base_url: str, *, organization_id: str, deployment_id: str, api_version: str) -> None:
        self._rest = re.sub(r"(/chat(/rest)?)?/*$", "", base_url) + "/chat/rest"
        self._organization_id = organization_id
        self._deployment_id = deployment_id
        self._api_version = api_version

    # --- opening ----------------------------------------------------------------------------------------------------

    def open_session(self) -> HttpCall:
        """Asks for a session (liveagent.md, "Opening a session")."""
        headers = {"X-LIVEAGENT-API-VERSION": self._api_version, "X-LIVEAGENT-AFFINITY": "null"}
        return json_call("GET", f"{self._rest}/System/SessionId", headers=headers)

    def opened(self, reply: HttpReply, *, now_ms: int) -> LiveAgentSession:
        """The session in the answer. A 503: wrong host or org, no repair (liveagent.md, "Wrong or moved host")."""
        raise_for_status(reply, _WHO)
        body = parse(reply, _SessionBody)
        return LiveAgentSession(
            session_id=body.id,
            key=body.key,
            affinity=body.affinity_token,
            opened_at_ms=now_ms,
            poll_timeout_s=_poll_timeout_s(body.client_poll_timeout),
        )

    def request_chat(self, session: LiveAgentSession, request: ConnectRequest, prechat: Prechat) -> HttpCall:
        """Asks for an agent: the first POST of a session (liveagent.md, "Requesting a chat")."""
        body = {
            "organizationId": self._organization_id,
            "deploymentId": self._deployment_id,
            "buttonId": prechat.button_id,
            "sessionId": session.session_id,
            "trackingId": "",
            "userAgent": "Yalo Bot",
            "language": "es-MX",
            "screenResolution": "1900x1080",
            "visitorName": request.name,
            "prechatDetails": [_detail("CaseId", prechat.case_id), _detail("ContactId", prechat.contact_id)],
            "prechatEntities": [_entity("Case", "CaseId"), _entity("Contact", "ContactId")],
            "receiveQueueUpdates": True,
            "isPost": True,
        }
        return self._post(session, "Chasitor/ChasitorInit", body)

    # --- talking ----------------------------------------------------------------------------------------------------

    def text(self, session: LiveAgentSession, text: str) -> HttpCall:
        """Sends one text."""
        return self._post(session, "Chasitor/ChatMessage", {"text": text})

    def end(self, session: LiveAgentSession) -> HttpCall:
        """Ends the chat; `reason` is required (liveagent.md, "Posts")."""
        return self._post(session, "Chasitor/ChatEnd", {"reason": "client"})

    def delete(self, session: LiveAgentSession) -> HttpCall:
        """Ends the session, also where no agent ever came."""
        url = f"{self._rest}/System/SessionId/{quote(session.key, safe='!')}"
        return json_call("DELETE", url, headers=self._headers(session))

    def deleted(self, reply: HttpReply) -> None:
        """Nothing, when the session is gone; a session that was not found is gone, too. Raises RemoteUnavailable."""
        if reply.status not in (403, 404):
            raise_for_status(reply, _WHO)

    def posted(self, session: LiveAgentSession, reply: HttpReply) -> LiveAgentSession:
        """The session after a POST was taken: its number is used up.

        A 409 whose "Actual" is this POST's own number says that an earlier attempt arrived
        (liveagent.md, "Sequence numbers").
        Raises OutOfStep, DeskError (gone, broken), RemoteUnavailable, RemoteRefused.
        """
        number = session.sequence + 1
        if reply.status == 409:
            accepted = _accepted(reply)
            if accepted != number:
                raise OutOfStep(f"{_WHO}: {reply.text}", accepted=accepted)
        else:
            _raise_for_session(reply)
        return msgspec.structs.replace(session, sequence=number)

    def said(self, session: LiveAgentSession, reply: HttpReply) -> LiveAgentSession:
        """The session after a text was taken: `posted`, and one more text on the agent's side."""
        return msgspec.structs.replace(self.posted(session, reply), said=session.said + 1)

    # --- polling ----------------------------------------------------------------------------------------------------

    def poll(self, session: LiveAgentSession) -> HttpCall:
        """Asks what is new since `ack`; the desk holds it up to `poll_timeout_s` (liveagent.md, "Long poll")."""
        call = json_call("GET", f"{self._rest}/System/Messages?ack={session.ack}", headers=self._headers(session))
        timeout_s = session.poll_timeout_s + 5
        return msgspec.structs.replace(call, read_timeout_s=timeout_s, total_timeout_s=timeout_s)

    def polled(self, session: LiveAgentSession, reply: HttpReply) -> PolledBatch:
        """What a poll brought. A batch that was taken before (`sequence` ≤ `ack`) brings nothing.

        The rule is liveagent.md, "Acknowledgement and offset". After a reconnect the numbers may go on or begin again.
        Raises DeskError (busy, gone, broken), RemoteUnavailable, RemoteRefused.
        """
        restoring = session.repair == "restore"
        if reply.status == 204:
            return PolledBatch(_restored(msgspec.structs.replace(session, ack=-1) if restoring else session))
        if reply.status == 400 and restoring and session.ack >= 0:
            # The new server does not know the number that the old one gave.
            return PolledBatch(msgspec.structs.replace(session, ack=-1))
        if reply.status == 409:
            raise DeskError(f"{_WHO}: {reply.text}", verdict="busy", status=409)
        _raise_for_session(reply)
        batch = read_batch(reply)
        if batch.sequence <= session.ack and not restoring:
            return _stale(session, batch)
        acked = msgspec.structs.replace(
            session, ack=batch.sequence, offset=_offset(batch.offset, session.offset), stale=0
        )
        reader = EventReader(acked)
        events, unknown = reader.read(batch.messages)
        return PolledBatch(_restored(reader.session), events, unknown)

    # --- repairing --------------------------------------------------------------------------------------------------

    def repair(self, session: LiveAgentSession) -> HttpCall:
        """The next request of the repair (liveagent.md, "Reconnect")."""
        if session.repair == "resync":
            headers = self._headers(session)
            body = {"organizationId": self._organization_id}
            return json_call("POST", f"{self._rest}/Chasitor/ChasitorResyncState", body, headers=headers)
        headers = {**self._headers(session), "X-LIVEAGENT-AFFINITY": "null"}
        url = f"{self._rest}/System/ReconnectSession?ReconnectSession.offset={session.offset}"
        return json_call("GET", url, headers=headers)

    def repaired(self, session: LiveAgentSession, reply: HttpReply) -> LiveAgentSession:
        """The session after that request. A 405 says that nothing was broken (liveagent.md, "Reconnect")."""
        if session.repair == "resync":
            _raise_for_session(reply)
            return msgspec.structs.replace(session, repair="")
        if reply.status == 405:
            return msgspec.structs.replace(session, repair="")
        if reply.status == 503:
            raise RemoteUnavailable(f"{_WHO}: {reply.text}", status=503)
        _raise_for_session(reply)
        # POST numbers start again. The ack stays: -1 would ask once more for a batch that was taken but not yet acked.
        return msgspec.structs.replace(
            session, affinity=_new_affinity(reply), sequence=0, repair="restore", repairs=session.repairs + 1
        )

    def _headers(self, session: LiveAgentSession) -> dict[str, str]:
        return {
            "X-LIVEAGENT-API-VERSION": self._api_version,
            "X-LIVEAGENT-AFFINITY": session.affinity,
            "X-LIVEAGENT-SESSION-KEY": session.key,
        }

    def _post(self, session: LiveAgentSession, noun: str, body: Mapping[str, Any]) -> HttpCall:
        headers = {**self._headers(session), "X-LIVEAGENT-SEQUENCE": str(session.sequence + 1)}
        return json_call("POST", f"{self._rest}/{noun}", body, headers=headers)


def _detail(label: str, value: str) -> dict[str, Any]:
    return {"label": label, "value": value, "transcriptFields": [label], "displayToAgent": True, "entityMaps": []}


def _entity(entity: str, label: str) -> dict[str, Any]:
    field = {"fieldName": "Id", "label": label, "doFind": True, "isExactMatch": True, "doCreate": False}
    return {
        "entityName": entity,
        "linkToEntityName": entity,
        "linkToEntityField": "Id",
        "saveToTranscript": entity,
        "showOnCreate": True,
        "entityFieldsMaps": [field],
    }


def _poll_timeout_s(given: Any) -> float:
    """A number, or a number in a string (liveagent.md, "Opening a session"); anything senseless is the usual 40."""
    try:
        seconds = float(given)
    except (TypeError, ValueError, OverflowError):
        return _POLL_TIMEOUT_S
    return seconds if 1 <= seconds <= _LONGEST_POLL_S else _POLL_TIMEOUT_S


def _offset(given: Any, known: int) -> int:
    """The last positive one counts (liveagent.md, "Acknowledgement and offset")."""
    return given if type(given) is int and 0 < given < 2**63 else known


def _stale(session: LiveAgentSession, batch: Batch) -> PolledBatch:
    """A batch that was taken before brings nothing. A desk that sends only such batches has to be reconnected."""
    if not batch.messages:
        return PolledBatch(session)
    if session.stale + 1 >= _MOST_STALE:
        sentence = f"{_WHO}: batch {batch.sequence} came again and again after batch {session.ack}"
        raise DeskError(sentence, verdict="broken")
    return PolledBatch(msgspec.structs.replace(session, stale=session.stale + 1))


def _restored(session: LiveAgentSession) -> LiveAgentSession:
    """After a reconnect the first poll brings what the desk knows; then we go on (liveagent.md, "Reconnect")."""
    return msgspec.structs.replace(session, repair="resync") if session.repair == "restore" else session


def _raise_for_session(reply: HttpReply) -> None:
    if reply.status == 403:
        raise DeskError(f"[403] - Error call with status : {reply.text}", verdict="gone", status=403)
    if reply.status == 503:
        raise DeskError(f"[503] - Error call with status : {reply.text}", verdict="broken", status=503)
    raise_for_status(reply, _WHO)


def _accepted(reply: HttpReply) -> int:
    found = _OUT_OF_STEP.search(reply.text)
    if found is None:
        raise RemoteRefused(f"{_WHO}: {reply.text}", status=409)
    return int(found.group(1))


def _new_affinity(reply: HttpReply) -> str:
    for envelope in parse(reply, _Messages).messages:
        message = envelope.get("message") if isinstance(envelope, dict) else None
        token = message.get("affinityToken") if isinstance(message, dict) else None
        if token and isinstance(token, str):
            return token
    raise RemoteGarbled(f"{_WHO}: ReconnectSession gave no affinity token", status=reply.status)
