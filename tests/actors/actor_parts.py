"""What the tests of the actors are made of: real stores, real actors, and ears where the outside begins."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import gevent
import msgspec
import pytest
import redis
from gevent.server import StreamServer

from bridge.actors.base import BridgeActor, Ref
from bridge.actors.inbox.redis import RedisInbox
from bridge.actors.leases import Lease, lease_clock_s
from bridge.actors.store.commands import Commands
from bridge.actors.store.connections import Connections
from bridge.actors.store.letters import Letters
from bridge.actors.store.store import Store
from bridge.codecs.liveagent.session import LiveAgentSession, read, sending_half, written
from bridge.keys import Keys
from bridge.messages import ConnectRequest, DeskSession, UserMessage, UserMessageReceived
from bridge.ops.service_process import free_port
from bridge.ops.simulator.environ import sandbox_environ
from bridge.records import ChatRecord, ChatState, Delivery
from bridge.settings.load import Settings, load_settings

Found = TypeVar("Found")
PARTITIONS = 8
LONG_S = 3600.0


def wait_for(predicate: Callable[[], Found], timeout_s: float = 20.0) -> Found:
    """What the predicate gives as soon as it is true. Raises TimeoutError."""
    deadline_s = time.monotonic() + timeout_s
    while not (found := predicate()):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"not true within {timeout_s:g} s")
        gevent.sleep(0.002)
    return found


def settle() -> None:
    """Lets everything run that can run now; for proofs that nothing more comes of it."""
    for _ in range(10):
        gevent.sleep(0.001)


def make_settings(simulator_url: str = "http://127.0.0.1:9", **overrides: str) -> Settings:
    """Valid settings, as the sandbox has them; `overrides` are by field name."""
    return load_settings(sandbox_environ(simulator_url, **overrides))


class RedisServer:
    """A redis-server of our own, on a free port, that writes nothing to disk."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        quiet = ["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"]
        self.process = subprocess.Popen([*command, *quiet, *options], stdout=subprocess.DEVNULL)
        try:
            wait_for(self._answers, 10)
        except TimeoutError:
            self.stop()
            raise

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except redis.exceptions.RedisError:
            return False


class Proxy:
    """A proxy that can be cut, or made silent: then requests pass, and no answer comes back."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._open: set[socket.socket] = set()
        self.silent = False
        self.asked = bytearray()
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self._server.start()
        self.port: int = self._server.server_port
        self.address = f"127.0.0.1:{self.port}"

    def cut(self) -> int:
        """Ends every connection; how many there were. New ones may be made."""
        lines = list(self._open)
        for line in lines:
            _hang_up(line)
        return len(lines) // 2

    def close(self) -> None:
        """Takes no new connection, either."""
        self._server.close()
        self.cut()

    def reopen(self) -> None:
        """Takes connections again, on the same port."""
        self._server = StreamServer(("127.0.0.1", self.port), self._serve)
        self._server.start()

    def _serve(self, caller: socket.socket, _: Any) -> None:
        with socket.create_connection(("127.0.0.1", self._upstream)) as server, caller:
            lines = {caller, server}
            self._open |= lines
            back = gevent.spawn(self._pass_on, server, caller, answers=True)
            self._pass_on(caller, server, answers=False)
            back.kill()
            self._open -= lines

    def _pass_on(self, source: socket.socket, to: socket.socket, *, answers: bool) -> None:
        try:
            while data := source.recv(65_536):
                if not answers:
                    self.asked += data
                elif self.silent:
                    continue
                to.sendall(data)
        except OSError:
            pass
        finally:
            _hang_up(to)


def _hang_up(line: socket.socket) -> None:
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


def require_redis() -> None:
    """Skips where there is no redis-server to be had; fails where there has to be one."""
    if shutil.which("redis-server") is not None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail("redis-server is missing, and without it half of the store is not tested")
    pytest.skip("redis-server is not installed: the store is tested on the embedded one alone")


class Place:
    """One store, alone in its name space: `connections` leads there, `keys` names what lies there."""

    def __init__(self, address: str = "", **overrides: str) -> None:
        self.client = f"t-{uuid.uuid4().hex[:12]}"
        settings = make_settings(redis_address=address, **overrides) if address else make_settings(**overrides)
        self.connections = Connections(settings)
        self.keys = Keys(self.client, PARTITIONS)
        self.raw = self.connections.client()

    def store(self, *, mailbox_limit: int = 1000, partitions: int = PARTITIONS) -> Store:
        """One worker's view of it."""
        keys = Keys(self.client, partitions)
        return Store(self.connections, keys, client=self.client, mailbox_limit=mailbox_limit, engine=RedisInbox.scripts)

    def letters(self) -> Letters:
        """Its dead letters."""
        return Letters(Commands(self.connections), self.keys)

    def engine(self, *, block_s: float = 0.05) -> RedisInbox:
        """One worker's inbox."""
        return RedisInbox(self.connections, self.keys, block_s=block_s)

    def inbox(self, user_id: str) -> list[str]:
        """The ids of what lies in the inbox of a user's partition."""
        found: Any = self.raw.xrange(self.keys.of(self.keys.partition(user_id), "inbox"))
        return [name.decode() for name, _ in found]

    def everything(self) -> dict[str, Any]:
        """All that is stored, by key, as it is compared with itself later."""
        names: Any = self.raw.scan_iter(match=f"bridge:{self.client}:*")
        return {name.decode(): self._value(name) for name in sorted(names)}

    def _value(self, name: bytes) -> Any:
        kind: Any = self.raw.type(name)
        read: dict[bytes, Callable[[], Any]] = {
            b"string": lambda: self.raw.get(name),
            b"hash": lambda: self.raw.hgetall(name),
            b"list": lambda: self.raw.lrange(name, 0, -1),
            b"stream": lambda: self.raw.xrange(name),
            b"zset": lambda: self.raw.zrange(name, 0, -1, withscores=True),
        }
        return read[kind]()


class Ear(BridgeActor):
    """Stands where the neighbour of an actor stands: keeps what it is told, and answers by `replies`."""

    def __init__(self, heard: list[Any], replies: dict[type, Callable[[Any], Any]]) -> None:
        super().__init__()
        self._heard = heard
        self._replies = replies

    def on_receive(self, message: Any) -> Any:
        self._heard.append(message)
        reply = self._replies.get(type(message))
        return reply(message) if reply else None


class Heard(list[Any]):
    """What an ear heard, in order."""

    def __init__(self, **replies: Callable[[Any], Any]) -> None:
        super().__init__()
        self.replies: dict[type, Callable[[Any], Any]] = {}
        self.ref: Ref = Ear.start(self, self.replies)

    def of(self, kind: type[Found]) -> list[Found]:
        """Those of one kind."""
        return [message for message in self if isinstance(message, kind)]

    def wait_for(self, kind: type[Found], count: int = 1) -> list[Found]:
        """The first `count` of a kind, as soon as they came."""
        wait_for(lambda: len(self.of(kind)) >= count)
        return self.of(kind)[:count]


# --- things of the field ----------------------------------------------------------------------------------------------


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def said(text: str = "hola", *, user: str = "5215573735001", **more: Any) -> UserMessage:
    """Something a user said, just now and for the first time."""
    fields: dict[str, Any] = {"message_id": uuid.uuid4().hex, "provider": "whatsapp", "sent_at_ms": now_ms()}
    return UserMessage(user_id=user, text=text, **{**fields, **more})


def received(text: str = "hola", **more: Any) -> UserMessageReceived:
    return UserMessageReceived(said(text, **more))


def wants_chat(user: str = "5215573735001") -> ConnectRequest:
    return ConnectRequest(
        user_id=user,
        bot_slug="ayuda",
        bot_id="bot-1",
        name="Ana",
        provider="whatsapp",
        email=f"{user}@example.com",
        phone_number=user,
    )


def chat_record(user: str = "5215573735001", **more: Any) -> ChatRecord:
    """An open chat, as it is written down."""
    fields: dict[str, Any] = {"chat_id": uuid.uuid4().hex, "state": ChatState.CONNECTING, "opened_at_ms": now_ms()}
    return ChatRecord(request=wants_chat(user), **{**fields, **more})


def desk_session(**more: Any) -> DeskSession:
    """A Live Agent session, opened just now."""
    fields: dict[str, Any] = {"session_id": "s-1", "key": "key", "affinity": "aff", "opened_at_ms": now_ms()}
    return written(LiveAgentSession(**{**fields, **more}))


def half_with(session: DeskSession, **fields: Any) -> msgspec.Raw:
    """The sending half of a session of which some fields are different."""
    return sending_half(msgspec.structs.replace(read(session), **fields))


def active_chat(user: str = "5215573735001", *texts: str, **more: Any) -> ChatRecord:
    """A chat with an agent, who is owed these texts."""
    owed = [Delivery(id=f"c-a{n}", text=text, owed_since_ms=now_ms()) for n, text in enumerate(texts, 1)]
    fields: dict[str, Any] = {
        "state": ChatState.ACTIVE,
        "contact_id": "003",
        "case_id": "500",
        "session": desk_session(),
        "requested": True,
        "agent_name": "Luz",
        "owed_count": len(texts),
        "to_agent": owed,
    }
    return chat_record(user, **{**fields, **more})


def take(store: Store, user_or_partition: str | int, worker: str = "w1", *, held_s: float = LONG_S) -> Lease:
    """The lease on a partition, or on that of a user."""
    partition = user_or_partition
    if isinstance(partition, str):
        partition = store.keys.partition(partition)
    claim = store.claim(partition, worker, ttl_ms=int(LONG_S * 1000))
    assert claim is not None, f"partition {partition} has an owner"
    return Lease(partition, claim.value, deadline_s=lease_clock_s() + held_s)


def user_in(keys: Keys, partition: int, number: int = 0) -> str:
    """The id of some user who lives in a partition; another one for each number."""
    names = (f"user-{i}" for i in itertools.count())
    living_there = (name for name in names if keys.partition(name) == partition)
    return next(itertools.islice(living_there, number, None))
