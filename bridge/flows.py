"""The flows: where a chat rings, by the flow that the bot names and the provider of the user."""

from __future__ import annotations

import msgspec

from bridge.messages import Provider


class FlowQueue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a flow's chats of one provider ring: Live Agent's button, and who owns the case."""

    button_id: str
    owner_id: str = ""


class Flow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of SFC_SOURCE_FLOW_BOT (settings.md, "Flows")."""

    subject: str
    providers: dict[Provider, FlowQueue]
