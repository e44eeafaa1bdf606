"""`Simulator`: the scene behind a WSGI server on one port, to be started and stopped."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Any

from gevent import GreenletExit
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer

from bridge.ops.simulator.app import create_app
from bridge.ops.simulator.media import File
from bridge.ops.simulator.scene import Scene


class Handler(WSGIHandler):  # type: ignore[misc]  # gevent's servers carry no types
    """Passes the socket to the application: polls notice that a client left, and faults drop a connection."""

    def handle(self) -> None:
        # Head and body are sent separately: with Nagle's algorithm the body would wait for 40 ms.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().handle()

    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        environ["simulator.socket"] = self.socket
        return environ

    def handle_error(self, kind: type[BaseException], error: BaseException, trace: TracebackType) -> None:
        """As gevent's, but a handler that `stop` kills answers nothing, like a service that dies."""
        if issubclass(kind, GreenletExit):
            self.close_connection = True
            return
        super().handle_error(kind, error, trace)


class Simulator(Scene):
    """Simulates all remote services. Takes the settings of SimulatorSettings: `Simulator(hold_s=2, auto_accept=True)`.

    Needs a process that gevent has patched. `start` returns at once; the port is `port`, the base address `url`.
    It can be stopped and started again on the same port and keeps its state.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, **settings: Any) -> None:
        super().__init__(**settings)
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

    def add_file(self, name: str, data: bytes = b"", **file: Any) -> str:
        """Serves a file (see File); the URL where it lies."""
        self.media.files[name] = File(data=data, **file)
        return f"{self.url}/media/{name}"
