"""What a desk is to the chat: an opaque session. The commands that a desk has to serve are in `bridge.commands`."""

from __future__ import annotations

import msgspec

# Of two views of the same session, the later step of a repair is the true one; a new break overrules all.
_REPAIR_ORDER = ("restore", "resync", "", "reconnect")


class LiveAgentSession(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A Live Agent session as the record keeps it; only its codec and client look inside.

    `sequence` is the last POST number that the desk took; the POST in flight, if any, carries `sequence + 1`.
    `said` and `heard` count texts to and from the agent, to tell after a repair what the other side already has.
    `repairs` counts repairs; `repair` names the step of the one under way: reconnect, restore, resync, or none.
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
    heard: int = 0
    repairs: int = 0
    repair: str = ""

    @property
    def broken(self) -> bool:
        """Whether nothing may be sent until a repair is over."""
        return self.repair != ""

    @property
    def repairable(self) -> bool:
        """Whether the next step of the repair is ours; otherwise it comes by listening."""
        return self.repair in ("reconnect", "resync")

    @property
    def listening(self) -> bool:
        """Whether it may be polled now."""
        return self.repair != "reconnect"

    def polled(self, newer: LiveAgentSession) -> LiveAgentSession:
        """This session with what a poll brought; POSTs run beside polls and keep their own counters."""
        return msgspec.structs.replace(
            self,
            ack=newer.ack,
            offset=newer.offset,
            heard=newer.heard,
            said=max(self.said, newer.said),
            repair=max(self.repair, newer.repair, key=_REPAIR_ORDER.index),
        )

    def posted(self, newer: LiveAgentSession) -> LiveAgentSession:
        """This session with what a POST or a repair brought; after a repair everything is new but the counts."""
        if newer.repairs > self.repairs:
            return msgspec.structs.replace(newer, said=max(self.said, newer.said), heard=self.heard)
        if newer.repairs < self.repairs:
            return msgspec.structs.replace(self, said=max(self.said, newer.said))
        return msgspec.structs.replace(
            self,
            sequence=newer.sequence,
            said=max(self.said, newer.said),
            repair=max(self.repair, newer.repair, key=_REPAIR_ORDER.index),
        )

    def stepped(self, sequence: int) -> LiveAgentSession:
        """The same session, with the POST number that the desk says it took last."""
        return msgspec.structs.replace(self, sequence=sequence)

    def broke(self) -> LiveAgentSession:
        """The same session, from the moment on that the desk says it moved."""
        return msgspec.structs.replace(self, repair="reconnect")


DeskSession = LiveAgentSession
