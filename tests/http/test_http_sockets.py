"""The front door over real sockets: bodies in pieces, without a length, broken off, too slow; room for the actors."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse

import gevent
import pytest
from front_door import FrontDoorClient, RecordingDoor, settings
from gevent.pywsgi import WSGIServer

from bridge.http import bodies
from bridge.http.app import create_app

PATH = "/v1/integrations/whatsapp/webhook"
TEXT = b'{"type": "text", "id": "1", "from": "52", "timestamp": "1632367928574", "text": {"body": "Hola"}}'
LIMIT = 100_000


@pytest.fixture
def address(door: RecordingDoor) -> Iterator[tuple[str, int]]:
    server = WSGIServer(("127.0.0.1", 0), create_app(door, settings(webhook_body_limit=LIMIT)), log=None)
    server.start()
    yield "127.0.0.1", server.server_port
    server.stop(timeout=1)


@pytest.fixture
def wire(address: tuple[str, int]) -> Iterator[socket.socket]:
    with socket.create_connection(address, timeout=10) as connected:
        yield connected


def chunked(*pieces: bytes) -> bytes:
    sized = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
    return b"".join([*sized, b"0\r\n\r\n"])


def begin(wire: socket.socket, header: str) -> None:
    wire.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())


def answer(wire: socket.socket) -> tuple[int, bytes]:
    reply = HTTPResponse(wire)
    reply.begin()
    return reply.status, reply.read()


def test_a_body_in_chunks_without_a_length_is_read_whole(wire: socket.socket, door: RecordingDoor) -> None:
    begin(wire, "Transfer-Encoding: chunked")
    wire.sendall(chunked(TEXT[:7], TEXT[7:30], TEXT[30:]))
    assert answer(wire) == (200, b'{"Message":"insert success"}')
    assert [message.text for message in door.posted] == ["Hola"]


def test_chunks_are_counted_while_they_are_read(wire: socket.socket, door: RecordingDoor) -> None:
    begin(wire, "Transfer-Encoding: chunked")
    piece = b"%x\r\n%s\r\n" % (10_000, b" " * 10_000)
    # The end never comes: whoever waits for it waits for ever.
    wire.sendall(piece * 11)
    assert answer(wire)[0] == 413
    assert door.posted == []


def test_a_length_over_the_limit_is_refused_before_a_byte_is_read(wire: socket.socket) -> None:
    begin(wire, f"Content-Length: {10**12}")
    assert answer(wire) == (413, b'{"ErrorDescription":"the body is larger than 100000 bytes"}')


def test_a_body_that_breaks_off_is_not_half_believed(wire: socket.socket, door: RecordingDoor) -> None:
    begin(wire, f"Content-Length: {len(TEXT) + 10}")
    wire.sendall(TEXT)
    wire.shutdown(socket.SHUT_WR)
    assert answer(wire)[0] == 400
    assert door.posted == []


def test_chunks_that_break_off_are_not_half_believed(wire: socket.socket, door: RecordingDoor) -> None:
    begin(wire, "Transfer-Encoding: chunked")
    wire.sendall(chunked(TEXT).removesuffix(b"0\r\n\r\n"))
    wire.shutdown(socket.SHUT_WR)
    assert answer(wire)[0] == 400
    assert door.posted == []


def test_chunks_that_make_no_sense_are_400(wire: socket.socket) -> None:
    begin(wire, "Transfer-Encoding: chunked")
    wire.sendall(b"zz\r\nxx\r\n0\r\n\r\n")
    assert answer(wire)[0] == 400


def test_a_body_that_dribbles_is_cut_off(wire: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_S", 0.05)
    begin(wire, f"Content-Length: {len(TEXT)}")
    wire.sendall(TEXT[:5])
    assert answer(wire) == (408, b'{"ErrorDescription":"the body took too long to arrive"}')


def test_a_post_without_a_body_is_400(wire: socket.socket) -> None:
    begin(wire, "Content-Length: 0")
    assert answer(wire)[0] == 400


def test_one_connection_serves_many_requests(address: tuple[str, int], door: RecordingDoor) -> None:
    connection = HTTPConnection(*address, timeout=10)
    for number in range(20):
        connection.request("POST", PATH, TEXT.replace(b'"1"', b'"%d"' % number))
        reply = connection.getresponse()
        assert (reply.status, reply.read()) == (200, b'{"Message":"insert success"}')
    connection.close()
    assert len(door.posted) == 20


def test_every_request_lets_the_actors_run(client: FrontDoorClient) -> None:
    ran: list[int] = []

    def actor() -> None:
        while len(ran) < 100:
            ran.append(1)
            gevent.sleep(0)

    running = gevent.spawn(actor)
    gevent.sleep(0)
    for _ in range(10):
        before = len(ran)
        client.simulate_get("/v1/live")
        assert len(ran) > before
    running.kill()
