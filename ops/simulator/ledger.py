"""The ledger: everything that the simulated services accepted, in order, with its time."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from gevent.event import Event

Found = TypeVar("Found")


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened. `user` is a bot user's id, or the visitor's name where Live Agent knows no more.

    `at_ms` is the time of day; `at_ns` the monotonic clock, which all processes of a host share: for measuring.
    """

    number: int
    at_ms: int
    at_ns: int
    kind: str
    session: str = ""
    user: str = ""
    text: str = ""
    id: str = ""
    repeat: bool = False
    details: dict[str, Any] = {}


class Ledger:
    """Append-only. Tests query it and wait for it to change. No query scans the whole ledger."""

    def __init__(self, limit: int = 200_000) -> None:
        self._limit = limit
        self._entries: list[Entry] = []
        self._dropped = 0
        self._index: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
        self._waiting: set[Event] = set()
        self._deliveries: set[tuple[str, str]] = set()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self.overlaps: Counter[str] = Counter()

    # --- writing ----------------------------------------------------------------------------------------------------

    def record(self, kind: str, *, session: str = "", user: str = "", **fields: Any) -> Entry:
        """Appends an entry and wakes whoever waits."""
        number = self._dropped + len(self._entries) + 1
        at_ms = int(time.time() * 1000)
        at_ns = time.monotonic_ns()
        entry = Entry(number=number, at_ms=at_ms, at_ns=at_ns, kind=kind, session=session, user=user, **fields)
        self._entries.append(entry)
        for name in {"", session, user}:
            self._index[kind, name].append(entry)
        if len(self._entries) > self._limit:
            self._forget(self._limit // 2)
        self._wake()
        return entry

    def delivered(self, user: str, text: str, *, id: str, details: dict[str, Any]) -> Entry:
        """Records a text at the user; a repeat is an `id` that this user was given before."""
        repeat = id != "" and (user, id) in self._deliveries
        self._deliveries.add((user, id))
        return self.record("user_text", user=user, text=text, id=id, repeat=repeat, details=details)

    def overlapped(self, session: str) -> None:
        """Counts a poll that came while another of the same session was held."""
        self.overlaps[session] += 1
        self.record("poll_overlapped", session=session)

    def count_request(self, method: str, path: str, status: int) -> None:
        """Counts an answered request; status 0 is one that got no answer."""
        self._requests[method, path, status] += 1
        self._wake()

    def _forget(self, count: int) -> None:
        del self._entries[:count]
        self._dropped += count

    def _wake(self) -> None:
        for waiting in self._waiting:
            waiting.set()

    # --- reading ----------------------------------------------------------------------------------------------------

    def entries(self, kind: str, name: str = "") -> list[Entry]:
        """Every entry of a kind, or those of one session or user."""
        return list(self._index.get((kind, name), ()))

    def count(self, kind: str) -> int:
        """How many entries of a kind there are."""
        return len(self._index.get((kind, ""), ()))

    def since(self, after: int, *, limit: int = 1000) -> list[Entry]:
        """Up to `limit` entries numbered above `after`; the oldest may have been dropped (`ledger_limit`)."""
        start = max(0, after - self._dropped)
        return self._entries[start : start + limit]

    def last_number(self) -> int:
        """The number of the newest entry; 0 while the ledger is empty."""
        return self._dropped + len(self._entries)

    def agent_texts(self, session: str = "") -> list[str]:
        """The texts that agents saw, of one session id or visitor, or of all. A repeated POST is not seen twice."""
        return [entry.text for entry in self._index.get(("agent_text", session), ())]

    def user_texts(self, user: str = "", *, repeats: bool = False) -> list[str]:
        """What a user was shown: repeats of a delivery's id only when asked for."""
        return [entry.text for entry in self._index.get(("user_text", user), ()) if repeats or not entry.repeat]

    def bot_states(self, user: str = "") -> list[str]:
        """The states that the bot was put into, in order."""
        return [entry.text for entry in self._index.get(("bot_state", user), ())]

    def overlapping_polls(self, session: str = "") -> int:
        """How many polls came while another of their session was held."""
        return self.overlaps[session] if session else self.overlaps.total()

    def requests(self, path: str = "", *, method: str = "", status: int | None = None) -> int:
        """How many requests were answered, by the end of their path, method and status."""
        wanted = [
            count
            for (its_method, its_path, its_status), count in self._requests.items()
            if its_path.endswith(path) and method in ("", its_method) and status in (None, its_status)
        ]
        return sum(wanted)

    def request_table(self) -> list[dict[str, Any]]:
        """Requests by method, path and status."""
        return [
            {"method": method, "path": path, "status": status, "count": count}
            for (method, path, status), count in sorted(self._requests.items())
        ]

    # --- waiting ----------------------------------------------------------------------------------------------------

    def wait_for(self, predicate: Callable[[], Found], timeout_s: float = 20.0) -> Found:
        """What the predicate gives as soon as it is true, tried at every change.

        Raises TimeoutError, with the last entries, when it did not come true in time.
        """
        changed = Event()
        deadline = time.monotonic() + timeout_s
        self._waiting.add(changed)
        try:
            while True:
                changed.clear()
                found = predicate()
                if found:
                    return found
                if not changed.wait(max(0.0, deadline - time.monotonic())):
                    break
        finally:
            self._waiting.discard(changed)
        raise TimeoutError(f"not true within {timeout_s:g} s; the ledger ends with\n{self._tail()}")

    def _tail(self) -> str:
        return "\n".join(f"  {msgspec.json.encode(entry).decode()}" for entry in self._entries[-15:])
