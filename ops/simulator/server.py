"""`Simulator`: every neighbour on one port, the scripted agent, the ledger, and starting and stopping it all."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from gevent import GreenletExit
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer

from bridge.ops.simulator.agent import ScriptedAgent
from bridge.ops.simulator.app import create_app
from bridge.ops.simulator.desk import Desk
from bridge.ops.simulator.faults import Fault, Faults
from bridge.ops.simulator.ledger import Entry, Ledger
from bridge.ops.simulator.media import File
from bridge.ops.simulator.org import Org, Record
from bridge.ops.simulator.salesforce import Tokens
from bridge.ops.simulator.schema import OBJECTS
from bridge.ops.simulator.settings import SimulatorSettings

Found = TypeVar("Found")


class Handler(WSGIHandler):  # type: ignore[misc]  # gevent's servers carry no types
    """Hands the application its connection: for polls whose client leaves, and for faults that drop it."""

    def handle(self) -> None:
        # Head and body go out in two pieces: held together by Nagle's rule they would take 40 ms.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().handle()

    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        environ["simulator.socket"] = self.socket
        return environ

    def handle_error(self, kind: type[BaseException], error: BaseException, trace: TracebackType) -> None:
        """As gevent's, but one who is stopped says nothing more: neighbours that die do not answer 500 first."""
        if issubclass(kind, GreenletExit):
            self.close_connection = True
            return
        super().handle_error(kind, error, trace)


class Simulator(ScriptedAgent):
    """Plays all neighbours. Its settings are those of SimulatorSettings: `Simulator(hold_s=2, auto_accept=True)`.

    Needs a process that gevent has patched. `start` returns at once; the port is `port`, the base address `url`.
    It can be stopped and started again on the same port and remembers everything.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, **settings: Any) -> None:
        self.settings = SimulatorSettings()
        self.settings.change(settings)
        self.ledger = Ledger(self.settings.ledger_limit)
        self.faults = Faults()
        self.tokens = Tokens(self.settings)
        self.org = Org(self.settings, self.ledger)
        self.desk = Desk(self.settings, self.ledger, aliases=self._aliases)
        super().__init__(self.desk)
        self._app, self.media, self.integrations = create_app(self)
        self.host = host
        self.port = port
        self._server: WSGIServer | None = None

    # --- running ----------------------------------------------------------------------------------------------------

    def start(self) -> Simulator:
        """Listens from now on; returns itself."""
        # A pool of our own, so that stop ends the connections that are kept alive, too.
        self._server = WSGIServer(
            (self.host, self.port),
            self._app,
            backlog=4096,
            spawn=Pool(),
            log=None,
            handler_class=Handler,
            environ={"SERVER_NAME": self.host},
        )
        self._server.start()
        self.port = self._server.server_port
        return self

    def stop(self) -> None:
        """Closes the port and every connection; held polls get no answer."""
        if self._server is not None:
            self._server.stop(timeout=0)
            self._server = None

    def serve_forever(self) -> None:
        """Waits until it is stopped."""
        if self._server is None:
            self.start()
        assert self._server is not None
        self._server._stop_event.wait()

    def __enter__(self) -> Simulator:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The base address, without a slash at the end."""
        host = socket.gethostname() if self.host in ("0.0.0.0", "::") else self.host
        return f"http://{host}:{self.port}"

    # --- arranging --------------------------------------------------------------------------------------------------

    def configure(self, **changes: Any) -> None:
        """Changes settings while it runs. Raises msgspec.ValidationError and changes nothing."""
        self.settings.change(changes)

    def add_fault(self, path: str, **fault: Any) -> Fault:
        """Arms a fault (see Fault); `hits` of what it returns counts how often it struck."""
        return self.faults.add(Fault(path=path, **fault))

    def add_file(self, name: str, data: bytes = b"", **file: Any) -> str:
        """Serves a file (see File); the URL where it lies."""
        self.media.files[name] = File(data=data, **file)
        return f"{self.url}/media/{name}"

    def seed_contact(self, *, blocked: bool = False, **fields: Any) -> str:
        """A contact that exists already: `LastName`, `Email`, `MobilePhone`, …; its id."""
        body = {"LastName": "Known", "CP_BlockedChatYalo__c": blocked, **fields}
        return self.org.insert(OBJECTS["contact"], body)

    def expire_tokens(self) -> None:
        """Every access token that was given is bad from now on: 401 INVALID_SESSION_ID."""
        self.tokens.expire()

    # --- witnessing -------------------------------------------------------------------------------------------------

    def wait_for(self, predicate: Callable[[], Found], timeout_s: float = 5.0) -> Found:
        """What the predicate gives as soon as it is true. Raises TimeoutError."""
        return self.ledger.wait_for(predicate, timeout_s)

    def wait_for_chat(self, who: str = "last", status: str = "queued", timeout_s: float = 5.0) -> str:
        """The session id of the chat as soon as it is in that state. Raises TimeoutError."""
        return self.wait_for(lambda: self._in_state(who, status), timeout_s)

    def agent_texts(self, who: str = "") -> list[str]:
        """What agents were shown, in order: of one chat (see ScriptedAgent), or of all."""
        return self.ledger.agent_texts(self.chat(who).id if who else "")

    def user_texts(self, user: str = "", *, repeats: bool = False) -> list[str]:
        """What a user was shown, in order; repeats of a delivery only when asked for."""
        return self.ledger.user_texts(user, repeats=repeats)

    def bot_states(self, user: str = "") -> list[str]:
        """The states that the bot was put into for a user, in order."""
        return self.ledger.bot_states(user)

    def overlapping_polls(self, who: str = "") -> int:
        """How many polls came while another of their session was held."""
        return self.ledger.overlapping_polls(self.chat(who).id if who else "")

    def entries(self, kind: str, name: str = "") -> list[Entry]:
        """The ledger's entries of a kind, of one session or user, or all."""
        return self.ledger.entries(kind, name)

    def requests(self, path: str = "", *, method: str = "", status: int | None = None) -> int:
        """How many requests were answered, by the end of their path; status 0 is one that was dropped."""
        return self.ledger.requests(path, method=method, status=status)

    def records(self, kind: str) -> list[Record]:
        """Every record of an object of the org: `records("Case")`."""
        return self.org.records(kind)

    def _in_state(self, who: str, status: str) -> str:
        chat = self.desk.named(who)
        return chat.id if chat is not None and chat.status == status else ""

    def _aliases(self, details: list[dict[str, Any]]) -> list[str]:
        """The further names of a chat: its case, its contact, and the contact's e-mail and phone."""
        ids = [detail["value"] for detail in details if detail["label"] in ("CaseId", "ContactId")]
        contact_ids = [detail["value"] for detail in details if detail["label"] == "ContactId"]
        contacts = [record for id_ in contact_ids if (record := self.org.known("Contact", id_))]
        told = [contact.get(name) for contact in contacts for name in ("Email", "MobilePhone")]
        return [*ids, *(name for name in told if name)]
