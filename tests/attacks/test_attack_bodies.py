"""Bodies that are cheap to send and dear to understand: eight at once freeze nobody, and none leaves a worker dead."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from attack_target import Target
from attackers import WEBHOOK

MESSENGER = "/v1/integrations/facebook/webhook"
LONGEST_S = 3.0
WEBHOOK_BYTES = 256 * 1024
CONNECT_BYTES = 3 * 1024 * 1024


def filled(before: str, item: str, after: str, size: int) -> bytes:
    """JSON of at most `size` bytes with as many items as fit."""
    count = (size - len(before) - len(after)) // (len(item) + 1)
    return (before + ",".join([item] * count) + after).encode()


def whatsapp(kind: str, before: str, item: str, after: str) -> tuple[str, bytes]:
    head = f'{{"type":"{kind}","id":"{kind}","from":"5210000000001","{kind}":'
    return WEBHOOK, filled(head + before, item, after + "}", WEBHOOK_BYTES)


def messenger(before: str, item: str, after: str) -> tuple[str, bytes]:
    return MESSENGER, filled('{"authorRole":"user","message":{"entry":' + before, item, after + "}}", WEBHOOK_BYTES)


MESSAGING = '[{"messaging":[{"sender":{"id":"1"},"recipient":{"id":"2"},"message":{"mid":"m","attachments":'
BOMBS = {
    "contacts": whatsapp("contacts", "[", "{}", "]"),
    "phones of a contact": whatsapp("contacts", '[{"phones":[', "{}", "]}]"),
    "entries": messenger("[", "{}", "]"),
    "events": messenger('[{"messaging":[', "{}", "]}]"),
    "attachments that say nothing": messenger(MESSAGING + "[", '{"type":""}', "]}}]}]"),
    "attachments that are files": messenger(MESSAGING + "[", '{"type":"image","payload":{"url":"http://x"}}', "]}}]}]"),
    "lists in a field of a login": ("/v1/authenticate", filled('{"username":[', "[]", "]}", 16_000)),
    "lists in extraData": ("/v1/chats/connect", filled('{"extraData":{"description":[', "[]", "]}}", CONNECT_BYTES)),
    "objects in an unknown field": ("/v1/chats/connect", filled('{"x":[', "{}", "]}", CONNECT_BYTES)),
    "keys of extraData": ("/v1/chats/connect", filled('{"extraData":{', '"a":0', "}}", CONNECT_BYTES)),
}


@pytest.fixture(scope="module")
def token(target: Target) -> str:
    login = {"username": "yaloUser", "password": "yalo-password"}
    raw = target.ask("POST", "/v1/authenticate", json.dumps(login).encode())[1]
    found: str = json.loads(raw)["token"]
    return found


@pytest.mark.parametrize("name", BOMBS)
def test_a_body_that_is_dear_to_understand_freezes_nobody(target: Target, token: str, name: str) -> None:
    path, body = BOMBS[name]
    before, lines = target.worker_pids(), target.log_text().count("\n")
    with ThreadPoolExecutor(8) as senders:
        asked = [senders.submit(target.ask, "POST", path, body, Authorization=f"Bearer {token}") for _ in range(8)]
        slowest_s = max(target.live_s() for _ in range(10))
        statuses = {answer.result()[0] for answer in asked}
    print(f"{name}: slowest /v1/live {slowest_s:.3f} s, answered {statuses}")
    assert statuses <= {200, 400}
    assert slowest_s < LONGEST_S
    assert target.worker_pids() == before
    assert target.log_text().count("\n") - lines < 100
