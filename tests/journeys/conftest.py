"""Fixtures of the journeys: every neighbour in this process, the services in processes of their own, real sockets."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import gevent
import msgspec
import pytest
from personas import Bot, BotUser, MessengerUser
from profiles import BURST_GAP_S, PUBLIC_KEY, QUICK, SIMULATOR

from bridge.ops.service_process import ServiceProcess
from bridge.ops.simulator import Simulator
from bridge.ops.simulator.environ import sandbox_environ

HOLD_S = 1.0

Serve = Callable[[Mapping[str, str]], Bot]


class Services:
    """The services that are up, one for each set of settings; all end together and leave no port behind."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._processes: dict[str, ServiceProcess] = {}
        self._bots: dict[str, Bot] = {}

    def bot(self, overrides: Mapping[str, str]) -> Bot:
        """The bot of the service that has these settings, by field name."""
        key = repr(sorted(overrides.items()))
        if key not in self._bots:
            url = self._simulator.url
            chosen = {name: text.replace(SIMULATOR, url) for name, text in (QUICK | dict(overrides)).items()}
            service = ServiceProcess(sandbox_environ(url, **chosen))
            self._processes[key] = service
            service.start()
            service.wait_until_ready()
            self._bots[key] = Bot(service.url, self._simulator)
        return self._bots[key]

    def end(self) -> None:
        """Ends all."""
        ends = {service.port: gevent.spawn(service.stop) for service in self._processes.values()}
        gevent.joinall(list(ends.values()), raise_error=True)
        assert not [port for port, end in ends.items() if end.value != 0], "a service ended badly"
        assert not [port for port in ends if _is_taken(port)]
        for service in self._processes.values():
            Path(service.log.name).unlink()

    def logs(self) -> dict[str, str]:
        """What each of them logged."""
        return {key: service.log_text() for key, service in self._processes.items()}

    def logged_since(self, before: Mapping[str, str]) -> str:
        """What they logged since `logs`."""
        return "".join(log[len(before.get(key, "")) :] for key, log in self.logs().items())

    def leave(self) -> None:
        """Ends the chats of everybody whom a journey made."""
        for bot in self._bots.values():
            for user in bot.users:
                if user.agent.status in ("queued", "active"):
                    user.agent.end()
            bot.users.clear()


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    with Simulator(hold_s=HOLD_S, burst_gap_s=BURST_GAP_S, jwt_public_key=PUBLIC_KEY) as simulator:
        yield simulator


@pytest.fixture(scope="session")
def services(simulator: Simulator) -> Iterator[Services]:
    services = Services(simulator)
    yield services
    services.end()


@pytest.fixture(autouse=True)
def tidy(simulator: Simulator, services: Services) -> Iterator[None]:
    """Afterwards no fault is armed and the neighbours behave; nothing crashed and no polls overlapped meanwhile."""
    behaviour, logs = msgspec.structs.asdict(simulator.settings), services.logs()
    overlaps = simulator.overlapping_polls()
    yield
    simulator.faults.clear()
    simulator.configure(**behaviour)
    services.leave()
    log = services.logged_since(logs)
    print(log)  # pytest shows it where a journey failed
    assert "Traceback" not in log
    assert simulator.overlapping_polls() == overlaps


@pytest.fixture
def bot(services: Services) -> Bot:
    """The bot of the service that most journeys share."""
    return services.bot({})


@pytest.fixture
def serve(services: Services) -> Serve:
    """Gives the bot of a service with other settings: `serve(PRODUCTION)`."""
    return services.bot


@pytest.fixture
def user(bot: Bot) -> BotUser:
    """Somebody on WhatsApp."""
    return bot.new_user()


@pytest.fixture
def messenger_user(bot: Bot) -> MessengerUser:
    """Somebody on Messenger."""
    return bot.new_messenger_user()
