"""`python -m bridge.ops.bench.holder PORT COUNT`: greenlets that each hold a long poll with `http.client`.

It prints "ready" when all sessions are open, and begins to poll when it reads a line.
"""

from __future__ import annotations

import gc
import http.client
import json
import sys

import gevent

import bridge.ops.patched  # noqa: F401  # before anything opens a socket

VERSION = {"X-LIVEAGENT-API-VERSION": "48", "X-LIVEAGENT-AFFINITY": "null"}
HOLD_S = 45.0


def _open(port: int, count: int) -> list[dict[str, str]]:
    line = http.client.HTTPConnection("127.0.0.1", port)
    opened = []
    for _ in range(count):
        line.request("GET", "/liveagent/chat/rest/System/SessionId", headers=VERSION)
        body = json.load(line.getresponse())
        session = {"X-LIVEAGENT-SESSION-KEY": body["key"], "X-LIVEAGENT-AFFINITY": body["affinityToken"]}
        opened.append({**VERSION, **session})
    line.close()
    return opened


def _hold(port: int, headers: dict[str, str]) -> None:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=HOLD_S)
    while True:
        line.request("GET", "/liveagent/chat/rest/System/Messages?ack=-1", headers=headers)
        line.getresponse().read()


def main(port: int, count: int) -> None:
    """Holds until it is killed."""
    sessions = _open(port, count)
    gc.collect()
    print("ready", flush=True)
    sys.stdin.readline()
    for headers in sessions:
        gevent.spawn(_hold, port, headers)
    gevent.sleep(HOLD_S)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
