"""What may be fetched for a stranger, from where, and how much of it."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import monkey
from gevent.event import Event
from gevent.server import StreamServer

from bridge.actors.outbound import names as names_module
from bridge.actors.outbound.media import MediaHost
from bridge.actors.outbound.transport import trust
from bridge.errors import RemoteError, RemoteRefused, RemoteUnavailable, SettingsError
from bridge.public_internet import is_public

PUBLIC_ADDRESS = "93.184.216.34"
PHOTO = bytes(range(256)) * 8
OK = b"HTTP/1.1 200 OK\r\n"
Answer = Callable[[socket.socket], None]


class FileHost:
    """A server with one answer. It keeps the requests in `asked`; `left` is set when the caller hangs up."""

    def __init__(self, answer: Answer | bytes, *, tls: ssl.SSLContext | None = None) -> None:
        self._answer: Answer = answer if callable(answer) else lambda connection: connection.sendall(answer)
        self.asked: list[str] = []
        self.left = Event()
        options = {"ssl_context": tls} if tls else {}
        self._server = StreamServer(("127.0.0.1", 0), self._serve, **options)
        self._server.do_handle_error = lambda *_: None
        self._server.start()
        self.port: int = self._server.server_port
        self.place = f"127.0.0.1:{self.port}"

    def url(self, path: str = "/photo.jpg", *, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def stop(self) -> None:
        self._server.stop(timeout=0.1)

    def _serve(self, connection: socket.socket, _: Any) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(65_536)
            if not piece:
                return
            head += piece
        self.asked.append(head.decode("latin-1"))
        try:
            self._answer(connection)
        except OSError:
            self.left.set()


class Canary:
    """Listens on one port of 127.0.0.1 and of [::1]. Nobody may connect to either."""

    def __init__(self) -> None:
        self._listeners = [_listener(socket.AF_INET, "127.0.0.1", 0)]
        self.port: int = self._listeners[0].getsockname()[1]
        if socket.has_ipv6:
            self._listeners.append(_listener(socket.AF_INET6, "::1", self.port))

    @property
    def visits(self) -> int:
        """How many connections were made: the kernel queues those that were not accepted yet."""
        return sum(_waiting(connection) for connection in self._listeners)

    def close(self) -> None:
        for connection in self._listeners:
            connection.close()


def _listener(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        connection.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    connection.bind((address, port))
    connection.listen(8)
    connection.setblocking(False)
    return connection


def _waiting(connection: socket.socket) -> int:
    try:
        connection.accept()[0].close()
    except BlockingIOError:
        return 0
    return 1 + _waiting(connection)


class NameServer:
    """Replaces getaddrinfo: each look-up of a name returns its next answer; the last one is repeated."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self._answers = {name.replace("_", "."): list(given) for name, given in answers.items()}
        self.looked_up: list[str] = []

    def __call__(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        self.looked_up.append(host)
        if host not in self._answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        given = self._answers[host]
        return [_address(address, port) for address in (given.pop(0) if len(given) > 1 else given[0])]


def _address(address: str, port: int) -> tuple[Any, ...]:
    if ":" in address:
        return (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))


@pytest.fixture
def serve() -> Iterator[Callable[..., FileHost]]:
    hosts: list[FileHost] = []

    def start(answer: Answer | bytes, *, tls: ssl.SSLContext | None = None) -> FileHost:
        hosts.append(FileHost(answer, tls=tls))
        return hosts[-1]

    yield start
    for host in hosts:
        host.stop()


@pytest.fixture
def canary() -> Iterator[Canary]:
    canary = Canary()
    yield canary
    canary.close()


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> Callable[..., NameServer]:
    def stand_in(**answers: list[list[str]]) -> NameServer:
        names = NameServer(**answers)
        monkeypatch.setattr(names_module, "getaddrinfo", names)
        return names

    return stand_in


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The addresses that were connected to. Connections to the one public address of these tests go to 127.0.0.1."""
    seen: list[tuple[Any, ...]] = []
    connect = socket.socket.connect

    def reroute(connection: socket.socket, address: tuple[Any, ...]) -> None:
        seen.append(address[:2])
        connect(connection, ("127.0.0.1", address[1]) if address[0] == PUBLIC_ADDRESS else address)

    monkeypatch.setattr(socket.socket, "connect", reroute)
    return seen


@cache  # reading the authorities' certificates takes 40 ms
def media(*allowed_hosts: str, max_bytes: int = 100_000, timeout_s: float = 5.0) -> MediaHost:
    return MediaHost(allowed_hosts=allowed_hosts, max_bytes=max_bytes, timeout_s=timeout_s)


def photo(body: bytes = PHOTO) -> bytes:
    return OK + b"Content-Length: %d\r\n\r\n" % len(body) + body


def redirect(url: str, status: int = 302) -> bytes:
    return b"HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, url.encode())


def refusal(host: MediaHost, url: str) -> str:
    with pytest.raises(RemoteRefused) as refused:
        host.fetch(url)
    return str(refused.value)


# what is fetched


def test_a_file_of_an_allowed_host_is_fetched_whole(serve: Callable[..., FileHost]) -> None:
    host = serve(photo())
    assert media("127.0.0.1").fetch(host.url("/a b/ñ.jpg?token=1#top")) == PHOTO
    head = host.asked[0].split("\r\n")
    assert head[0] == "GET /a%20b/%C3%B1.jpg?token=1 HTTP/1.1"
    assert f"Host: {host.place}" in head
    assert "Accept-Encoding: identity" in head
    assert "Connection: close" in head


def test_a_file_in_chunks_is_fetched_whole(serve: Callable[..., FileHost]) -> None:
    host = serve(OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n")
    assert media("127.0.0.1").fetch(host.url()) == b"abcde"


def test_a_file_without_a_length_ends_with_its_connection(serve: Callable[..., FileHost]) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(OK + b"\r\n" + PHOTO)
        connection.shutdown(socket.SHUT_WR)

    assert media("127.0.0.1").fetch(serve(answer).url()) == PHOTO


def test_a_file_exactly_as_large_as_allowed_is_fetched(serve: Callable[..., FileHost]) -> None:
    host = serve(photo())
    assert media("127.0.0.1", max_bytes=len(PHOTO)).fetch(host.url()) == PHOTO
    assert refusal(media("127.0.0.1", max_bytes=len(PHOTO) - 1), host.url()) == "the file is larger than 2047 bytes"


def test_the_connection_is_closed_after_the_file(serve: Callable[..., FileHost]) -> None:
    left = Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(photo())
        if connection.recv(1) == b"":
            left.set()

    assert media("127.0.0.1").fetch(serve(answer).url()) == PHOTO
    assert left.wait(2)


def test_a_file_of_a_public_host_is_fetched_from_the_address_that_was_checked(
    serve: Callable[..., FileHost], name_server: Callable[..., NameServer], dialled: list[tuple[Any, ...]]
) -> None:
    host, names = serve(photo()), name_server(media_example=[[PUBLIC_ADDRESS], ["127.0.0.1"]])
    assert media().fetch(host.url(host="media.example")) == PHOTO
    assert names.looked_up == ["media.example"]
    assert dialled == [(PUBLIC_ADDRESS, host.port)]
    assert f"Host: media.example:{host.port}\r\n" in host.asked[0]


def test_an_address_that_takes_no_connection_is_followed_by_the_next(
    serve: Callable[..., FileHost], name_server: Callable[..., NameServer]
) -> None:
    host = serve(photo())
    name_server(media_example=[["::1", "127.0.0.1"]])
    assert media("media.example").fetch(host.url(host="media.example")) == PHOTO


def test_a_file_is_fetched_over_ipv6(serve: Callable[..., FileHost]) -> None:
    connection = _listener(socket.AF_INET6, "::1", 0)
    server = StreamServer(connection, lambda caller, _: caller.sendall(photo()))
    server.start()
    try:
        assert media("[::1]").fetch(f"http://[0:0:0:0:0:0:0:1]:{connection.getsockname()[1]}/x") == PHOTO
    finally:
        server.stop(timeout=0.1)


def test_no_proxy_is_used(serve: Callable[..., FileHost], canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, f"http://127.0.0.1:{canary.port}")
    assert media("127.0.0.1").fetch(serve(photo()).url()) == PHOTO
    assert canary.visits == 0


# from where


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "%31%32%37.0.0.1",
        "0",
        "[::1]",
        "[::]",
        "[::127.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[fe80::1%25lo]",
        "localhost",
        "LOCALHOST.",
        "user@127.0.0.1",
        "user:pass@localhost",
    ],
)
def test_no_private_address_is_connected_to(canary: Canary, host: str) -> None:
    for scheme in ("http", "https"):
        refusal(media(), f"{scheme}://{host}:{canary.port}/latest/meta-data")
    assert canary.visits == 0


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "file://127.0.0.1:{port}/x",
        "gopher://127.0.0.1:{port}/_x",
        "ftp://127.0.0.1:{port}/x",
        "127.0.0.1:{port}/x",
        "//127.0.0.1:{port}/x",
        "http:127.0.0.1:{port}/x",
        "http:///x",
        "http://127.0.0.1:{port}x/",
        "http://127.0.0.1:{port}\r\nX: y/",
        "http://[::1:{port}/",
        "http://" + "a" * 300 + ":{port}/",
        "http://a..b:{port}/",
        "http://\x00:{port}/",
        "",
    ],
)
def test_a_url_that_is_not_http_with_a_host_is_refused(canary: Canary, url: str) -> None:
    assert refusal(media("127.0.0.1:1", "[::1]:1", "a..b", "a" * 300), url.format(port=canary.port))
    assert canary.visits == 0


def test_user_info_is_refused_at_an_allowed_host_too(canary: Canary) -> None:
    sentence = refusal(media("127.0.0.1"), f"http://me:secret@127.0.0.1:{canary.port}/")
    assert "user" in sentence
    assert "secret" not in sentence
    assert canary.visits == 0


def test_the_canary_sees_a_call_that_is_allowed(canary: Canary) -> None:
    for host in ("127.1", "[::ffff:127.0.0.1]", "localhost"):
        with pytest.raises(RemoteUnavailable):
            media(host, timeout_s=0.1).fetch(f"http://{host}:{canary.port}/")
    assert canary.visits == 3


def test_one_private_address_among_public_ones_is_enough_to_refuse(
    canary: Canary, name_server: Callable[..., NameServer], dialled: list[tuple[Any, ...]]
) -> None:
    name_server(media_example=[[PUBLIC_ADDRESS, "127.0.0.1"]])
    assert refusal(media(), f"http://media.example:{canary.port}/") == "media.example is not on the public internet"
    assert dialled == []


def test_a_host_that_is_not_listed_is_not_even_looked_up(name_server: Callable[..., NameServer]) -> None:
    names = name_server()
    assert refusal(media("media.example"), "http://media.example.evil.example/") == (
        "files from media.example.evil.example are not allowed"
    )
    refusal(media("media.example"), "http://evil.example\\@media.example/")
    refusal(media("media.example"), "http://sub.media.example/")
    assert names.looked_up == []


@pytest.mark.parametrize(
    ("entry", "host"),
    [
        ("media.example", "MEDIA.Example."),
        ("Media.Example.", "media.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "BÜCHER.example"),
    ],
)
def test_a_listed_host_is_recognised_in_every_spelling(
    serve: Callable[..., FileHost], name_server: Callable[..., NameServer], entry: str, host: str
) -> None:
    place = serve(photo())
    name_server(media_example=[["127.0.0.1"]], **{"xn--bcher-kva_example": [["127.0.0.1"]]})
    assert media(entry).fetch(place.url(host=host)) == PHOTO


def test_a_listed_port_is_the_only_one_of_its_host(serve: Callable[..., FileHost], canary: Canary) -> None:
    host = serve(photo())
    assert media(host.place).fetch(host.url()) == PHOTO
    refusal(media(host.place), f"http://127.0.0.1:{canary.port}/")
    assert refusal(media("127.0.0.1:443"), "http://127.0.0.1/") == "files from 127.0.0.1 are not allowed"
    assert canary.visits == 0


@pytest.mark.parametrize(
    "entry", ["*.example", "me@media.example", "media.example/files", "a b", "media.example:x", ""]
)
def test_a_malformed_entry_is_a_settings_error(entry: str) -> None:
    with pytest.raises(SettingsError, match="MEDIA_ALLOWED_HOSTS"):
        media(entry)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.170",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:10.0.0.1",
        "::ffff:100.64.0.1",
        "::ffff:224.0.0.1",
        "::ffff:0:127.0.0.1",
        "64:ff9b::a00:1",
        "64:ff9b::808:808",
        "64:ff9b:1::a00:1",
        "100::1",
        "2001::1",
        "2001:0:7f00:1::",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ],
)
def test_an_address_that_leads_inside_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", PUBLIC_ADDRESS, "::ffff:8.8.8.8", "2606:4700::1111", "2a00:1450::1"])
def test_an_address_of_the_open_internet_is_public(address: str) -> None:
    assert is_public(address)


# redirects


def test_a_redirect_is_followed(serve: Callable[..., FileHost]) -> None:
    last = serve(photo())
    first = serve(redirect(last.url("/there?x=1")))
    assert media("127.0.0.1").fetch(first.url()) == PHOTO
    assert last.asked[0].startswith("GET /there?x=1 HTTP/1.1\r\n")


def test_a_redirect_may_be_relative_and_there_may_be_three(serve: Callable[..., FileHost]) -> None:
    answers = [redirect("two"), redirect("/three", 307), redirect("?four", 308), photo()]
    host = serve(lambda connection: connection.sendall(answers.pop(0)))
    assert media("127.0.0.1").fetch(host.url("/files/one")) == PHOTO
    assert [head.split()[1] for head in host.asked] == ["/files/one", "/files/two", "/three", "/three?four"]


def test_a_fourth_redirect_is_refused(serve: Callable[..., FileHost]) -> None:
    host = serve(redirect("/again"))
    assert "more than 3" in refusal(media("127.0.0.1"), host.url())
    assert len(host.asked) == 4


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:{port}/",
        "//127.1:{port}/",
        "http://localhost:{port}/",
        "http://[::1]:{port}/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/_",
        "http://user@media.example:{port}/",
    ],
)
@pytest.mark.usefixtures("dialled")
def test_a_redirect_does_not_lead_inside(
    serve: Callable[..., FileHost], canary: Canary, name_server: Callable[..., NameServer], target: str
) -> None:
    host = serve(redirect(target.format(port=canary.port)))
    refusal(media(host.place), host.url())
    inside = {"127_0_0_1": [["127.0.0.1"]], "127_1": [["127.0.0.1"]], "localhost": [["127.0.0.1"]], "::1": [["::1"]]}
    name_server(media_example=[[PUBLIC_ADDRESS]], **inside)
    refusal(media(), host.url(host="media.example"))
    assert len(host.asked) == 2
    assert canary.visits == 0


def test_a_name_that_turns_private_before_its_redirect_is_refused(
    serve: Callable[..., FileHost],
    canary: Canary,
    name_server: Callable[..., NameServer],
    dialled: list[tuple[Any, ...]],
) -> None:
    host = serve(redirect(f"http://media.example:{canary.port}/"))
    names = name_server(media_example=[[PUBLIC_ADDRESS], ["127.0.0.1"]])
    assert "not on the public internet" in refusal(media(), host.url(host="media.example"))
    assert names.looked_up == ["media.example"] * 2
    assert canary.visits == 0


# how much, and for how long


def drip(head: bytes) -> Answer:
    def answer(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(1000):
            connection.sendall(b"x")
            gevent.sleep(0.02)

    return answer


def endless(connection: socket.socket) -> None:
    connection.sendall(OK + b"\r\n")
    for _ in range(10_000):
        connection.sendall(b"x" * 65_536)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nX: ", OK + b"\r\n", OK + b"Content-Length: 900\r\n\r\n"])
def test_a_file_that_drips_is_given_up_in_time(serve: Callable[..., FileHost], head: bytes) -> None:
    host = serve(drip(head))
    began_s = time.monotonic()
    with pytest.raises(RemoteUnavailable, match=r"did not arrive within 0\.3 s"):
        media("127.0.0.1", timeout_s=0.3).fetch(host.url())
    assert time.monotonic() - began_s < 10
    assert host.left.wait(5), "the connection stays open"


def test_a_silent_tls_handshake_is_given_up_in_time(canary: Canary) -> None:
    began_s = time.monotonic()
    with pytest.raises(RemoteUnavailable, match="did not arrive"):
        media("127.0.0.1", timeout_s=0.3).fetch(f"https://127.0.0.1:{canary.port}/")
    assert time.monotonic() - began_s < 10


def test_a_slow_look_up_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    blocking_sleep = monkey.get_original("time", "sleep")
    monkeypatch.setattr(names_module, "getaddrinfo", lambda *_, **__: blocking_sleep(3))
    began_s = time.monotonic()
    with pytest.raises(RemoteUnavailable, match="did not arrive"):
        media(timeout_s=0.3).fetch("http://media.example/")
    assert time.monotonic() - began_s < 10


def test_redirects_share_one_time(serve: Callable[..., FileHost]) -> None:
    def answer(connection: socket.socket) -> None:
        gevent.sleep(0.3)
        connection.sendall(redirect("/again"))

    with pytest.raises(RemoteUnavailable, match="did not arrive"):
        media("127.0.0.1", timeout_s=0.7).fetch(serve(answer).url())


FLOOD = """
import itertools, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
connection.recv(65536)
connection.sendall(sys.argv[1].encode().decode("unicode_escape").encode())
piece = sys.argv[2].encode().decode("unicode_escape").encode() * 5000
try:
    while True:
        connection.sendall(piece)
except OSError:
    pass
"""


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (r"", r"HTTP/1.1 100 Continue\r\n\r\n"),
        (r"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", r"1\r\nx\r\n"),
    ],
)
def test_a_host_that_never_pauses_does_not_stop_other_greenlets(head: str, piece: str) -> None:
    with subprocess.Popen([sys.executable, "-c", FLOOD, head, piece], stdout=subprocess.PIPE, text=True) as flood:
        assert flood.stdout is not None
        url = f"http://127.0.0.1:{int(flood.stdout.readline())}/"
        turns: list[float] = []
        neighbour = gevent.spawn(_take_turns, turns)
        try:
            with pytest.raises(RemoteUnavailable, match="did not arrive"):
                media("127.0.0.1", max_bytes=10**9, timeout_s=0.5).fetch(url)
        finally:
            neighbour.kill()
            flood.kill()
    assert len(turns) > 5


def _take_turns(turns: list[float]) -> None:
    while True:
        turns.append(time.monotonic())
        gevent.sleep(0.001)


def test_an_endless_file_is_cut(serve: Callable[..., FileHost]) -> None:
    host = serve(endless)
    assert refusal(media("127.0.0.1", max_bytes=1_000_000), host.url()) == "the file is larger than 1000000 bytes"
    assert host.left.wait(5), "the connection stays open"


def test_a_file_that_announces_too_much_is_refused_before_it_comes(serve: Callable[..., FileHost]) -> None:
    host = serve(OK + b"Content-Length: 1000000000000\r\n\r\n")
    assert refusal(media("127.0.0.1"), host.url()) == "the file is larger than 100000 bytes"


def test_a_file_that_breaks_off_may_be_tried_again(serve: Callable[..., FileHost]) -> None:
    for head in (b"Content-Length: 9\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n9\r\n"):
        with pytest.raises(RemoteUnavailable):
            media("127.0.0.1").fetch(serve(OK + head + b"abc").url())


def test_a_compressed_file_is_refused(serve: Callable[..., FileHost]) -> None:
    host = serve(OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc")
    assert "compressed" in refusal(media("127.0.0.1"), host.url())


# what went wrong, and whether trying again helps


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (304, RemoteRefused),
        (302, RemoteRefused),
        (401, RemoteRefused),
        (403, RemoteRefused),
        (404, RemoteRefused),
        (429, RemoteUnavailable),
        (500, RemoteUnavailable),
        (503, RemoteUnavailable),
    ],
)
def test_a_status_says_whether_to_try_again(
    serve: Callable[..., FileHost], status: int, error: type[RemoteError]
) -> None:
    host = serve(b"HTTP/1.1 %d Some\r\nContent-Length: 3\r\nRetry-After: 7\r\n\r\nabc" % status)
    with pytest.raises(error) as raised:
        media("127.0.0.1").fetch(host.url())
    assert raised.value.status == status
    assert getattr(raised.value, "retry_after_s", 7) == 7


def test_a_closed_port_may_be_tried_again(serve: Callable[..., FileHost]) -> None:
    host = serve(photo())
    host.stop()
    with pytest.raises(RemoteUnavailable, match="ConnectionRefusedError"):
        media("127.0.0.1").fetch(host.url())


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00\xff\r\n\r\n"])
def test_garbage_may_be_tried_again(serve: Callable[..., FileHost], answer: bytes) -> None:
    with pytest.raises(RemoteUnavailable):
        media("127.0.0.1").fetch(serve(answer).url())


def test_an_unknown_name_is_refused_and_a_failed_look_up_may_be_tried_again(
    monkeypatch: pytest.MonkeyPatch, name_server: Callable[..., NameServer]
) -> None:
    name_server()
    assert refusal(media(), "http://nobody.example/") == "there is no host nobody.example"

    def fail(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(names_module, "getaddrinfo", fail)
    with pytest.raises(RemoteUnavailable, match=r"nobody\.example could not be looked up"):
        media().fetch("http://nobody.example/")


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "x." + "b" * 70, "a..b", ".example"])
def test_an_illegal_host_name_is_a_refusal_and_prints_no_traceback(
    host: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert refusal(media(), f"http://{host}/photo.jpg")
    assert "Traceback" not in "".join(capfd.readouterr())


def test_no_sentence_repeats_the_query(serve: Callable[..., FileHost], capfd: pytest.CaptureFixture[str]) -> None:
    query = "/f?token=s3cret"
    gone, moved, drips = serve(b"HTTP/1.1 404 No\r\n\r\n"), serve(redirect("ftp://x" + query)), serve(drip(b""))
    closed = serve(b"")
    closed.stop()
    here = media("127.0.0.1", timeout_s=0.3)
    urls = [host.url(query) for host in (gone, moved, drips, closed)]
    for url in [*urls, "http://10.0.0.1" + query, "http://[" + query, "ftp://h" + query, "http://s3cret@h/"]:
        with pytest.raises(RemoteError) as raised:
            here.fetch(url)
        assert "s3cret" not in str(raised.value)
    assert "s3cret" not in "".join(capfd.readouterr())


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate, with its key, that is good for media.example alone."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl command to make a certificate with")
    both, key = (tmp_path_factory.mktemp("tls") / name for name in ("both.pem", "key.pem"))
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=media.example"
    )
    names = ["-addext", "subjectAltName=DNS:media.example", "-keyout", str(key), "-out", str(both)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    both.write_bytes(key.read_bytes() + both.read_bytes())
    return both


@pytest.fixture
def tls_host(serve: Callable[..., FileHost], certificate: Path, name_server: Callable[..., NameServer]) -> FileHost:
    name_server(media_example=[["127.0.0.1"]], other_example=[["127.0.0.1"]])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    host = serve(photo(), tls=context)
    context.sni_callback = lambda _, name, __: host.asked.append(f"SNI {name}")
    return host


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    media.cache_clear()
    trust.cache_clear()
    yield
    media.cache_clear()
    trust.cache_clear()


@pytest.mark.usefixtures("trusted")
def test_a_file_is_fetched_over_tls_under_the_name_of_its_host(tls_host: FileHost) -> None:
    url = tls_host.url(host="media.example", scheme="https")
    assert media("media.example").fetch(url) == PHOTO
    assert tls_host.asked[0] == "SNI media.example"
    assert f"Host: media.example:{tls_host.port}\r\n" in tls_host.asked[1]


@pytest.mark.usefixtures("trusted")
def test_a_certificate_for_another_name_is_refused(tls_host: FileHost) -> None:
    sentence = refusal(media("other.example"), tls_host.url(host="other.example", scheme="https"))
    assert "not valid for 'other.example'" in sentence
    assert tls_host.asked == ["SNI other.example"]


def test_a_self_signed_certificate_is_refused(tls_host: FileHost) -> None:
    assert "self-signed" in refusal(media("media.example"), tls_host.url(host="media.example", scheme="https"))
    assert tls_host.asked == ["SNI media.example"]
