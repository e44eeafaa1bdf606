"""Both transports, over real sockets, against hosts that misbehave."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from actor_parts import wait_for
from gevent.server import StreamServer

from bridge.actors.outbound import requests_transport, socket_transport
from bridge.actors.outbound import transport as transport_module
from bridge.actors.outbound.requests_transport import RequestsTransport
from bridge.actors.outbound.socket_transport import SocketTransport
from bridge.errors import RemoteGarbled, RemoteUnavailable
from bridge.wire import LARGEST_ANSWER, HttpCall

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Answer = Callable[[socket.socket], None]


class Host:
    """Answers each request, and keeps them in `asked`. `connections` counts all connections, `open` those of now."""

    def __init__(self, answer: Answer | bytes, *, tls: ssl.SSLContext | None = None) -> None:
        self._answer: Answer = answer if callable(answer) else lambda connection: connection.sendall(answer)
        self.connections = 0
        self.open = 0
        self.asked: list[str] = []
        self._server = StreamServer(("127.0.0.1", 0), self._serve, **({"ssl_context": tls} if tls else {}))
        self._server.do_handle_error = lambda *_: None
        self._server.start()
        self.port: int = self._server.server_port

    def url(self, path: str = "/", *, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def stop(self) -> None:
        self._server.stop(timeout=0.1)

    def _serve(self, connection: socket.socket, _: Any) -> None:
        self.connections += 1
        self.open += 1
        try:
            while request := _request(connection):
                self.asked.append(request)
                self._answer(connection)
        except OSError:
            pass
        finally:
            self.open -= 1


def _request(connection: socket.socket) -> str:
    text = b""
    while b"\r\n\r\n" not in text:
        piece = connection.recv(65_536)
        if not piece:
            return ""
        text += piece
    head, _, body = text.partition(b"\r\n\r\n")
    length = next((int(row[15:]) for row in head.lower().split(b"\r\n") if row.startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65_536)
    return (head + b"\r\n\r\n" + body).decode("latin-1")


@pytest.fixture
def serve() -> Iterator[Callable[..., Host]]:
    hosts: list[Host] = []

    def start(answer: Answer | bytes, **options: Any) -> Host:
        hosts.append(Host(answer, **options))
        return hosts[-1]

    yield start
    for host in hosts:
        host.stop()


AnyTransport = RequestsTransport | SocketTransport
MakeTransport = Callable[..., AnyTransport]


@pytest.fixture(params=[RequestsTransport, SocketTransport])
def make_transport(request: pytest.FixtureRequest) -> MakeTransport:
    """Both transports keep every promise."""
    made: MakeTransport = request.param
    return made


@pytest.fixture
def transport(make_transport: MakeTransport) -> AnyTransport:
    return make_transport("the remote", connections=4)


def get(url: str, **more: Any) -> HttpCall:
    return HttpCall(method="GET", url=url, **more)


Serve = Callable[..., Host]

# --- what goes over the wire ------------------------------------------------------------------------------------------


def test_a_call_and_its_answer_arrive_whole(serve: Serve, transport: AnyTransport) -> None:
    host = serve(b"HTTP/1.1 201 Created\r\nX-Thing: A\r\nContent-Length: 4\r\n\r\n\x00\xff\r\n")
    call = HttpCall(method="PATCH", url=host.url("/a/b?c=d%20e"), headers={"X-Mine": "1"}, body="¡hola!".encode())
    reply = transport.send(call)
    assert (reply.status, reply.headers["x-thing"], reply.body) == (201, "A", b"\x00\xff\r\n")
    head, _, body = host.asked[0].partition("\r\n\r\n")
    assert head.startswith("PATCH /a/b?c=d%20e HTTP/1.1\r\n")
    assert "\r\nX-Mine: 1" in head
    assert "\r\nAccept-Encoding: identity" in head
    assert body.encode("latin-1").decode() == "¡hola!"


def test_an_answer_of_any_status_is_an_answer(serve: Serve, transport: AnyTransport) -> None:
    for status in (204, 304, 404, 409, 500, 503, 799):
        reply = transport.send(get(serve(f"HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n".encode()).url()))
        assert (reply.status, reply.body) == (status, b"")


def test_a_chunked_answer_is_put_together(serve: Serve, transport: AnyTransport) -> None:
    host = serve(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert [transport.send(get(host.url())).body for _ in range(2)] == [b"abcde"] * 2
    assert host.connections == 1


def test_a_connection_is_used_again(serve: Serve, transport: AnyTransport) -> None:
    host = serve(OK)
    for _ in range(20):
        transport.send(get(host.url()))
    assert (len(host.asked), host.connections) == (20, 1)


def test_the_pool_keeps_as_many_connections_as_it_may(serve: Serve, transport: AnyTransport) -> None:
    host = serve(OK)
    for _ in range(3):
        gevent.joinall([gevent.spawn(transport.send, get(host.url())) for _ in range(4)], raise_error=True)
    assert (len(host.asked), host.connections) == (12, 4)


def test_a_connection_that_the_host_closed_meanwhile_is_replaced(serve: Serve, transport: AnyTransport) -> None:
    def answer_and_close(connection: socket.socket) -> None:
        connection.sendall(OK)
        connection.shutdown(socket.SHUT_RDWR)

    host = serve(answer_and_close)
    for _ in range(3):
        assert transport.send(get(host.url())).body == b"ok"
        wait_for(lambda: host.open == 0)
    assert host.connections == 3


def test_no_cookie_is_kept(serve: Serve, transport: AnyTransport) -> None:
    host = serve(b"HTTP/1.1 200 OK\r\nSet-Cookie: who=another-user; Path=/\r\nContent-Length: 0\r\n\r\n")
    for _ in range(2):
        assert transport.send(get(host.url())).headers["set-cookie"].startswith("who=")
    assert not [request for request in host.asked if "cookie" in request.lower()]


def test_a_redirect_is_an_answer_and_not_followed(serve: Serve, transport: AnyTransport) -> None:
    elsewhere = serve(OK)
    moved = f"HTTP/1.1 307 Moved\r\nLocation: {elsewhere.url()}\r\nContent-Length: 0\r\n\r\n".encode()
    call = HttpCall(method="POST", url=serve(moved).url(), headers={"Authorization": "Bearer s3cret"}, body=b"{}")
    assert transport.send(call).status == 307
    assert elsewhere.asked == []


def test_proxies_and_credentials_of_the_environment_are_not_used(
    serve: Serve, make_transport: MakeTransport, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy, host = serve(OK), serve(OK)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url())
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password s3cret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    make_transport("the remote", connections=1).send(get(host.url()))
    assert (len(host.asked), proxy.asked) == (1, [])
    assert "authorization" not in host.asked[0].lower()


@pytest.mark.parametrize("illegal", ["aff\r\nX-Injected: 1", "aff\nX-Injected: 1"])
def test_a_header_cannot_inject_another_one(serve: Serve, transport: AnyTransport, illegal: str) -> None:
    host = serve(OK)
    with pytest.raises(RemoteUnavailable, match="illegal character in request target or header"):
        transport.send(get(host.url(), headers={"X-LIVEAGENT-AFFINITY": illegal}))
    assert host.asked == []


class Clock:
    """The monotonic clock of a transport, moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


def idle_sockets(transport: SocketTransport) -> int:
    return sum(map(len, transport._idle.values()))


def poll_all(transport: SocketTransport, url: str, count: int) -> None:
    gevent.joinall([gevent.spawn(transport.send, get(url)) for _ in range(count)], raise_error=True)


def answer_slowly(connection: socket.socket) -> None:
    gevent.sleep(0.2)
    connection.sendall(OK)


def test_idle_sockets_that_the_host_closed_are_closed_here(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_transport, "SWEEP_EVERY_S", 0.05)
    transport = SocketTransport("the remote", connections=100)

    def answer_and_hang_up(connection: socket.socket) -> None:
        answer_slowly(connection)
        connection.shutdown(socket.SHUT_RDWR)

    host = serve(answer_and_hang_up)
    poll_all(transport, host.url(), 30)
    assert host.connections == 30
    wait_for(lambda: idle_sockets(transport) == 0)
    assert transport._idle == {}


def test_idle_sockets_are_closed_when_they_are_old(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(socket_transport, "time", clock)
    monkeypatch.setattr(socket_transport, "SWEEP_EVERY_S", 0.05)
    transport = SocketTransport("the remote", connections=100)
    host = serve(answer_slowly)
    poll_all(transport, host.url(), 20)
    clock.now_s += socket_transport.IDLE_S - 1
    transport.send(get(host.url()))
    gevent.sleep(0.2)
    assert (host.open, host.connections) == (20, 20)
    clock.now_s += 2
    wait_for(lambda: host.open == 1)
    transport.send(get(host.url()))
    assert host.connections == 20, "the one that was used lately is used again"


def test_the_session_closes_what_it_keeps(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests_transport, "KEPT_S", 0.3)
    host = serve(OK)
    transport = RequestsTransport("the remote", connections=4)
    for _ in range(3):
        transport.send(get(host.url()))
    assert host.connections == 1
    wait_for(lambda: host.open == 0)
    assert transport.send(get(host.url())).body == b"ok"


# --- how long, and how much -------------------------------------------------------------------------------------------


def drip(head: bytes, *, every_s: float = 0.02) -> Answer:
    def answer(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(1000):
            connection.sendall(b"x")
            gevent.sleep(every_s)

    return answer


@pytest.mark.parametrize("framing", [b"Content-Length: 900\r\n\r\n", b"\r\n", b"X: "])
def test_a_head_or_body_that_drips_is_given_up_in_time(serve: Serve, transport: AnyTransport, framing: bytes) -> None:
    host = serve(drip(b"HTTP/1.1 200 OK\r\n" + framing))
    began_s = time.monotonic()
    with pytest.raises(RemoteUnavailable, match="the remote took too long"):
        transport.send(get(host.url(), read_timeout_s=30.0, total_timeout_s=0.3))
    assert 0.3 <= time.monotonic() - began_s < 8
    wait_for(lambda: host.open == 0)


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"])
def test_a_host_that_falls_silent_is_given_up_in_time(serve: Serve, transport: AnyTransport, begun: bytes) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(begun)
        connection.recv(1)

    host = serve(answer)
    began_s = time.monotonic()
    with pytest.raises(RemoteUnavailable, match="the remote did not answer"):
        transport.send(get(host.url(), read_timeout_s=0.2))
    assert 0.2 <= time.monotonic() - began_s < 8
    wait_for(lambda: host.open == 0)


@pytest.mark.parametrize("framing", [b"Content-Length: 999999999\r\n\r\n", b"\r\n"])
def test_an_answer_that_is_too_large_is_cut(serve: Serve, transport: AnyTransport, framing: bytes) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + framing)
        for _ in range(10_000):
            connection.sendall(b"x" * 65_536)

    host = serve(answer)
    with pytest.raises(RemoteGarbled, match=f"more than {LARGEST_ANSWER} bytes"):
        transport.send(get(host.url()))
    wait_for(lambda: host.open == 0)


def test_the_largest_answer_is_still_an_answer(serve: Serve, transport: AnyTransport) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {LARGEST_ANSWER}\r\n\r\n".encode()
    assert len(transport.send(get(serve(head + b"x" * LARGEST_ANSWER).url())).body) == LARGEST_ANSWER


def test_a_poll_that_is_killed_closes_its_connection(serve: Serve, transport: AnyTransport) -> None:
    host = serve(lambda connection: connection.recv(1) and None)
    poll = gevent.spawn(transport.send, get(host.url()))
    wait_for(lambda: host.asked)
    poll.kill()
    wait_for(lambda: host.open == 0)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00\xff\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"],
    ids=["nothing", "another protocol", "noise", "half a body"],
)
def test_a_host_that_hangs_up_midway_may_be_tried_again(serve: Serve, transport: AnyTransport, answer: bytes) -> None:
    def say_and_hang_up(connection: socket.socket) -> None:
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_RDWR)

    with pytest.raises(RemoteUnavailable, match="the remote"):
        transport.send(get(serve(say_and_hang_up).url()))


def test_a_request_is_sent_once_even_when_it_gets_no_answer(serve: Serve, transport: AnyTransport) -> None:
    host = serve(lambda connection: connection.shutdown(socket.SHUT_RDWR))
    with pytest.raises(RemoteUnavailable):
        transport.send(HttpCall(method="POST", url=host.url(), body=b"{}"))
    assert len(host.asked) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://a..b/", "http://[::1", "gopher://x/"])
def test_a_url_that_leads_nowhere_may_be_tried_again(transport: AnyTransport, url: str) -> None:
    with pytest.raises(RemoteUnavailable) as raised:
        transport.send(get(url + "?token=s3cret"))
    assert "s3cret" not in str(raised.value)
    assert raised.value.status == 0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and its key, for localhost only."""
    both, key = (tmp_path_factory.mktemp("tls") / name for name in ("both.pem", "key.pem"))
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(both)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    both.write_bytes(key.read_bytes() + both.read_bytes())
    return both


@pytest.fixture
def fresh_trust() -> Iterator[None]:
    """The trust store is loaded once a process; this loads it for the test, and again for the next."""
    transport_module.trust.cache_clear()
    yield
    transport_module.trust.cache_clear()


@pytest.fixture
def tls_host(serve: Serve, certificate: Path) -> Host:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return serve(OK, tls=context)


def test_a_certificate_is_checked(tls_host: Host, transport: AnyTransport) -> None:
    with pytest.raises(RemoteUnavailable, match="no valid certificate: self-signed"):
        transport.send(get(tls_host.url(host="localhost", scheme="https")))
    assert tls_host.asked == []


@pytest.mark.usefixtures("fresh_trust")
def test_a_certificate_for_another_name_is_refused(
    tls_host: Host, certificate: Path, make_transport: MakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    transport = make_transport("the remote", connections=1)
    with pytest.raises(RemoteUnavailable, match=r"no valid certificate.*not valid for"):
        transport.send(get(tls_host.url(scheme="https")))
    assert transport.send(get(tls_host.url(host="localhost", scheme="https"))).body == b"ok"


@pytest.mark.usefixtures("fresh_trust")
def test_the_bundle_of_certificates_is_loaded_once(
    serve: Serve, tls_host: Host, certificate: Path, make_transport: MakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    read: list[Any] = []

    class Watched(ssl.SSLContext):
        def load_verify_locations(self, *args: Any, **kwargs: Any) -> None:
            read.append(args)
            super().load_verify_locations(*args, **kwargs)

    def context() -> ssl.SSLContext:
        made = Watched(ssl.PROTOCOL_TLS_CLIENT)
        made.load_default_certs()
        return made

    monkeypatch.setattr(ssl, "create_default_context", context)
    transport = make_transport("the remote", connections=4)
    calls = [gevent.spawn(transport.send, get(tls_host.url(host="localhost", scheme="https"))) for _ in range(4)]
    gevent.joinall(calls, raise_error=True)
    assert (tls_host.connections, len(read)) == (4, 1)
