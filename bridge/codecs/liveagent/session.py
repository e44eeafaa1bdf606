"""A Live Agent session: what its two halves hold, and how they are read from and written to the chat's session."""

from __future__ import annotations

from typing import Literal

import msgspec

from bridge.errors import DeskError
from bridge.messages import DeskSession, Health, Turn

Repair = Literal["", "reconnect", "restore", "resync"]

# The steps of a repair (liveagent.md, "Reconnect") as the health of the chat's session.
_HEALTH: dict[Repair, Health] = {"": "ok", "reconnect": "broken", "restore": "restoring", "resync": "repairing"}
_REPAIR: dict[Health, Repair] = {health: repair for repair, health in _HEALTH.items()}


class OutOfStep(DeskError):
    """A POST's number was not the next one; `accepted` is the last one taken (liveagent.md, "Sequence numbers")."""

    def __init__(self, sentence: str, *, accepted: int) -> None:
        super().__init__(sentence, verdict="moved", status=409)
        self.accepted = accepted


class LiveAgentSession(msgspec.Struct, frozen=True, kw_only=True):
    """Both halves together, as the codec reads them.

    `sequence` is the last POST number that the desk took; the POST under way, if any, carries `sequence + 1`.
    `said` counts the texts that the desk took, `found` those that a repair found there unconfirmed, `heard` the agent's
    texts. `stale` counts the batches in a row whose number was not new. `repairs` counts the reconnects: after each
    one, `sequence` starts again.
    """

    session_id: str
    key: str
    affinity: str
    opened_at_ms: int
    poll_timeout_s: float = 40.0
    ack: int = -1
    offset: int = 0
    sequence: int = 0
    said: int = 0
    found: int = 0
    heard: int = 0
    stale: int = 0
    repairs: int = 0
    repair: Repair = ""


class _Sending(msgspec.Struct, omit_defaults=True):
    key: str
    affinity: str
    sequence: int = 0
    said: int = 0
    repairs: int = 0


class _Receiving(msgspec.Struct, omit_defaults=True):
    poll_timeout_s: float = 40.0
    ack: int = -1
    offset: int = 0
    found: int = 0
    heard: int = 0
    stale: int = 0


_sending_decoder = msgspec.json.Decoder(_Sending)
_receiving_decoder = msgspec.json.Decoder(_Receiving)


def read(session: DeskSession) -> LiveAgentSession:
    """The session of a chat, as the codec reads it."""
    sending, receiving = _sending_decoder.decode(session.sending), _receiving_decoder.decode(session.receiving)
    return LiveAgentSession(
        session_id=session.id,
        key=sending.key,
        affinity=sending.affinity,
        opened_at_ms=session.opened_at_ms,
        poll_timeout_s=receiving.poll_timeout_s,
        ack=receiving.ack,
        offset=receiving.offset,
        sequence=sending.sequence,
        said=sending.said,
        found=receiving.found,
        heard=receiving.heard,
        stale=receiving.stale,
        repairs=sending.repairs,
        repair=_REPAIR[session.health],
    )


def written(session: LiveAgentSession) -> DeskSession:
    """The session as the chat keeps it."""
    return DeskSession(
        desk="liveagent",
        id=session.session_id,
        opened_at_ms=session.opened_at_ms,
        health=_HEALTH[session.repair],
        sending=sending_half(session),
        receiving=receiving_half(session),
    )


def sending_half(session: LiveAgentSession) -> msgspec.Raw:
    """What POSTs and repairs change."""
    half = _Sending(session.key, session.affinity, session.sequence, session.said, session.repairs)
    return msgspec.Raw(msgspec.json.encode(half))


def receiving_half(session: LiveAgentSession) -> msgspec.Raw:
    """What polls change."""
    half = _Receiving(session.poll_timeout_s, session.ack, session.offset, session.found, session.heard, session.stale)
    return msgspec.Raw(msgspec.json.encode(half))


def turn(before: LiveAgentSession, after: LiveAgentSession) -> Turn | None:
    """The change of health between two views of a session, if there is one."""
    if before.repair == after.repair:
        return None
    return Turn(_HEALTH[before.repair], _HEALTH[after.repair])
