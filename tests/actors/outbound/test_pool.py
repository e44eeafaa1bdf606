"""Outbound clients and their pool: one request at a time each, and none waits behind a slow one for no reason."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import msgspec
import pykka
import pytest
from actor_parts import Heard, desk_session, settle, wait_for, wants_chat
from gevent.event import Event

from bridge.actors.leases import Lease, lease_clock_s
from bridge.actors.outbound.pool import ClientPool
from bridge.actors.protocol import Failure, Outcome, Request
from bridge.commands import (
    AttachFile,
    Command,
    EnsureContact,
    Lane,
    LeaveDesk,
    OpenCase,
    OpenSession,
    RepairSession,
    RequestChat,
    SendToUser,
    TellBot,
)
from bridge.errors import BridgeError, DeskError, RemoteGarbled, RemoteRefused, RemoteUnavailable
from bridge.events import BotTold, ContactReady
from bridge.events import Event as BridgeEvent
from bridge.messages import Provider
from bridge.records import Delivery


class Remote:
    """Serves commands; those of a slow user wait until `through` is set."""

    def __init__(self) -> None:
        self.slow: set[str] = set()
        self.through = Event()
        self.served: list[str] = []
        self.under_way = 0
        self.most_under_way = 0

    def serve(self, command: Command) -> tuple[BridgeEvent, ...]:
        assert isinstance(command, EnsureContact | SendToUser)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if command.request.user_id in self.slow:
                self.through.wait()
            self.served.append(command.request.user_id)
        finally:
            self.under_way -= 1
        return (ContactReady(f"003-{command.request.user_id}"),)


@pytest.fixture
def remote() -> Iterator[Remote]:
    remote = Remote()
    yield remote
    remote.through.set()


def text(heard: Heard, token: int = 1, lease: Lease | None = None) -> Request:
    delivery = Delivery(id=f"c-u{token}", text="hola", owed_since_ms=0)
    return Request(SendToUser(wants_chat("ana"), delivery), heard.ref, token, lease)


def request(heard: Heard, user: str = "ana", token: int = 1) -> Request:
    return Request(EnsureContact(wants_chat(user)), heard.ref, token)


Serve = Callable[[Command], tuple[BridgeEvent, ...]]


_pools: list[ClientPool] = []


@pytest.fixture(autouse=True)
def _stop_pools() -> Iterator[None]:
    yield
    while _pools:
        _pools.pop().stop()


def pool_of(serve: Serve, *, size: int = 2, rate: float = 0.0, **options: Any) -> ClientPool:
    _pools.append(ClientPool("the remote", serve, size=size, rate=rate, **options))
    return _pools[-1]


def test_an_outcome_names_its_lane_and_token(remote: Remote) -> None:
    heard = Heard()
    pool_of(remote.serve).tell(request(heard, "ana", token=7))
    assert heard.wait_for(Outcome) == [Outcome(Lane.DESK, 7, (ContactReady("003-ana"),))]


def test_an_error_of_the_remote_is_told_as_a_failure() -> None:
    heard, error = Heard(), RemoteRefused("no", status=400)

    def serve(command: Command) -> tuple[BridgeEvent, ...]:
        raise error

    pool_of(serve).tell(request(heard, token=3))
    [failure] = heard.wait_for(Failure)
    assert (failure.lane, failure.token, failure.error) == (Lane.DESK, 3, error)


def test_an_unexpected_error_is_a_failure_and_the_client_lives(caplog: pytest.LogCaptureFixture) -> None:
    heard, stumbles = Heard(), iter([True, False])

    def serve(command: Command) -> tuple[BridgeEvent, ...]:
        if next(stumbles):
            raise ZeroDivisionError("secret")
        return (BotTold(),)

    pool = pool_of(serve, size=1)
    for token in (1, 2):
        pool.tell(Request(TellBot(wants_chat(), "success", 0), heard.ref, token))
    [outcome] = heard.wait_for(Outcome)
    [failure] = heard.of(Failure)
    assert (failure.token, outcome.token, outcome.lane) == (1, 2, Lane.BOT)
    assert isinstance(failure.error, RemoteGarbled)
    assert "secret" not in str(failure.error)
    assert "TellBot failed" in caplog.text
    assert pool.snapshot()["busy"] == 0


def test_an_outcome_for_a_stopped_actor_is_dropped(remote: Remote) -> None:
    gone, heard = Heard(), Heard()
    gone.ref.stop()
    pool = pool_of(remote.serve, size=1)
    pool.tell(request(gone))
    pool.tell(request(heard))
    heard.wait_for(Outcome)


def test_a_client_has_one_request_under_way(remote: Remote) -> None:
    heard = Heard()
    remote.slow = {"ana"}
    pool = pool_of(remote.serve, size=3)
    for token in range(10):
        pool.tell(request(heard, "ana", token))
    wait_for(lambda: remote.under_way == 2)
    settle()
    assert pool.snapshot() == {"name": "the remote", "size": 3, "busy": 2, "queued": 8, "retrying": 0}
    remote.through.set()
    heard.wait_for(Outcome, 10)
    assert remote.most_under_way == 2, "one destination holds at most half of the clients"
    wait_for(lambda: pool.snapshot()["busy"] == pool.snapshot()["queued"] == 0)


def test_no_request_waits_behind_a_slow_call_while_a_client_is_idle(remote: Remote) -> None:
    heard = Heard()
    remote.slow = {"slow"}
    pool = pool_of(remote.serve, size=6)
    for token in range(2):
        pool.tell(request(heard, "slow", token))
    wait_for(lambda: remote.under_way == 2)
    for number in range(8):
        pool.tell(request(heard, f"quick-{number}", 100 + number))
        heard.wait_for(Outcome, number + 1)
    assert remote.served == [f"quick-{number}" for number in range(8)]


def test_a_call_that_hangs_takes_one_client_and_no_more(remote: Remote) -> None:
    heard = Heard()
    remote.slow = {"slow"}
    pool = pool_of(remote.serve, size=4)
    pool.tell(request(heard, "slow"))
    for number in range(20):
        pool.tell(request(heard, f"quick-{number}"))
    heard.wait_for(Outcome, 10)
    assert pool.snapshot()["busy"] >= 1


def test_a_call_waits_for_its_end_and_raises_what_it_raised() -> None:
    pool, done = pool_of(lambda command: ()), []
    pool.call(lambda: done.append("registered"), timeout_s=2)
    assert done == ["registered"]

    def refuse() -> None:
        raise RemoteRefused("no such bot")

    with pytest.raises(RemoteRefused, match="no such bot"):
        pool.call(refuse, timeout_s=2)
    with pytest.raises(pykka.Timeout):
        pool.call(lambda: gevent.sleep(1), timeout_s=0.05)


def test_an_unexpected_error_of_a_call_is_raised() -> None:
    def stumble() -> None:
        raise KeyError("webhook")

    pool = pool_of(lambda command: ())
    with pytest.raises(RemoteGarbled, match="KeyError"):
        pool.call(stumble, timeout_s=2)
    assert pool.snapshot()["busy"] == 0


def test_texts_leave_no_faster_than_the_rate_allows(remote: Remote) -> None:
    heard, began_s = Heard(), time.monotonic()
    pool = pool_of(remote.serve, size=4, rate=20.0)
    for token in range(60):
        pool.tell(text(heard, token=token))
    heard.wait_for(Outcome, 20)
    assert time.monotonic() - began_s < 1, "a second's worth may go at once"
    heard.wait_for(Outcome, 60)
    assert 1.8 < time.monotonic() - began_s < 8


CHAT = wants_chat("ana")
SESSION = desk_session()
NOT_PACED: list[Command] = [
    EnsureContact(CHAT),
    OpenCase(CHAT, "003", since_ms=0),
    OpenSession(),
    RequestChat(CHAT, SESSION, "003", "500"),
    RepairSession(SESSION),
    LeaveDesk(SESSION),
    AttachFile("500", "s-1", Delivery(id="c-a1", text="", owed_since_ms=0)),
    TellBot(CHAT, "success", 0),
]


@pytest.mark.parametrize("command", NOT_PACED, ids=lambda command: type(command).__name__)
def test_only_texts_wait_for_the_rate_limit(command: Command) -> None:
    heard = Heard()
    pool = pool_of(lambda _: (), size=1, rate=0.01)
    for token in range(3):
        pool.tell(Request(command, heard.ref, token))
    heard.wait_for(Outcome, 3)


def test_a_request_whose_lease_is_over_is_not_carried_out(remote: Remote) -> None:
    heard = Heard()
    remote.slow = {"ana"}
    lease = Lease(1, "worker:1", deadline_s=lease_clock_s() + 60)
    pool = pool_of(remote.serve, size=1)
    pool.tell(request(heard, "ana", 1))
    wait_for(lambda: remote.under_way == 1)
    pool.tell(text(heard, token=2, lease=lease))
    lease.give_up()
    remote.through.set()
    pool.tell(request(heard, "luis", 3))
    heard.wait_for(Outcome, 2)
    assert [outcome.token for outcome in heard.of(Outcome)] == [1, 3]


def test_a_pool_that_stops_finishes_its_current_requests(remote: Remote) -> None:
    heard = Heard()
    remote.slow = {"ana"}
    pool = pool_of(remote.serve, size=1)
    pool.tell(request(heard, "ana", 1))
    wait_for(lambda: remote.under_way == 1)
    pool.stop()
    settle()
    assert heard == []
    remote.through.set()
    heard.wait_for(Outcome)
    pool.tell(request(heard, "ana", 2))
    settle()
    assert [outcome.token for outcome in heard.of(Outcome)] == [1]


def test_a_call_that_is_slow_does_not_count_as_a_busy_client(remote: Remote) -> None:
    heard = Heard()
    remote.slow = {"slow"}
    pool = pool_of(remote.serve, size=2)
    pool.tell(request(heard, "slow"))
    wait_for(lambda: remote.under_way == 1)
    pool.tell(request(heard, "quick", 2))
    heard.wait_for(Outcome)
    assert remote.served == ["quick"]


# --- the circuit breaker of a destination ---------------------------------------------------------------------------


class Moody:
    """A remote whose answers are set by hand, for each provider."""

    def __init__(self) -> None:
        self.errors: dict[str, BridgeError] = {}
        self.calls: Counter[str] = Counter()

    def serve(self, command: Command) -> tuple[BridgeEvent, ...]:
        assert isinstance(command, SendToUser)
        provider = command.request.provider
        self.calls[provider] += 1
        if provider in self.errors:
            raise self.errors[provider]
        return (BotTold(),)


def provider_of(command: Command) -> str:
    assert isinstance(command, SendToUser)
    return command.request.provider


def send(pool: ClientPool, provider: Provider, count: int = 1) -> list[Outcome | Failure]:
    """The answers to so many texts, each of a chat of its own."""
    chats = [Heard() for _ in range(count)]
    for chat in chats:
        chat_request = msgspec.structs.replace(wants_chat("ana"), provider=provider)
        pool.tell(Request(SendToUser(chat_request, Delivery(id="c-u1", text="hola", owed_since_ms=0)), chat.ref, 1))
    wait_for(lambda: all(chat.of(Outcome) or chat.of(Failure) for chat in chats))
    return [[*chat.of(Outcome), *chat.of(Failure)][0] for chat in chats]


@pytest.mark.parametrize("error", [RemoteUnavailable("down"), RemoteUnavailable("down", status=503)])
def test_the_breaker_opens_for_one_destination_and_says_for_how_long(error: BridgeError) -> None:
    moody = Moody()
    pool = pool_of(moody.serve, size=8, destination=provider_of)
    moody.errors["facebook"] = error
    send(pool, "facebook", 20)
    [answer] = send(pool, "facebook")
    assert isinstance(answer, Failure)
    assert isinstance(answer.error, RemoteUnavailable)
    assert str(answer.error).startswith("circuit breaker open for the remote facebook, next probe in")
    assert 0 < (answer.error.retry_after_s or 0) <= 2.0
    assert moody.calls["facebook"] == 20
    assert isinstance(send(pool, "whatsapp")[0], Outcome)


@pytest.mark.parametrize(
    "error",
    [
        RemoteUnavailable("too many", status=429),
        RemoteRefused("no", status=400),
        RemoteGarbled("what", status=200),
        DeskError("moved", verdict="broken", status=503),
    ],
)
def test_an_answer_that_is_no_outage_does_not_open_the_breaker(error: BridgeError) -> None:
    moody = Moody()
    pool = pool_of(moody.serve, size=8, destination=provider_of)
    moody.errors["facebook"] = error
    send(pool, "facebook", 21)
    assert moody.calls["facebook"] == 21


def test_an_unknown_message_is_logged_and_dropped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    pool = pool_of(lambda command: ())
    ref: Any = pool._client()
    assert ref.ask("what?", timeout=2) is None
    assert "OutboundClient has no handler for str" in caplog.text
