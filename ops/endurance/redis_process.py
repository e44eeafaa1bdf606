"""Real Redis servers on free ports of loopback: one, or a primary with replicas and Sentinels."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import redis

from bridge.ops.service_process import free_port

UP_S = 30.0


class RedisProcess:
    """One redis-server. What it holds survives a restart when it is durable: then it writes an append-only file."""

    def __init__(self, *options: str, port: int = 0, durable: bool = False, sentinel: bool = False) -> None:
        self.port = port or free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="bridge-redis-"))
        self._options = options
        self._durable = durable
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RedisProcess:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def address(self) -> str:
        """Host and port, as REDIS_ADDRESS takes them."""
        return f"127.0.0.1:{self.port}"

    @property
    def client(self) -> redis.Redis:
        """A client of its own, for looking and arranging."""
        return redis.Redis(port=self.port, decode_responses=True)

    @property
    def ended(self) -> bool:
        """Whether it has ended or was never started."""
        return self._process is None or self._process.poll() is not None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> RedisProcess:
        """Starts it, again too, and waits until it answers."""
        configuration = self.folder / "redis.conf"
        if not configuration.exists():
            configuration.write_text("\n".join(self._options) + "\n")
        durable = "yes" if self._durable else "no"
        plain = ["--save", "", "--appendonly", durable, "--appendfsync", "everysec", "--dir", str(self.folder)]
        command = ["redis-server", str(configuration), "--port", str(self.port)]
        command += ["--sentinel"] if self._sentinel else plain
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait()
        return self

    def _wait(self) -> None:
        deadline_s = time.monotonic() + UP_S
        while time.monotonic() < deadline_s:
            try:
                self.client.ping()
            except redis.exceptions.RedisError:
                time.sleep(0.02)
            else:
                return
        raise RuntimeError(f"redis-server did not come up on port {self.port}")

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Ends it as a crash does (or as another signal does) and waits until it is gone."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(how)
            self._process.wait(timeout=UP_S)

    def freeze(self) -> None:
        """Stops it in the middle of whatever it does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Ends it, and removes what it wrote."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class SentinelCluster:
    """A primary, replicas, and three Sentinels that watch them."""

    MASTER = "bridge"

    def __init__(self, *, replicas: int = 2, down_after_ms: int = 1000) -> None:
        self.primary = RedisProcess(durable=True)
        follow = f"replicaof 127.0.0.1 {self.primary.port}"
        self.replicas = [RedisProcess(follow, durable=True) for _ in range(replicas)]
        watch = (
            f"sentinel monitor {self.MASTER} 127.0.0.1 {self.primary.port} 2",
            f"sentinel down-after-milliseconds {self.MASTER} {down_after_ms}",
            f"sentinel failover-timeout {self.MASTER} 5000",
            "sentinel resolve-hostnames no",
        )
        self.sentinels = [RedisProcess(*watch, sentinel=True) for _ in range(3)]

    def __enter__(self) -> SentinelCluster:
        for server in (self.primary, *self.replicas):
            server.start()
        self._wait_for(lambda: self._replicas_of(self.primary) == len(self.replicas))
        for sentinel in self.sentinels:
            sentinel.start()
        self._wait_for(lambda: all(self._knows_all(sentinel) for sentinel in self.sentinels))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in (*self.sentinels, *self.replicas, self.primary):
            server.end()

    @property
    def servers(self) -> list[RedisProcess]:
        """All that hold data, whatever their part is now."""
        return [self.primary, *self.replicas]

    @property
    def addresses(self) -> str:
        """As REDIS_SENTINEL_ADDRESS takes them."""
        return ";".join(sentinel.address for sentinel in self.sentinels)

    def primary_port(self) -> int:
        """Where the Sentinels say that the primary is now."""
        address = self.sentinels[0].client.execute_command("SENTINEL", "get-master-addr-by-name", self.MASTER)
        return int(address[1])

    def server_at(self, port: int) -> RedisProcess:
        """The server that listens there, whatever its part is now."""
        return next(server for server in (self.primary, *self.replicas) if server.port == port)

    def wait_until_whole(self, *, timeout_s: float = 30.0) -> None:
        """Waits until the primary of the moment has all the others as its replicas again."""
        self._wait_for(
            lambda: self._replicas_of(self.server_at(self.primary_port())) == len(self.replicas), timeout_s=timeout_s
        )

    def wait_for_failover(self, old_port: int, *, timeout_s: float = 20.0) -> float:
        """Waits until another primary is named; how many seconds that took."""
        began_s = time.monotonic()
        self._wait_for(lambda: self.primary_port() != old_port, timeout_s=timeout_s)
        return time.monotonic() - began_s

    @staticmethod
    def _replicas_of(server: RedisProcess) -> int:
        # One that is connected may still be copying, and confirms nothing until it is done.
        followers = server.client.info("replication")
        return sum(isinstance(one, dict) and one.get("state") == "online" for one in followers.values())

    def _knows_all(self, sentinel: RedisProcess) -> bool:
        state = sentinel.client.execute_command("SENTINEL", "master", self.MASTER)
        known = state if isinstance(state, dict) else dict(zip(state[::2], state[1::2], strict=True))
        return int(known["num-slaves"]) == len(self.replicas) and int(known["num-other-sentinels"]) == 2

    @staticmethod
    def _wait_for(condition: Callable[[], bool], *, timeout_s: float = 20.0) -> None:
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            if condition():
                return
            time.sleep(0.05)
        raise RuntimeError("the Redis servers did not find each other")
