"""Heads that lie: about the path, the caller, where a body ends. None changes what is served or what comes next."""

from __future__ import annotations

import json
import re
import socket
from http.client import HTTPResponse

import pytest
from attack_target import Target
from attackers import WEBHOOK, connect, head

SAFE = ("x-content-type-options: nosniff", "cache-control: no-store", "content-security-policy: default-src 'none'")


def said(target: Target, raw: bytes) -> bytes:
    """Everything that the service answers to these bytes until it closes, or has nothing more to say."""
    with connect(target.port) as wire:
        wire.sendall(raw)
        wire.shutdown(socket.SHUT_WR)
        answers = bytearray()
        while piece := wire.recv(65_536):
            answers += piece
    return bytes(answers)


def statuses(answers: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3})", answers)]


@pytest.mark.parametrize("name", ["SCRIPT_NAME", "PATH_INFO", "Script-Name", "REMOTE_USER"])
def test_no_header_changes_the_path(target: Target, name: str) -> None:
    answers = said(target, head("GET", f"{WEBHOOK}/v1/tokens/check", f"{name}: {WEBHOOK}", "Connection: close"))
    assert statuses(answers) == [404]


REFUSED = {
    "a line that is too long": (head("GET", "/" + "a" * 10_000), 414),
    "headers that are too large": (head("GET", "/v1/live", *[f"X-{n}: {'a' * 4000}" for n in range(300)]), 431),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "two lengths": (head("POST", "/v1/live", "Content-Length: 1", "Content-Length: 2"), 400),
    "a length and chunks": (head("POST", "/v1/live", "Content-Length: 1", "Transfer-Encoding: chunked"), 400),
    "a folded header": (b"GET /v1/live HTTP/1.1\r\nHost: x\r\n X: y\r\n\r\n", 400),
    "a coding that nobody knows": (head("POST", "/v1/live", "Transfer-Encoding: rot13"), 501),
    "an odd expectation": (head("POST", "/v1/live", "Expect: a miracle", "Content-Length: 1"), 417),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_server_itself_refuses_is_json_with_the_safe_headers(target: Target, case: str) -> None:
    raw, status = REFUSED[case]
    answers = said(target, raw)
    assert statuses(answers) == [status]
    headers, _, body = answers.partition(b"\r\n\r\n")
    assert list(json.loads(body)) == ["ErrorDescription"]
    assert all(safe in headers.decode().lower() for safe in SAFE)


@pytest.mark.parametrize(
    "body",
    [
        b"5\r\nGET /\r\n0\r\n\r\n",
        b"0\r\nX: y\r\n\r\n",
        b"zz\r\n",
        b"5;a=b\r\nAAAAA\r\n0\r\n\r\n",
        b"FFFFFFFFFFFFFFFF\r\nAAAA",
        b"5\nAAAAA\n0\n\n",
    ],
)
def test_a_body_that_nobody_read_is_not_taken_for_the_next_request(target: Target, body: bytes) -> None:
    smuggled = head("DELETE", "/v1/chat/finish/1")
    answers = said(target, head("POST", "/v1/nothing", "Transfer-Encoding: chunked") + body + smuggled)
    assert statuses(answers) in ([404], [404, 401])
    if b"0\r\n" not in body:
        assert statuses(answers) == [404]


def test_requests_in_one_packet_are_answered_in_order(target: Target) -> None:
    answers = said(target, head("GET", "/v1/live") * 50 + head("GET", "/v1/nothing", "Connection: close"))
    assert statuses(answers) == [200] * 50 + [404]


def next_status(wire: socket.socket) -> int:
    """The status of the next answer, which is read whole."""
    answer = HTTPResponse(wire)
    answer.begin()
    answer.read()
    return answer.status


def test_a_refusal_arrives_although_the_body_was_not_read(target: Target) -> None:
    """A close with unread bytes resets a connection, and the answer with it: the service waits a moment."""
    with connect(target.port) as wire:
        wire.sendall(head("POST", WEBHOOK, "Content-Length: 10000000") + b" " * 100_000)
        assert next_status(wire) == 413


def test_a_short_body_that_nobody_read_keeps_the_connection(target: Target) -> None:
    with connect(target.port) as wire:
        for _ in range(3):
            wire.sendall(head("POST", "/v1/nothing", "Content-Length: 5000") + b" " * 5000)
            assert next_status(wire) == 404
