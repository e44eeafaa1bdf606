"""The operator's choices: how long a command may be put off."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from chat_stage import SESSION

from bridge.chat.policy import ChatPolicy
from bridge.commands import RepairSession, SendToAgent
from bridge.records import Delivery
from bridge.texts import Messages, Texts

POLICY = ChatPolicy(
    texts=Texts(Messages(), ZoneInfo("UTC"), longest_text={}),
    bot_delay_s={"blocked": 4.0, "timeout": 4.0, "success": 0.0},
    desk_text_gap_s=0.3,
)


def test_a_text_to_the_agent_is_put_off_by_no_more_than_the_gap_whatever_the_clock_says() -> None:
    text = SendToAgent(SESSION, Delivery(id="c-a1", text="hola", owed_since_ms=0), due_at_ms=600_000)
    assert POLICY.longest_delay_s(text) == 0.3
    assert POLICY.longest_delay_s(RepairSession(SESSION)) >= 4.0
