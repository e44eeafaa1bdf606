"""The simulator's settings: one mutable struct that all its parts share."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class SimulatorSettings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Times in seconds. What is empty among ids and tokens is not checked; everything else is.

    The ids and tokens are those of `environ.py`, so the bridge of the sandbox can log in.
    """

    # Live Agent (liveagent.md, "What the simulator decides")
    hold_s: float = 30.0
    poll_timeout_s: int = 40
    expiry_s: float = 45.0
    second_poll: Literal["terminate", "tolerate"] = "terminate"
    notice_closed: bool = True
    repeated_number: Literal["accept", "refuse"] = "accept"
    reconnect_repeats: bool = False
    burst_gap_s: float = 0.0
    yalo_prechat: bool = True
    organization_id: str = "00D000000000001"
    deployment_id: str = "572000000000001"
    button_id: str = "573000000000001"
    agents_online: bool = True
    closed_buttons: list[str] = []
    switch_server: str = ""
    auto_accept: bool = False
    auto_accept_s: float = 0.0
    echo: bool = False

    # Salesforce (salesforce.md)
    client_id: str = "sandbox-client"
    client_secret: str = "sandbox-client-secret"
    username: str = "api@sandbox.example"
    password: str = "sandbox-password"
    security_token: str = "sandbox-security-token"
    jwt_public_key: str = ""
    password_flow_blocked: bool = False
    run_as_user: bool = True
    token_ttl_s: float = 0.0
    password_expired: bool = False
    request_limit_exceeded: bool = False
    missing_fields: list[str] = []
    default_case_owner: str = "00G5f000000BrDgEAK"

    # Integrations API and the bot flow (integrations.md, botflow.md)
    wa_channel: str = "outgoing_webhook"
    wa_bot: str = "sandbox-wa"
    wa_token: str = "sandbox-wa-jwt"
    fb_channel: str = "passthrough"
    fb_bot: str = "sandbox-fb"
    fb_token: str = "sandbox-fb-jwt"
    botrunner_token: str = ""
    studio_token: str = "studio-token"

    ledger_limit: int = 200_000

    def change(self, changes: dict[str, Any]) -> None:
        """Takes all the changes or none. Raises msgspec.ValidationError for an unknown name or a wrong type."""
        changed = msgspec.convert({**msgspec.structs.asdict(self), **changes}, SimulatorSettings)
        for name in self.__struct_fields__:
            setattr(self, name, getattr(changed, name))
