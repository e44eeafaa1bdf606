"""Everything that the soak does to the service, its store and the remote services; one blow at a time."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import msgspec
import requests

from bridge.ops.endurance.gaps import Blow
from bridge.ops.endurance.hosts import Hosts
from bridge.ops.endurance.load import whatsapp_body
from bridge.ops.endurance.redis_process import RedisProcess, SentinelCluster
from bridge.ops.simulator import Simulator

HOST_DOWN_S = 16.0
# Gunicorn kills a frozen worker within this time.
FROZEN_S = 10.0
TROUBLE_S = 6.0
REPLICA_BEHIND_S = 1.0
FLOOD_USER = "5215599999990"
FLOOD_TEXTS = 20


class Trouble(msgspec.Struct, frozen=True):
    """A path that fails for a while, in one of these ways, and the deliveries that it holds up."""

    path: str
    ways: tuple[str, ...]
    direction: str = ""
    provider: str = ""


# Messenger knows no id: what it took before the answer was lost comes twice, so nothing acts before it fails there.
TROUBLES = {
    "whatsapp fails": Trouble("/integrations/api/outgoing_webhook/*", ("500", "hangs", "drops"), "user", "whatsapp"),
    "messenger fails": Trouble("/integrations/api/passthrough/*", ("500", "hangs", "drops"), "user", "facebook"),
    "bot flow fails": Trouble("/botrunner/*", ("500", "drops")),
    "desk refuses texts": Trouble("*/Chasitor/ChatMessage", ("500", "hangs", "drops", "garbage", "lost"), "agent"),
    "desk refuses polls": Trouble("*/System/Messages", ("500", "drops", "garbage"), "user"),
    "desk moves": Trouble("*/Chasitor/ChatMessage", ("503",), "agent"),
}
WAYS: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "503": {"status": 503},
    "hangs": {"delay_s": 5.0, "drop": "before"},
    "drops": {"drop": "before"},
    "lost": {"drop": "after"},
    "garbage": {"garbage": True},
}
# In this order, again and again.
ORDER = (
    "worker killed", "whatsapp fails", "worker frozen", "desk refuses texts", "worker killed", "store killed",
    "messenger fails", "worker killed", "large texts", "desk refuses polls", "store frozen", "host lost",
    "bot flow fails", "worker killed", "store loses writes", "desk moves",
)  # fmt: skip


class Blows:
    """Strikes in the order of `ORDER`; `done` has what was done so far."""

    def __init__(self, simulator: Simulator, hosts: Hosts, cluster: SentinelCluster) -> None:
        self._simulator = simulator
        self._hosts = hosts
        self._cluster = cluster
        self.done: list[Blow] = []
        self._strikes: dict[str, Callable[[], None]] = {
            "worker killed": self._kill_worker,
            "worker frozen": self._freeze_worker,
            "host lost": self._lose_host,
            "store killed": self._kill_store,
            "store frozen": self._freeze_store,
            "store loses writes": self._lose_writes,
            "large texts": self._flood,
        }

    def strike(self) -> Blow:
        """The next blow; returns when what it did is undone."""
        kind = ORDER[len(self.done) % len(ORDER)]
        began_ms = _now_ms()
        if kind in TROUBLES:
            self._trouble(TROUBLES[kind])
        else:
            self._strikes[kind]()
        self.done.append(Blow(began_ms, kind, _now_ms()))
        return self.done[-1]

    # --- workers and hosts ------------------------------------------------------------------------------------------

    def _kill_worker(self) -> None:
        random.choice(self._hosts.all).kill_worker(random.randrange(10))

    def _freeze_worker(self) -> None:
        pid = random.choice(random.choice(self._hosts.all).worker_pids)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            gevent.sleep(FROZEN_S)
            os.kill(pid, signal.SIGCONT)

    def _lose_host(self) -> None:
        host = random.choice(self._hosts.all)
        host.lose()
        gevent.sleep(HOST_DOWN_S)
        host.start()
        host.wait_until_ready()

    # --- the store --------------------------------------------------------------------------------------------------

    def _kill_store(self) -> None:
        with self._failing_over() as primary:
            primary.kill()

    def _freeze_store(self) -> None:
        with self._failing_over() as primary:
            primary.freeze()

    def _lose_writes(self) -> None:
        """Promotes a replica that has not seen the last second."""
        with self._failing_over() as primary:
            [replica] = [server for server in self._cluster.servers if server is not primary]
            replica.freeze()
            gevent.sleep(REPLICA_BEHIND_S)
            primary.kill()
            replica.thaw()

    @contextlib.contextmanager
    def _failing_over(self) -> Iterator[RedisProcess]:
        primary = self._cluster.server_at(self._cluster.primary_port())
        yield primary
        self._cluster.wait_for_failover(primary.port, timeout_s=40.0)
        if primary.ended:
            primary.start()
        else:
            primary.thaw()
        self._cluster.wait_until_whole(timeout_s=60.0)

    # --- remote services and users ----------------------------------------------------------------------------------

    def _trouble(self, trouble: Trouble) -> None:
        fault = self._simulator.add_fault(trouble.path, times=0, **WAYS[random.choice(trouble.ways)])
        gevent.sleep(TROUBLE_S)
        self._simulator.faults.remove(fault.id)

    def _flood(self) -> None:
        """A user without a chat sends texts of a size that no channel has; whether they are refused is not judged."""
        for number in range(FLOOD_TEXTS):
            body = whatsapp_body(FLOOD_USER, f"flood-{len(self.done)}-{number}", "x" * 1_000_000)
            url = f"{random.choice(self._hosts.urls)}/v1/integrations/whatsapp/webhook"
            with contextlib.suppress(requests.RequestException):
                requests.post(url, json=body, timeout=10)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
