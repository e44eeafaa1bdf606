"""`python -m bridge.ops.bench.generator`: reads a job, drives it over bare sockets, prints the result.

Its requests are bytes that were made before, and it reads only status and length of an answer: its own cost must be
small against what it measures.
"""

from __future__ import annotations

import itertools
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

import gevent
import gevent.pool
import msgspec
from gevent import socket

from bridge.ops.bench.histogram import Histogram
from bridge.ops.bench.job import Job, Kind, Result, Sent

ANSWER_S = 60.0
Body = Callable[[Job, int], tuple[str, str, dict[str, str]]]


def _webhook(job: Job, number: int) -> tuple[str, str, dict[str, str]]:
    user = job.users[number % len(job.users)]
    text = _text(job, number)
    body = {"from": user, "id": text, "type": "text", "text": {"body": text}, "timestamp": str(_now_ms())}
    return "/v1/integrations/whatsapp/webhook", _json(body), {}


def _say(job: Job, number: int) -> tuple[str, str, dict[str, str]]:
    user = job.users[number % len(job.users)]
    return f"/control/chats/{user}/say", _json({"text": _text(job, number)}), {}


def _deliver(job: Job, number: int) -> tuple[str, str, dict[str, str]]:
    user, text = job.users[number % len(job.users)], _text(job, number)
    body = {"id": text, "type": "text", "userId": user, "text": {"body": text}}
    headers = {"Authorization": f"Bearer {job.token}"}
    return "/integrations/api/outgoing_webhook/bots/sandbox-wa/messages", _json(body), headers


def _connect(job: Job, number: int) -> tuple[str, str, dict[str, str]]:
    user = job.users[number]
    body = {"userID": user, "name": user, "email": f"{user}@example.com", "provider": "whatsapp"}
    body |= {"botSlug": "bench", "botId": "521554578545"}
    return "/v1/chats/connect", _json(body), {"Authorization": f"Bearer {job.token}"}


BODIES: dict[Kind, Body] = {
    "webhook": _webhook,
    "plain": _webhook,
    "say": _say,
    "deliver": _deliver,
    "connect": _connect,
}


class Line:
    """One connection that is kept alive."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def ask(self, request: bytes) -> str:
        """The answer's status, or the reason why no answer came."""
        try:
            return self._ask(request)
        except OSError as error:
            self._close()
            return type(error).__name__

    def _ask(self, request: bytes) -> str:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=ANSWER_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(request)
        answer = self._socket.recv(65_536)
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._more()
        head = answer[:end].lower()
        _, found, rest = head.partition(b"\r\ncontent-length:")
        left = (int(rest.split(b"\r\n", 1)[0]) if found else 0) - (len(answer) - end - 4)
        while left > 0:
            left -= len(self._more())
        if b"connection: close" in head:
            self._close()
        return str(answer[9:12], "ascii")

    def _more(self) -> bytes:
        assert self._socket is not None
        piece: bytes = self._socket.recv(65_536)
        if not piece:
            raise ConnectionResetError("the answer broke off")
        return piece

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Drive:
    """One job: its lines take the next request as they become free."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._make = BODIES[job.kind]
        self._errors: Counter[str] = Counter()
        self._latency, self._lateness = Histogram({}), Histogram({})
        self._sent: list[Sent] = []
        self._start_ns = job.start_ns or time.monotonic_ns()
        self._end_ns = self._start_ns + int(job.seconds * 1e9)
        self._last_ns = self._start_ns
        self._due = self._schedule() if job.rate else self._at_once()
        self._requests = 0

    def run(self) -> Result:
        """Runs the job."""
        gevent.sleep(max((self._start_ns - time.monotonic_ns()) / 1e9, 0.0))
        before_s = time.process_time()
        pool = gevent.pool.Group()
        for _ in range(self._job.connections):
            pool.spawn(self._drive, Line(self._job.port))
        pool.join(raise_error=True)
        return Result(
            requests=self._requests,
            errors=dict(self._errors),
            first_ns=self._start_ns,
            last_ns=self._last_ns,
            latency=self._latency,
            lateness=self._lateness,
            cpu_s=time.process_time() - before_s,
            sent=self._sent,
        )

    def _schedule(self) -> Iterator[tuple[int, int]]:
        """Number and time of each request, as a Poisson process: independent people."""
        chance = random.Random(self._job.label)
        due_ns = float(self._start_ns)
        for number in range(self._job.requests):
            due_ns += chance.expovariate(self._job.rate) * 1e9
            if due_ns > self._end_ns:
                return
            yield number, int(due_ns)

    def _at_once(self) -> Iterator[tuple[int, int]]:
        for number in itertools.islice(itertools.count(), self._job.requests):
            now_ns = time.monotonic_ns()
            if now_ns > self._end_ns:
                return
            yield number, now_ns

    def _drive(self, line: Line) -> None:
        for number, due_ns in self._due:
            wait_s = (due_ns - time.monotonic_ns()) / 1e9
            if wait_s > 0:
                gevent.sleep(wait_s)
            request = _request(*self._make(self._job, number))
            left_ns = time.monotonic_ns()
            status = line.ask(request)
            self._note(number, status, due_ns, left_ns)

    def _note(self, number: int, status: str, due_ns: int, left_ns: int) -> None:
        now_ns = self._last_ns = time.monotonic_ns()
        self._requests += 1
        if status[:1] != "2":
            self._errors[status] += 1
        self._latency.add((now_ns - due_ns) / 1e9)
        if self._job.rate:
            self._lateness.add((left_ns - due_ns) / 1e9)
            self._sent.append(Sent(_text(self._job, number), due_ns, now_ns))


def _text(job: Job, number: int) -> str:
    return f"{job.label}-{number}"


def _json(body: object) -> str:
    return msgspec.json.encode(body).decode()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _request(path: str, body: str, headers: dict[str, str]) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body)}", *(f"{name}: {text}" for name, text in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def main() -> None:
    """One job, from stdin to stdout."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    sys.stdout.buffer.write(msgspec.json.encode(Drive(job).run()))


if __name__ == "__main__":
    main()
