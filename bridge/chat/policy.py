"""What an operator decides about chats: texts, delays, limits. The rules read it, the settings fill it."""

from __future__ import annotations

import msgspec

from bridge.commands import Command, Limit, SendToAgent
from bridge.messages import BotState
from bridge.texts import Texts

# The chat gives up this much earlier than its caller, so that the caller still gets the answer.
ANSWER_MARGIN_S = 0.25
LONGEST_REPAIR_DELAY_S = 60.0


class ChatPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's choices. Times in seconds.

    A caller waits `connect_s` for a chat. 0 switches off `max_wait_s` and `queue_update_interval_s`. `overlap_pause_s`
    is the pause after a poll that met another poll of the same session. `retries` are further tries of a text or a bot
    state that was refused. `retry_base_s` is the longest pause before the first further try; it doubles with each one.
    `desk_text_gap_s` is the least time between two texts to one agent, `desk_longest_text` the characters in one text.
    """

    texts: Texts
    bot_delay_s: dict[BotState, float]
    connect_s: float = 10.0
    max_wait_s: float = 0.0
    queue_update_interval_s: float = 60.0
    delivery_s: float = 600.0
    session_s: float = 120.0
    leave_s: float = 60.0
    file_s: float = 60.0
    overlap_pause_s: float = 3.0
    retries: int = 2
    retry_base_s: float = 0.5
    desk_text_gap_s: float = 0.3
    desk_longest_text: int = 4000

    @property
    def opening_s(self) -> float:
        """How long the chat itself tries to open."""
        return self.connect_s - ANSWER_MARGIN_S

    def longest_delay_s(self, command: Command) -> float:
        """How long a command may be put off at most."""
        if isinstance(command, SendToAgent):
            return self.desk_text_gap_s
        return max(LONGEST_REPAIR_DELAY_S, *self.bot_delay_s.values())

    def limit_s(self, limit: Limit) -> float:
        """How long a command with this limit is tried."""
        return {
            Limit.CONNECT: self.opening_s,
            Limit.SESSION: self.session_s,
            Limit.DELIVERY: self.delivery_s,
            Limit.FILE: self.file_s,
            Limit.LEAVE: self.leave_s,
        }[limit]
