"""The user's side goes wrong: channels and bots out of reach, lost answers, webhooks that come twice or in disorder."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import gevent
import gevent.pool
import pytest
from fault_bench import DESK, Bench, Talks

from bridge.ops.endurance.load import Caller
from bridge.ops.endurance.tcp_proxy import TcpProxy
from bridge.ops.service_process import ServiceProcess
from bridge.ops.simulator import Simulator
from bridge.ops.simulator.environ import sandbox_environ

pytestmark = [pytest.mark.faults, pytest.mark.timeout(60)]

DOWN_S = 3.0


# --- neighbours out of reach ------------------------------------------------------------------------------------------


class Far:
    """A service on the embedded store whose channel and bot are each behind a proxy."""

    def __init__(self, simulator: Simulator, channel: TcpProxy, bot: TcpProxy) -> None:
        self.simulator = simulator
        self.channel = channel
        self.bot = bot
        self.service = ServiceProcess(
            sandbox_environ(
                simulator.url,
                integrations_base_url=f"{channel.url}/integrations",
                botrunner_url=f"{bot.url}/botrunner",
            )
        )

    def talks(self, chats: int) -> Talks:
        """Chats of users whom nobody has met."""
        caller = Caller([self.service.url])
        caller.log_in()
        talks = Talks(self.simulator, caller, chats=chats)
        talks.open()
        return talks


@pytest.fixture(scope="module")
def far() -> Iterator[Far]:
    with (
        Simulator(**DESK) as simulator,
        TcpProxy(simulator.port) as channel,
        TcpProxy(simulator.port) as bot,
    ):
        far = Far(simulator, channel, bot)
        with far.service:
            yield far
        assert "Traceback" not in far.service.log_text()
        assert simulator.overlapping_polls() == 0


def test_while_the_channel_is_away_texts_wait_in_order_and_agents_still_hear(far: Far) -> None:
    talks = far.talks(2)
    talks.exchange()
    talks.must_be_whole()
    far.channel.down()
    try:
        talks.exchange(rounds=5)
        # One user's texts to the agent do not wait for another's from it.
        far.simulator.wait_for(lambda: all(talks.written_at_agent(talk) == talk.written for talk in talks), 10)
        gevent.sleep(DOWN_S)
        assert not any(far.simulator.user_texts(talk.user)[2:] for talk in talks)
    finally:
        far.channel.up()
    talks.must_be_whole()


def test_while_the_bot_is_away_chats_end_and_it_is_told_once_it_is_back(far: Far) -> None:
    talks = far.talks(3)
    states = far.simulator.bot_states
    far.bot.down()
    try:
        for user in talks.users:
            far.simulator.end(user)
        other = far.talks(1)
        other.exchange()
        gevent.sleep(DOWN_S)
    finally:
        far.bot.up()
    far.simulator.wait_for(lambda: all(states(user) for user in talks.users), 40)
    talks.open()
    other.must_be_whole()
    assert [states(user) for user in talks.users] == [["from-sf-success"]] * 3


# --- answers that are lost --------------------------------------------------------------------------------------------


@pytest.mark.redis
def test_a_lost_answer_of_a_remote_service_causes_no_second_delivery(bench: Bench) -> None:
    talks = bench.talks(20)
    paths = ("*/Chasitor/ChatMessage", "/integrations/*/messages", "*/System/Messages")
    lost = [
        bench.simulator.add_fault(path, drop="after", skip=skip) for path in paths for skip in (3, 20, 40, 60, 61, 62)
    ]
    talks.start(each_s=0.3)
    bench.simulator.wait_for(lambda: all(fault.hits for fault in lost), 30)
    talks.stop()
    talks.must_be_whole()


# --- webhooks ---------------------------------------------------------------------------------------------------------


@pytest.mark.redis
def test_webhooks_repeated_and_shuffled_over_all_hosts_take_effect_once(bench: Bench) -> None:
    talks = bench.talks(5)
    texts = {user: [f"shuffled {number} by {user}" for number in range(20)] for user in talks.users}
    copies = [(user, text) for user, written in texts.items() for text in written for _ in range(random.randint(1, 5))]
    random.shuffle(copies)
    _bring(bench, copies)
    bench.simulator.wait_for(lambda: all(_arrived(bench, user) >= set(texts[user]) for user in texts), 20)
    # Long after all has arrived they come once more.
    _bring(bench, copies[:50])
    talks.exchange()
    talks.must_be_whole()
    for user, written in texts.items():
        shown = Counter(text for text in bench.simulator.agent_texts(user) if text.startswith("shuffled"))
        assert shown == Counter(written)


@pytest.mark.redis
def test_an_old_webhook_that_comes_again_between_new_ones_changes_no_order(bench: Bench) -> None:
    talks = bench.talks()
    [talk] = talks
    for number in range(1, 31):
        talks.write(talk)
        again = random.randint(1, number)
        answer = bench.post(talk.user, f"{talk.user}-{again}", talk.written[again - 1])
        assert answer.status_code == 200
    talks.must_be_whole()


def _bring(bench: Bench, copies: list[tuple[str, str]]) -> None:
    def bring(index: int, user: str, text: str) -> None:
        url = bench.hosts.urls[index % len(bench.hosts.urls)]
        assert bench.post(user, f"id of {text}", text, url=url).status_code == 200

    pool = gevent.pool.Pool(20)
    for index, (user, text) in enumerate(copies):
        pool.spawn(bring, index, user, text)
    assert pool.join(timeout=30, raise_error=True)


def _arrived(bench: Bench, user: str) -> set[str]:
    return set(bench.simulator.agent_texts(user))
