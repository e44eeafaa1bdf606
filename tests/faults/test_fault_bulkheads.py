"""Trouble of one channel, or many waiting texts, delays nobody else: default rate limits, both channels at once."""

from __future__ import annotations

import time
from collections.abc import Iterator

import gevent
import gevent.pool
import pytest
from fault_bench import DESK, PATIENCE_S

from bridge.ops.endurance.gaps import delays_s, percentile
from bridge.ops.endurance.load import Caller, Load, Talk
from bridge.ops.service_process import ServiceProcess
from bridge.ops.simulator import Simulator
from bridge.ops.simulator.environ import sandbox_environ

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

MESSENGER, WHATSAPP = "/integrations/api/passthrough/*", "/integrations/api/outgoing_webhook/*"
TROUBLE_S = 12.0
# A busy machine takes a second for what takes 20 ms on a calm one; what waits behind a hanging call takes 10.
UNTOUCHED_S = 4.0
CHATS = 60


class Town:
    """One service on the embedded store, and users of both channels."""

    def __init__(self, simulator: Simulator, service: ServiceProcess) -> None:
        self.simulator = simulator
        self.service = service
        self.caller = Caller([service.url])
        self.caller.log_in()
        self._first_user = 5_215_700_000_000

    def load(self, *, chats: int) -> Load:
        """That many chats, WhatsApp and Messenger in turns."""
        self._first_user += 1000
        providers = ("whatsapp", "facebook")
        return Load(self.simulator, self.caller, chats=chats, first_user=self._first_user, providers=providers)

    def connect(self, talk: Talk) -> int:
        """One connect; gives the status."""
        return self.caller.connect(talk.user, provider=talk.provider)


@pytest.fixture
def town() -> Iterator[Town]:
    with (
        Simulator(**(DESK | {"auto_accept": False})) as simulator,
        ServiceProcess(sandbox_environ(simulator.url)) as service,
    ):
        yield Town(simulator, service)
        assert "Traceback" not in service.log_text()


@pytest.mark.parametrize("trouble", [{"delay_s": 30.0}, {"status": 500}, {"drop": "before"}], ids=str)
@pytest.mark.parametrize("path", [MESSENGER, WHATSAPP], ids=["Messenger", "WhatsApp"])
def test_a_channel_in_trouble_does_not_delay_the_other(town: Town, path: str, trouble: dict[str, object]) -> None:
    town.simulator.configure(auto_accept=True)
    load = town.load(chats=CHATS)
    load.open()
    fault = town.simulator.add_fault(path, times=0, **trouble)
    began_ms = time.time_ns() // 1_000_000
    load.start(each_s=6.0)
    gevent.sleep(TROUBLE_S)
    load.stop()
    town.simulator.faults.remove(fault.id)
    other = "whatsapp" if path == MESSENGER else "facebook"
    well = [talk for talk in load.talks if talk.provider == other]
    town.simulator.wait_for(
        lambda: all(set(talk.said) <= set(town.simulator.user_texts(talk.user)) for talk in well), PATIENCE_S
    )
    now_ms = time.time_ns() // 1_000_000
    to_users = delays_s(town.simulator, well, began_ms, now_ms, direction="user")
    to_agents = delays_s(town.simulator, load.talks, began_ms, now_ms, direction="agent")
    assert fault.hits > 5
    assert percentile(to_users, 0.99) < UNTOUCHED_S, to_users[-5:]
    assert percentile(to_agents, 0.99) < UNTOUCHED_S, to_agents[-5:]


def test_texts_that_wait_for_the_rate_limit_do_not_delay_a_connect(town: Town) -> None:
    waiting = town.load(chats=100)
    assert set(gevent.pool.Pool(20).map(town.connect, waiting.talks)) == {200}
    for talk in waiting.talks:
        for number in range(4):
            town.caller.write(talk.user, f"{talk.user}-{number}", f"en espera {number}", provider=talk.provider)
    # 400 texts and 100 greetings at 20 a second: some 25 s.
    for talk in waiting.talks:
        town.simulator.accept(talk.user)
    newcomers = town.load(chats=5)
    took_s = []
    for talk in newcomers.talks:
        began_s = time.monotonic()
        assert town.connect(talk) == 200
        took_s.append(time.monotonic() - began_s)
    assert max(took_s) < UNTOUCHED_S, took_s
