"""Fixtures of the journeys: every neighbour in this process, the service in one of its own, real sockets between."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator

import msgspec
import pytest
from personas import Bot, BotUser, MessengerUser

from bridge.ops.sandbox_settings import sandbox_environ
from bridge.ops.service_process import ServiceProcess
from bridge.ops.simulator import Simulator

HOLD_S = 2.0

# What makes waiting short; nothing here changes what is done.
QUICK = {
    "sleep_long_polling_s": "0.2",
    "integration_chan_rate_limit": "1000",
    "saleforce_chan_rate_limit": "1000",
}

Serve = Callable[..., Bot]


class Services:
    """The services that are up, by what they override. All end together, and leave no port behind."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._running: dict[tuple[tuple[str, str], ...], ServiceProcess] = {}

    def bot(self, **overrides: str) -> Bot:
        """A bot whose bridge has these settings, by field name; one that has them already serves again."""
        key = tuple(sorted(overrides.items()))
        if key not in self._running:
            service = ServiceProcess(sandbox_environ(self._simulator.url, **{**QUICK, **overrides}))
            service.start()
            self._running[key] = service
            service.wait_until_ready()
        return Bot(self._running[key].url, self._simulator)

    def end(self) -> None:
        """Ends all."""
        for service in self._running.values():
            assert service._process is not None
            service._process.send_signal(signal.SIGTERM)
        ends = {service.port: service.stop() for service in self._running.values()}
        assert set(ends.values()) <= {0}, f"a service ended badly: {ends}"
        assert not [port for port in ends if _is_taken(port)]

    def logs(self) -> str:
        """What all of them logged."""
        return "".join(service.log_text() for service in self._running.values())


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    with Simulator(hold_s=HOLD_S) as simulator:
        yield simulator


@pytest.fixture(scope="session")
def shared(simulator: Simulator) -> Iterator[Services]:
    services = Services(simulator)
    yield services
    services.end()


@pytest.fixture(scope="module")
def own(simulator: Simulator) -> Iterator[Services]:
    services = Services(simulator)
    yield services
    services.end()


@pytest.fixture(autouse=True)
def tidy(simulator: Simulator, shared: Services, own: Services) -> Iterator[list[Bot]]:
    """Afterwards no fault is armed and the neighbours behave; nothing crashed and no polls overlapped meanwhile."""
    before = msgspec.structs.asdict(simulator.settings)
    logged, overlaps = len(shared.logs()), simulator.overlapping_polls()
    bots: list[Bot] = []
    yield bots
    simulator.faults.clear()
    simulator.configure(**before)
    for user in [user for bot in bots for user in bot.users]:
        if user.agent.status in ("queued", "active"):
            user.agent.end()
    assert "Traceback" not in shared.logs()[logged:]
    assert simulator.overlapping_polls() == overlaps


@pytest.fixture
def bot(shared: Services, tidy: list[Bot]) -> Bot:
    """The bot of the service that most journeys share."""
    tidy.append(shared.bot())
    return tidy[-1]


@pytest.fixture
def serve(own: Services, tidy: list[Bot]) -> Serve:
    """Makes the bot of a service with settings of its own: `serve(max_wait="1")`."""

    def bot(**overrides: str) -> Bot:
        tidy.append(own.bot(**overrides))
        return tidy[-1]

    return bot


@pytest.fixture
def user(bot: Bot) -> BotUser:
    """Somebody on WhatsApp."""
    return bot.new_user()


@pytest.fixture
def messenger_user(bot: Bot) -> MessengerUser:
    """Somebody on Messenger."""
    return bot.new_messenger_user()
