"""The bot flow: which state a bot is put into, and how Studio NG or Botrunner is told (botflow.md)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote as percent_encode
from urllib.parse import urlencode

import msgspec
from pydantic import SecretStr

from bridge.errors import RemoteRefused
from bridge.messages import BotState, ConnectRequest, Provider
from bridge.wire import HttpCall, HttpReply, json_call, parse, raise_for_status

_NONE = SecretStr("")


class BotFlowConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where Studio NG or Botrunner is, and the name of each state for each provider. Studio NG is told if it is set."""

    states: Mapping[BotState, Mapping[Provider, str]]
    botrunner_url: str = ""
    botrunner_token: SecretStr = _NONE
    botrunner_delay_s: float = 4.0
    studio_ng_url: str = ""
    studio_ng_token: SecretStr = _NONE
    studio_ng_delay_s: float = 4.0

    @property
    def delays_s(self) -> dict[BotState, float]:
        """Seconds before each state is sent: after a failed call the bot first says something of its own."""
        delay_s = self.studio_ng_delay_s if self.studio_ng_url else self.botrunner_delay_s
        return {"blocked": delay_s, "timeout": delay_s, "success": 0.0}


class BotFlow:
    """Calls to Studio NG or Botrunner."""

    def __init__(self, config: BotFlowConfig) -> None:
        self.config = config

    def tell(self, request: ConnectRequest, state: BotState) -> HttpCall:
        """Puts the user's bot into a state; `check_told` reads the answer.

        Raises RemoteRefused where the settings name no such state for the provider.
        """
        name = self.config.states.get(state, {}).get(request.provider, "")
        if not name:
            raise RemoteRefused(f"bot flow: no state is set for {state!r} and {request.provider}", code="NO_STATE")
        return self._studio_ng(request, name) if self.config.studio_ng_url else self._botrunner(request, name)

    def check_told(self, reply: HttpReply) -> None:
        """Returns if the bot is in its state. Raises RemoteError."""
        who = "Studio NG" if self.config.studio_ng_url else "Botrunner"
        raise_for_status(reply, who, quoted=False)
        if reply.status != 200:
            raise RemoteRefused(f"{who}: [{reply.status}] is not an answer to this request", status=reply.status)
        if not self.config.studio_ng_url:
            parse(reply, msgspec.Raw)

    def delay_s(self, state: BotState) -> float:
        """Seconds before the state is sent."""
        return self.config.delays_s[state]

    def _studio_ng(self, request: ConnectRequest, name: str) -> HttpCall:
        url = f"{self.config.studio_ng_url}/v1/triggers/{percent_encode(name, safe='')}/webhook"
        headers = {"Authorization": f"Bearer {self.config.studio_ng_token.get_secret_value()}"}
        return json_call("POST", url, {"userId": request.user_id}, headers=headers)

    def _botrunner(self, request: ConnectRequest, name: str) -> HttpCall:
        token = self.config.botrunner_token.get_secret_value()
        url = f"{self.config.botrunner_url}/{percent_encode(request.bot_slug, safe='')}/send-to"
        query = f"?{urlencode({'jwt': token})}" if token else ""
        return json_call("POST", url + query, {"userId": request.user_id, "state": name, "message": ""})
