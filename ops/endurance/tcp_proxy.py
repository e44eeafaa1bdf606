"""A proxy on loopback that passes bytes on, until it is told to lose, cut or drip an answer, or to be out of reach."""

from __future__ import annotations

import socket
import struct
from types import TracebackType

import gevent
import gevent.pool
import msgspec
from gevent.server import StreamServer

_CHUNK = 65_536
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with nothing to linger for: what is closed is reset


class Trouble(msgspec.Struct, kw_only=True):
    """What happens to the answers to requests that hold all of `needles`; `times` 0 means to all, `skip` pass first.

    `limit` bytes of the answer pass before the connection is reset; `every_s` is waited before each single byte.
    """

    needles: tuple[bytes, ...]
    times: int = 1
    skip: int = 0
    limit: int | None = None
    every_s: float = 0.0
    hits: int = 0

    def meets(self, request: bytes) -> bool:
        """Whether this request's answer is in for it; counted."""
        if (self.times and self.hits >= self.times) or any(needle not in request for needle in self.needles):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.hits += 1
        return True


class TcpProxy:
    """Listens on a free port for one server. `address` is where its clients go instead."""

    def __init__(self, port: int, *, host: str = "127.0.0.1") -> None:
        self._target = (host, port)
        self._listener: StreamServer | None = None
        self._open = gevent.pool.Pool()
        self._troubles: list[Trouble] = []
        self.port = 0

    def __enter__(self) -> TcpProxy:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The same for HTTP."""
        return f"http://{self.address}"

    def up(self) -> None:
        """Within reach, on the same port as before."""
        self._listener = StreamServer(("127.0.0.1", self.port), self._serve, spawn=self._open, backlog=1024)
        self._listener.start()
        self.port = self._listener.server_port

    def down(self) -> None:
        """Out of reach: connections are refused, and those that were open are gone."""
        if self._listener is not None:
            self._listener.stop(timeout=0)
            self._listener = None

    # --- trouble ----------------------------------------------------------------------------------------------------

    def lose(self, *needles: bytes, times: int = 1, skip: int = 0) -> Trouble:
        """The request gets through, its answer does not: the connection is reset instead."""
        return self._arm(Trouble(needles=needles, times=times, skip=skip, limit=0))

    def cut(self, *needles: bytes, after: int) -> Trouble:
        """So many bytes of the answer pass before the connection is reset."""
        return self._arm(Trouble(needles=needles, limit=after))

    def drip(self, *needles: bytes, every_s: float) -> Trouble:
        """The answer comes byte by byte."""
        return self._arm(Trouble(needles=needles, every_s=every_s))

    def calm(self) -> None:
        """No trouble any more."""
        self._troubles.clear()

    def _arm(self, trouble: Trouble) -> Trouble:
        self._troubles.append(trouble)
        return trouble

    def _met_by(self, request: bytes) -> Trouble | None:
        return next((trouble for trouble in self._troubles if trouble.meets(request)), None)

    # --- passing on -------------------------------------------------------------------------------------------------

    def _serve(self, client: socket.socket, _: object) -> None:
        try:
            server = socket.create_connection(self._target)
        except OSError:
            _reset(client)
            return
        passing = Passing(self, client, server)
        back = gevent.spawn(passing.answers)
        try:
            passing.requests()
        finally:
            back.kill()
            client.close()
            server.close()


class Passing:
    """One connection through the proxy, both ways."""

    def __init__(self, proxy: TcpProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._trouble: Trouble | None = None

    def requests(self) -> None:
        """From the client to the server, until one of them closes."""
        try:
            while data := self._client.recv(_CHUNK):
                self._trouble = self._proxy._met_by(data) or self._trouble
                self._server.sendall(data)
        except OSError:
            return

    def answers(self) -> None:
        """From the server to the client, as far as the trouble of this connection lets them."""
        try:
            while data := self._server.recv(_CHUNK):
                self._pass(data)
        except OSError:
            pass
        self._client_is_done()

    def _pass(self, data: bytes) -> None:
        trouble = self._trouble
        if trouble is None:
            self._client.sendall(data)
        elif trouble.limit is None:
            self._drip(data, trouble.every_s)
        else:
            self._client.sendall(data[: trouble.limit])
            _reset(self._client)
            raise ConnectionResetError("on purpose")

    def _drip(self, data: bytes, every_s: float) -> None:
        for index in range(len(data)):
            gevent.sleep(every_s)
            self._client.sendall(data[index : index + 1])

    def _client_is_done(self) -> None:
        try:
            self._client.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    connection.close()
