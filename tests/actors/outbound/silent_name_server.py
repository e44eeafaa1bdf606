"""Run in a network namespace of its own: a name server that never answers, files of strangers, and a call of our own.

Prints, as JSON, how long a new connection to `localhost` took before and while the names are looked up.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

import gevent  # noqa: E402
from gevent.server import StreamServer  # noqa: E402

from bridge.actors.outbound.media import MediaHost  # noqa: E402
from bridge.actors.outbound.names import Names  # noqa: E402
from bridge.actors.outbound.socket_transport import SocketTransport  # noqa: E402
from bridge.errors import RemoteError  # noqa: E402
from bridge.wire import HttpCall  # noqa: E402

FILES = 32
SECONDS = 6.0


def answer(connection: socket.socket, _: object) -> None:
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


def main() -> None:
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 53))
    server = StreamServer(("127.0.0.1", 0), answer)
    server.start()
    call = HttpCall(method="GET", url=f"http://localhost:{server.server_port}/")
    desk = SocketTransport("the desk", connections=0, look_up=Names(kept_s=0).look_up)

    def took_s() -> float:
        began_s = time.monotonic()
        assert desk.send(call).body == b"ok"
        return time.monotonic() - began_s

    def shared_look_up_s() -> float:
        began_s = time.monotonic()
        socket.getaddrinfo("localhost", 80)
        return time.monotonic() - began_s

    outcomes: list[str] = []

    def fetch(number: int) -> None:
        try:
            media.fetch(f"http://photos-{number}.example/a.jpg")
        except RemoteError as error:
            outcomes.append(str(error))

    before_s = took_s()
    media = MediaHost(allowed_hosts=(), max_bytes=1000, timeout_s=SECONDS)
    fetching = [gevent.spawn(fetch, number) for number in range(FILES)]
    gevent.sleep(0.5)
    while_looking_up_s = [took_s() for _ in range(5)]
    shared_s = [shared_look_up_s() for _ in range(5)]
    gevent.joinall(fetching, timeout=2 * SECONDS)
    print(json.dumps({"before_s": before_s, "meanwhile_s": while_looking_up_s + shared_s, "outcomes": outcomes}))
    sys.stdout.flush()


main()
