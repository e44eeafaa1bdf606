"""The sandbox: the whole service on this machine with every remote service simulated."""

from __future__ import annotations

import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import gevent

from bridge.ops.demo.conversation import Api, Conversation, Missed
from bridge.ops.demo.guide import Addresses, tell_guide
from bridge.ops.demo.narrator import Narrator
from bridge.ops.demo.people import EDUARDO, EDUARDO_SAYS, LUCIA, LUCIA_SAYS
from bridge.ops.demo.story import Story
from bridge.ops.service_process import ServiceProcess, free_port
from bridge.ops.simulator.environ import sandbox_environ
from bridge.ops.simulator.server import Simulator
from bridge.settings.load import variable_name

SERVICE_PORT, SIMULATOR_PORT = 8080, 8090
FAILED, INTERRUPTED = 1, 130
LOG_TAIL_LINES = 20
LONGEST_LINE = 500
LONGEST_FOLDER = 55
LOOK_EVERY_S = 0.5
_INTRODUCTION = (
    "Two conversations through the running service. Only its neighbours are simulated: Salesforce and its Live Agent, "
    "the Integrations API, the bot flow, and the host of the users' files."
)


class Running(NamedTuple):
    """What was started."""

    service: ServiceProcess
    simulator: Simulator


Scene = Callable[[Running, Narrator], None]


def run(*, serve: bool) -> int:
    """Plays the story, or stays up until a signal. Returns the exit code; stops everything that it started."""
    scene, ports = (_stay_up, (SERVICE_PORT, SIMULATOR_PORT)) if serve else (_tell_story, (0, 0))
    acting = gevent.spawn(_act, scene, ports)
    _end_by_signal(acting)
    acting.join()
    if isinstance(acting.value, gevent.GreenletExit):
        return 0 if serve else INTERRUPTED
    return FAILED if acting.value is None else int(acting.value)


def _end_by_signal(acting: gevent.Greenlet) -> None:
    """The first signal ends the sandbox. Ignores later ones, so that they do not interrupt the clean-up."""
    heard: list[bool] = []

    def end() -> None:
        if not heard:
            heard.append(True)
            acting.kill(block=False)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        gevent.signal_handler(number, end)


def _act(scene: Scene, ports: tuple[int, int]) -> int:
    narrator = Narrator()
    try:
        with _started(*ports) as running:
            scene(running, narrator)
    except Missed as missed:
        narrator.result(f"The sandbox failed: {missed}.")
        for note in getattr(missed, "__notes__", ()):
            narrator.verbatim(note)
        return FAILED
    return 0


def _tell_story(running: Running, narrator: Narrator) -> None:
    service, simulator = running
    narrator.tell(_INTRODUCTION)
    first, last = LUCIA.name.split()
    simulator.seed_contact(FirstName=first, LastName=last, Email=LUCIA.email)
    api = Api(service.url)
    api.log_in("yaloUser", service.environ[variable_name("yalo_password")])
    for person, lines in ((EDUARDO, EDUARDO_SAYS), (LUCIA, LUCIA_SAYS)):
        conversation = Conversation(person, api=api, simulator=simulator, service=service)
        Story(conversation, lines, narrator).play()
    narrator.result("Both conversations went as they should.")
    narrator.tell("To play yourself: ./ops/sandbox --serve")


def _stay_up(running: Running, narrator: Narrator) -> None:
    service, simulator = running
    tell_guide(Addresses(service.url, simulator.url, service.environ), narrator)
    while not service.ended:
        time.sleep(LOOK_EVERY_S)
    raise Missed("the service ended by itself")


# --- starting and stopping --------------------------------------------------------------------------------------------


@contextmanager
def _started(service_port: int, simulator_port: int) -> Iterator[Running]:
    """The simulator in this process and the service in its own, on these ports where they are free."""
    with ExitStack() as stack:
        sockets = stack.enter_context(tempfile.TemporaryDirectory(prefix="bridge-sandbox-", dir=_short_folder()))
        simulator = stack.enter_context(Simulator(port=_port(simulator_port)))
        port = _port(service_port)
        service = ServiceProcess(_environ(simulator.url, f"http://127.0.0.1:{port}", sockets), port=port)
        stack.push(_Log(service).settle)
        # Start it in a greenlet that no signal interrupts, otherwise a started process could be forgotten.
        starting = gevent.spawn(service.start)
        stack.callback(service.stop)
        stack.callback(starting.join)
        starting.get()
        _wait_until_ready(service)
        yield Running(service, simulator)


def _environ(simulator_url: str, service_url: str, sockets: str) -> dict[str, str]:
    # Empty file names: the sandbox does not read an operator's own settings.
    return sandbox_environ(
        simulator_url, webhook_base_url=service_url, ops_socket_dir=sockets, env_file="", secrets_dir=""
    )


def _wait_until_ready(service: ServiceProcess) -> None:
    try:
        service.wait_until_ready()
    except RuntimeError as error:
        raise Missed(str(error).partition(":")[0]) from error


class _Log:
    """The service's log: shown when something failed, removed when not."""

    def __init__(self, service: ServiceProcess) -> None:
        self._service = service
        self._path = Path(service.log.name)

    def settle(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Adds its end to an error that is a failure; removes it otherwise. The service has stopped by now."""
        self._service.log.close()
        if isinstance(error, Exception):
            error.add_note(f"{self._tail()}\nThe whole log: {self._path}")
        else:
            self._path.unlink(missing_ok=True)

    def _tail(self) -> str:
        lines = self._service.log_text().splitlines()[-LOG_TAIL_LINES:]
        return "\n".join(["The service's log ends:", *(f"  {line[:LONGEST_LINE]}" for line in lines)])


def _short_folder() -> str:
    """The temporary folder, unless its path is too long for a Unix socket (104 characters on some systems)."""
    folder = tempfile.gettempdir()
    return folder if len(folder) <= LONGEST_FOLDER else "/tmp"


def _port(preferred: int) -> int:
    """The preferred port if it is free, else any free port."""
    with socket.socket() as probe, suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", preferred))
        port: int = probe.getsockname()[1]
        return port
    return free_port()
