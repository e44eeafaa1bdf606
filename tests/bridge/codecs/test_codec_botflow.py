"""The bot flow (botflow.md)."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from bridge.codecs.botflow import BotFlow, BotFlowConfig
from bridge.errors import RemoteGarbled, RemoteRefused, RemoteUnavailable
from bridge.messages import BotState, ConnectRequest, Provider
from bridge.wire import HttpReply

CONFIG = BotFlowConfig(
    states={
        "blocked": {"whatsapp": "wa-blocked", "facebook": "fb-blocked"},
        "timeout": {"whatsapp": "wa timeout/1", "facebook": "fb-timeout"},
        "success": {"whatsapp": "wa-success"},
    },
    botrunner_url="http://botrunner:3000",
    botrunner_delay_s=4,
    studio_ng_token=SecretStr("ng.token"),
    studio_ng_delay_s=7,
)
REQUEST = ConnectRequest(
    user_id="521", bot_slug="shop bot/1", bot_id="5215", name="Ana", provider="whatsapp", email="a@example.com"
)


def flow(**changes: Any) -> BotFlow:
    return BotFlow(msgspec.structs.replace(CONFIG, **changes))


def test_botrunner_is_told_the_user_and_the_state() -> None:
    call = flow().tell(REQUEST, "timeout")
    assert (call.method, call.url) == ("POST", "http://botrunner:3000/shop%20bot%2F1/send-to")
    assert json.loads(call.body) == {"userId": "521", "state": "wa timeout/1", "message": ""}
    assert "Authorization" not in call.headers


def test_botrunners_token_goes_into_the_query_when_there_is_one() -> None:
    call = flow(botrunner_token=SecretStr("a&b=c")).tell(REQUEST, "success")
    assert call.url == "http://botrunner:3000/shop%20bot%2F1/send-to?jwt=a%26b%3Dc"


def test_studio_ng_is_told_instead_when_it_is_set() -> None:
    call = flow(studio_ng_url="http://studiong").tell(REQUEST, "timeout")
    assert (call.method, call.url) == ("POST", "http://studiong/v1/triggers/wa%20timeout%2F1/webhook")
    assert call.headers["Authorization"] == "Bearer ng.token"
    assert json.loads(call.body) == {"userId": "521"}


@pytest.mark.parametrize("provider", ["whatsapp", "facebook"])
@pytest.mark.parametrize("state", ["blocked", "timeout"])
def test_each_provider_has_its_own_name_for_a_state(provider: Provider, state: BotState) -> None:
    call = flow().tell(msgspec.structs.replace(REQUEST, provider=provider), state)
    assert json.loads(call.body)["state"] == CONFIG.states[state][provider]


def test_a_state_without_a_name_for_the_provider_is_said_and_not_sent() -> None:
    with pytest.raises(RemoteRefused, match="'success' and facebook"):
        flow().tell(msgspec.structs.replace(REQUEST, provider="facebook"), "success")


@pytest.mark.parametrize(("url", "delay_s"), [("", 4), ("http://studiong", 7)])
def test_blocked_and_timeout_let_the_bot_speak_first_and_success_does_not(url: str, delay_s: float) -> None:
    codec = flow(studio_ng_url=url)
    assert {state: codec.delay_s(state) for state in CONFIG.states} == {
        "blocked": delay_s,
        "timeout": delay_s,
        "success": 0,
    }
    assert codec.config.delays_s["timeout"] == delay_s


def test_botrunner_answers_200_and_json_studio_ng_just_200() -> None:
    flow().check_told(HttpReply(200, {}, b'{"ok": true}'))
    flow(studio_ng_url="http://studiong").check_told(HttpReply(200, {}, b""))
    with pytest.raises(RemoteGarbled):
        flow().check_told(HttpReply(200, {}, b"<html>"))


@pytest.mark.parametrize(("status", "kind"), [(204, RemoteRefused), (404, RemoteRefused), (503, RemoteUnavailable)])
@pytest.mark.parametrize("url", ["", "http://studiong"])
def test_any_other_answer_is_an_error(url: str, status: int, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        flow(studio_ng_url=url).check_told(HttpReply(status, {}, b"{}"))


def test_the_configuration_does_not_print_its_tokens() -> None:
    assert "ng.token" not in repr(CONFIG)
