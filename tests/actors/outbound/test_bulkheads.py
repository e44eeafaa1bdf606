"""One destination that hangs, fails or is flooded does not delay the others: default settings, real sockets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from actor_parts import Heard, desk_session, make_settings, settle, wait_for, wants_chat

from bridge.actors.outbound.wiring import Pools, Remotes
from bridge.actors.protocol import Failure, Outcome, Request, RetryDue
from bridge.commands import Command, OpenSession, RepairSession, SendToAgent, SendToUser, TellBot
from bridge.messages import ConnectRequest, Provider
from bridge.ops.simulator import Simulator
from bridge.records import Delivery

SOON_S = 3.0


@pytest.fixture
def pools(simulator: Simulator) -> Iterator[Pools]:
    settings = make_settings(simulator.url)
    pools = Pools(Remotes(settings), settings)
    yield pools
    simulator.faults.clear()
    for pool in pools.all:
        pool.stop()


class Chats:
    """Chats that send one command each; `took_s` is how long the pools needed until its outcome or its failure."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self._tokens = iter(range(1, 1_000_000))
        self.heard = Heard()

    def send(self, command: Command) -> int:
        token = next(self._tokens)
        self._pools.send(Request(command, self.heard.ref, token))
        return token

    def took_s(self, command: Command, *, timeout_s: float = SOON_S) -> float:
        began_s = time.monotonic()
        self.result(command, timeout_s=timeout_s)
        return time.monotonic() - began_s

    def result(self, command: Command, *, timeout_s: float = SOON_S) -> Outcome | Failure:
        token = self.send(command)
        return wait_for(lambda: self.answer(token), timeout_s)

    def answer(self, token: int) -> Outcome | Failure | None:
        answers: list[Any] = [*self.heard.of(Outcome), *self.heard.of(Failure)]
        return next((answer for answer in answers if answer.token == token), None)


@pytest.fixture
def chats(pools: Pools) -> Chats:
    return Chats(pools)


def request(user: str = "5215573735001", **changes: Any) -> ConnectRequest:
    return msgspec.structs.replace(wants_chat(user), **changes)


def text_to_user(number: int, provider: Provider) -> SendToUser:
    user = f"52155737{number:05}"
    delivery = Delivery(id=f"c-u{number}", text="hola", owed_since_ms=0)
    return SendToUser(request(user, provider=provider), delivery)


def text_to_agent(number: int) -> SendToAgent:
    return SendToAgent(desk_session(session_id=f"s-{number}"), Delivery(id="c-a1", text="hola", owed_since_ms=0))


def test_opening_and_repairing_wait_for_no_text(simulator: Simulator, chats: Chats) -> None:
    for number in range(400):
        chats.send(text_to_agent(number))
    opening_s = [chats.took_s(OpenSession()) for _ in range(5)]
    repairing_s = [chats.took_s(RepairSession(desk_session(session_id="s-1", repair="reconnect"))) for _ in range(5)]
    assert max(opening_s + repairing_s) < SOON_S
    assert len(chats.heard) < 200, "the texts still wait for their rate limit"


HANG: dict[str, Any] = {"delay_s": 60.0}
FAIL: dict[str, Any] = {"status": 500}


@pytest.mark.parametrize("trouble", [HANG, FAIL], ids=["hangs", "fails"])
def test_whatsapp_keeps_its_latency_while_messenger_is_in_trouble(
    simulator: Simulator, chats: Chats, trouble: dict[str, Any]
) -> None:
    fault = simulator.add_fault("/integrations/api/passthrough/*", times=0, **trouble)
    for number in range(60):
        chats.send(text_to_user(number, "facebook"))
    wait_for(lambda: fault.hits >= 20)
    for number in range(20):
        assert isinstance(chats.result(text_to_user(1000 + number, "whatsapp"), timeout_s=SOON_S), Outcome)


def test_a_bot_is_told_while_another_bot_hangs(simulator: Simulator, chats: Chats) -> None:
    fault = simulator.add_fault("*/sick/send-to", times=0, **HANG)
    for _ in range(80):
        chats.send(TellBot(request(bot_slug="sick"), "success", 0))
    wait_for(lambda: fault.hits > 10)
    assert max(chats.took_s(TellBot(request(bot_slug=f"bot-{number}"), "success", 0)) for number in range(10)) < SOON_S


def test_a_healthy_chat_is_served_while_many_sessions_of_the_desk_hang(simulator: Simulator, chats: Chats) -> None:
    fault = simulator.add_fault("*/Chasitor/ChatMessage", times=70, **HANG)
    for number in range(70):
        chats.send(SendToAgent(desk_session(affinity=f"sick-{number}"), text_to_agent(number).delivery))
    wait_for(lambda: fault.hits == 70, 10)
    assert max(chats.took_s(text_to_agent(1000 + number)) for number in range(10)) < SOON_S


def test_chats_that_failed_are_told_to_try_again_when_their_destination_works_again(
    simulator: Simulator, pools: Pools
) -> None:
    waiting = [Chats(pools) for _ in range(30)]
    simulator.add_fault("/integrations/*", status=503, times=0)
    for number, chat in enumerate(waiting):
        chat.send(text_to_user(number, "whatsapp"))
    wait_for(lambda: all(chat.heard.of(Failure) for chat in waiting), 10)
    simulator.faults.clear()
    wait_for(lambda: any(chat.heard.of(RetryDue) for chat in waiting), 10)
    probing = next(chat for chat in waiting if chat.heard.of(RetryDue))
    assert isinstance(probing.result(text_to_user(99, "whatsapp")), Outcome)
    # Now all others at once, not after their back-off.
    wait_for(lambda: all(chat.heard.of(RetryDue) for chat in waiting))


def test_a_retry_after_of_the_remote_is_waited_out(simulator: Simulator, pools: Pools) -> None:
    asked_to_wait, others = Chats(pools), [Chats(pools) for _ in range(4)]
    simulator.add_fault("/integrations/*", status=503, headers={"Retry-After": "60"}, times=1)
    simulator.add_fault("/integrations/*", status=503, times=4)
    for number, chat in enumerate([asked_to_wait, *others]):
        assert isinstance(chat.result(text_to_user(number, "whatsapp")), Failure)
    assert isinstance(Chats(pools).result(text_to_user(99, "whatsapp")), Outcome)
    wait_for(lambda: all(chat.heard.of(RetryDue) for chat in others))
    settle()
    assert asked_to_wait.heard.of(RetryDue) == []
