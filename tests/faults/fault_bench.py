"""The bench of the fault tests: hosts on one store, talks through them, and the simulator's ledger as the judge."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import gevent.pool
import pytest
import requests

import bridge.ops
from bridge.keys import Keys
from bridge.ops.endurance.gaps import Blow, takeovers_s
from bridge.ops.endurance.hosts import Host, Hosts
from bridge.ops.endurance.load import Caller, Load, Talk
from bridge.ops.endurance.redis_process import RedisProcess
from bridge.ops.endurance.verdict import judge, settle
from bridge.ops.simulator import Simulator
from bridge.ops.simulator.environ import sandbox_environ
from bridge.ops.simulator.org import Record

PARTITIONS = 64
PATIENCE_S = 40.0
# An agent takes every chat. A text that comes too soon after another is answered 200 and lost.
DESK: dict[str, Any] = {"auto_accept": True, "burst_gap_s": 0.05}

_users = itertools.count(5_215_500_000_000)


def require_redis() -> None:
    """Skips where there is no redis-server to be had; fails where there has to be one."""
    if shutil.which("redis-server") is not None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail("redis-server is missing, and without it nothing is proven")
    pytest.skip("redis-server is not installed")


class Talks(Load):
    """A load that can be steered by hand, too: one text after the other."""

    def __init__(self, simulator: Simulator, caller: Caller, *, chats: int) -> None:
        super().__init__(simulator, caller, chats=chats, first_user=next(_users))
        for _ in range(chats - 1):
            next(_users)

    def __iter__(self) -> Iterator[Talk]:
        return iter(self.talks)

    @property
    def users(self) -> list[str]:
        """Everybody's id, which is their name as well."""
        return [talk.user for talk in self.talks]

    def write(self, talk: Talk) -> str:
        """The user writes one more text, and the channel brings it until it is heard."""
        text = self.next_text(talk)
        self._caller.write(talk.user, f"{talk.user}-{len(talk.written) + 1}", text)
        talk.written.append(text)
        return text

    @staticmethod
    def next_text(talk: Talk) -> str:
        """What the user will write next."""
        return f"written {len(talk.written) + 1} by {talk.user}"

    def say(self, talk: Talk) -> str:
        """The agent says one more text."""
        text = f"said {len(talk.said) + 1} to {talk.user}"
        talk.said.append(text)
        self._simulator.say(talk.user, text)
        return text

    def await_agents(self) -> None:
        """Waits until everybody has an agent who was greeted; `open` without the connects."""
        self._simulator.wait_for(lambda: all(self._has_agent(talk) for talk in self.talks), PATIENCE_S)

    def written_at_agent(self, talk: Talk) -> list[str]:
        """What the agent was shown of what the user wrote."""
        return [text for text in self._simulator.agent_texts(talk.user) if text.startswith("written")]

    def exchange(self, rounds: int = 1) -> None:
        """Both sides of every chat send that many texts, all chats at once."""
        pool = gevent.pool.Pool(50)
        for talk in self.talks:
            pool.spawn(self._exchange, talk, rounds)
        pool.join(raise_error=True)

    def _exchange(self, talk: Talk, rounds: int) -> None:
        for _ in range(rounds):
            self.write(talk)
            self.say(talk)

    def break_off(self) -> None:
        """Nobody sends any more, and nobody waits for an answer."""
        self._stopped = True
        self._talking.kill()

    def must_be_whole(self, *, timeout_s: float = PATIENCE_S) -> None:
        """Everything that was sent arrived, once, in order, and no two polls of a session overlapped."""
        settle(self._simulator, self, timeout_s=timeout_s)
        verdict = judge(self._simulator, self)
        assert verdict.messages > 0, "a judge who sees nothing proves nothing"
        assert verdict.clean, f"{verdict}"


class CommandHost(Host):
    """A host that is started by another command, or where another command puts it."""

    def __init__(self, environ: dict[str, str], *, prefix: Sequence[str] = (), options: Sequence[str] = ()) -> None:
        super().__init__(environ)
        self._prefix = prefix
        self._options = options

    def start(self) -> None:
        """Runs Gunicorn itself: `bridge serve` takes no further options."""
        configuration = str(Path(bridge.ops.__file__).with_name("gunicorn_conf.py"))
        command = [*self._prefix, sys.executable, "-m", "gunicorn", "-c", configuration, *self._options]
        environ = {**self.environ, "PORT": str(self.port), "SALESFORCE_INTEGRATION_PORT": str(self.port)}
        self._process = subprocess.Popen(
            command, env=environ, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True
        )


class Bench:
    """Hosts, one store, one simulator, and the channel that calls them."""

    def __init__(self, simulator: Simulator, redis: RedisProcess, hosts: Hosts) -> None:
        self.simulator = simulator
        self.redis = redis
        self.hosts = hosts
        self.caller = Caller(hosts.urls)
        self._keys = Keys("salesforce", PARTITIONS)
        self._all_talks: list[Talks] = []

    # --- talking ----------------------------------------------------------------------------------------------------

    def talks(self, chats: int = 1) -> Talks:
        """Chats of users whom nobody has met, each with an agent."""
        talks = self.strangers(chats)
        talks.open()
        return talks

    def strangers(self, chats: int = 1) -> Talks:
        """Users whom nobody has met; `open` brings them to an agent."""
        talks = Talks(self.simulator, self.caller, chats=chats)
        self._all_talks.append(talks)
        return talks

    def connect_later(self, user: str) -> gevent.Greenlet:
        """A connect under way; its value is the status, 0 when the answer was lost."""
        return gevent.spawn(self.caller.connect, user)

    def post(self, user: str, message_id: str, text: str, *, url: str = "") -> requests.Response:
        """One webhook, brought once."""
        body = {"from": user, "id": message_id, "type": "text", "text": {"body": text}, "timestamp": f"{now_ms()}"}
        path = f"{url or self.hosts.urls[0]}/v1/integrations/whatsapp/webhook"
        return requests.post(path, json=body, timeout=15)

    # --- hurting ----------------------------------------------------------------------------------------------------

    def owner_of(self, user: str) -> int:
        """The process id of the worker that owns this user's partition, as soon as there is one."""
        key = self._keys.of(self._keys.partition(user), "lease")
        lease = wait_until(lambda: self.redis.client.get(key), "nobody owns the partition", timeout_s=20)
        return int(str(lease).split("/")[-2])

    def kill_owner(self, user: str) -> Blow:
        """kill -9 of that worker."""
        blow = Blow(now_ms(), "worker")
        os.kill(self.owner_of(user), signal.SIGKILL)
        return blow

    # --- seeing -----------------------------------------------------------------------------------------------------

    def cases_of(self, user: str) -> list[Record]:
        """Every case of every contact that this user has."""
        contacts = {record["Id"] for record in self.contacts_of(user)}
        return [case for case in self.simulator.records("Case") if case.get("ContactId") in contacts]

    def contacts_of(self, user: str) -> list[Record]:
        """Every contact that was made for this user."""
        return [record for record in self.simulator.records("Contact") if record.get("LastName") == user]

    def chats_asked_for(self, user: str) -> int:
        """How often the desk was asked for an agent."""
        return len(self.simulator.entries("chat_requested", user))

    def polled_since(self, talks: Talks, moment_ms: int) -> bool:
        """Whether every chat was polled again."""
        return all(self._last_poll_ms(user) > moment_ms for user in talks.users)

    def _last_poll_ms(self, user: str) -> int:
        polls = self.simulator.entries("poll_began", self.simulator.chat(user).id)
        return polls[-1].at_ms if polls else 0

    def takeovers_s(self, blows: Sequence[Blow]) -> list[float]:
        """How long the chats that a kill hit went without a poll, sorted."""
        return takeovers_s(self.simulator, blows, "worker")

    def overlaps(self) -> int:
        """How many polls overlapped so far."""
        return self.simulator.overlapping_polls()

    # --- afterwards -------------------------------------------------------------------------------------------------

    def clear(self) -> None:
        """No fault is armed, every host is up, nobody talks any more."""
        for talks in self._all_talks:
            talks.break_off()
        self._all_talks.clear()
        self.simulator.faults.clear()
        for host in self.hosts.all:
            if host.ended:
                host.start()
        for host in self.hosts.all:
            host.wait_until_ready()
        self._end_chats()

    def _end_chats(self) -> None:
        for chat in (*self.simulator.chats("queued"), *self.simulator.chats("active")):
            chat.end("agent")
        gone = [chat for chat in self.simulator.chats() if chat.poll is not None]
        wait_until(lambda: all(chat.poll is None for chat in gone), "chats that ended are still polled")


@contextmanager
def benches(
    *, hosts: int = 2, workers: int = 2, simulator: dict[str, Any] | None = None, **overrides: str
) -> Iterator[Bench]:
    """A bench of its own: a durable Redis, a simulator that accepts every chat at once, and so many hosts."""
    require_redis()
    with RedisProcess(durable=True) as redis, Simulator(**(DESK | (simulator or {}))) as desk:
        settings = {"redis_address": redis.address, "workers": str(workers), **overrides}
        with Hosts(sandbox_environ(desk.url, **settings), count=hosts) as running:
            bench = Bench(desk, redis, running)
            bench.caller.log_in()
            yield bench


def wait_until(look: Callable[[], Any], complaint: str, *, timeout_s: float = 10.0) -> Any:
    """What `look` gives as soon as it is true; fails with the complaint when it does not become so in time."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if found := look():
            return found
        gevent.sleep(0.02)
    pytest.fail(f"{complaint}, after {timeout_s:g} s")


def is_alive(pid: int) -> bool:
    """Whether the process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def now_ms() -> int:
    """The time as the ledger has it."""
    return time.time_ns() // 1_000_000
