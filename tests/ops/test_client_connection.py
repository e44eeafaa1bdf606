"""A client's connection: reads let others run, what waits can be cut off, and a client that does not read is left."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest
from gevent import socket

from bridge.ops import client_connection
from bridge.ops.client_connection import ClientConnection, Connections, HeadTimeout


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        with socket.create_connection(listener.getsockname()) as client:
            accepted, _ = listener.accept()
            with accepted:
                yield client, accepted


def test_each_further_read_lets_the_actors_run_although_bytes_are_ready(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    client, accepted = pair
    connection = ClientConnection(accepted, Connections())
    client.sendall(b"x" * 100)
    turns: list[int] = []

    def count_turns() -> None:
        while True:
            turns.append(1)
            gevent.sleep(0)

    actor = gevent.spawn(count_turns)
    assert connection.recv(1) == b"x"
    for _ in range(20):
        before = len(turns)
        assert connection.recv(1) == b"x"
        assert len(turns) > before
    actor.kill()


def test_a_client_that_does_not_read_its_answer_is_left(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_connection, "SEND_TIMEOUT_S", 0.2)
    connection = ClientConnection(pair[1], Connections())
    with pytest.raises(ConnectionResetError):
        connection.sendall(b"x" * 50_000_000)


def test_a_later_head_has_the_idle_time_until_its_first_byte_and_the_time_of_a_first_head_from_then_on(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_connection, "HEAD_TIMEOUT_S", 0.1)
    client, accepted = pair
    connection = ClientConnection(accepted, Connections())
    connection.begin_head(60)
    connection.end_head()
    connection.begin_head(60)
    client.sendall(b"G")
    assert connection.recv(10) == b"G"
    with pytest.raises(HeadTimeout):
        connection.recv(10)
    connection.end_head()


def test_a_connection_within_a_request_is_cut_off_before_an_idle_one() -> None:
    connections = Connections()
    with socket.socket() as first, socket.socket() as second:
        idle, reading = ClientConnection(first, connections), ClientConnection(second, connections)
        connections.mark_idle(idle)
        idle.is_reading = reading.is_reading = True
        connections.cut_off_one()
        assert (idle.is_cut_off, reading.is_cut_off) == (False, True)
        connections.cut_off_one()
        assert idle.is_cut_off


def test_a_request_that_waits_for_its_answer_is_not_cut_off() -> None:
    connections = Connections()
    with socket.socket() as client:
        served = ClientConnection(client, connections)
        connections.cut_off_one()
        assert not served.is_cut_off


def test_what_is_cut_off_sees_the_end_of_the_stream(pair: tuple[socket.socket, socket.socket]) -> None:
    connection = ClientConnection(pair[1], Connections())
    reading = gevent.spawn(connection.recv, 10)
    gevent.sleep(0)
    gevent.sleep(0)
    connection.cut_off()
    assert reading.get(timeout=5) == b""
