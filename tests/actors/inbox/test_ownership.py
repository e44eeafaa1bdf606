"""Who owns what: shares, leases that are kept, given up, lost and never believed in for too long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import msgspec
import pytest
from actor_parts import (
    PARTITIONS,
    Heard,
    Place,
    Proxy,
    RedisServer,
    active_chat,
    chat_record,
    settle,
    take,
    user_in,
    wait_for,
)
from gevent.event import Event

from bridge.actors.inbox.ownership import POLL_DELAY_EXPIRED_S, POLL_DELAY_RELEASED_S, LeaseTimes, Ownership, share
from bridge.actors.leases import Lease, lease_clock_s
from bridge.actors.protocol import DrainPartitions, PartitionGained, PartitionLost
from bridge.actors.store.store import Commit, Store
from bridge.records import ChatState

ALL = list(range(PARTITIONS))
QUICK = LeaseTimes(tick_s=0.01, renew_every_s=0.05)


class Worker:
    """An ownership with a store of its own; `heard` is what its registry hears."""

    def __init__(self, place: Place, name: str, *, rests: bool = True, **times: Any) -> None:
        self.name = name
        self.store: Store = place.store()
        self.heard = Heard()
        self.heard.replies[DrainPartitions] = self._drain
        self.inbox = place.engine()
        self.ownership = Ownership(
            self.store,
            name,
            registry=self.heard.ref,
            inbox=self.inbox,
            times=msgspec.structs.replace(QUICK, **times),
        )
        self._rests = rests

    def start(self) -> Worker:
        self.ownership.start()
        return self

    def stop(self, within_s: float = 2.0) -> None:
        self.ownership.stop(deadline_s=time.monotonic() + within_s)

    @property
    def held(self) -> set[int]:
        return {lease.partition for lease in self.ownership._leases.values() if lease.held}

    @property
    def lost(self) -> list[int]:
        return [lost.partition for lost in self.heard.of(PartitionLost)]

    @property
    def gained(self) -> list[int]:
        return [gained.lease.partition for gained in self.heard.of(PartitionGained)]

    def _drain(self, drain: DrainPartitions) -> Event:
        at_rest = Event()
        if self._rests:
            at_rest.set()
        return at_rest


@pytest.fixture
def hire() -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def make(place: Place, name: str, **options: Any) -> Worker:
        workers.append(Worker(place, name, **options))
        return workers[-1]

    yield make
    for worker in workers:
        worker.stop(0.2)


Hire = Callable[..., Worker]

# --- shares -----------------------------------------------------------------------------------------------------------


def shares(names: list[str], partitions: int = 64) -> dict[str, set[int]]:
    return {name: share(name, names, partitions) for name in names}


@pytest.mark.parametrize("count", [1, 2, 3, 5, 16])
def test_every_partition_has_one_owner_among_the_living(count: int) -> None:
    parts = shares([f"host/{number}/x" for number in range(count)])
    assert sorted(p for part in parts.values() for p in part) == list(range(64))


def test_few_move_when_a_worker_comes_and_only_to_the_newcomer() -> None:
    names = [f"host/{number}/x" for number in range(4)]
    before, after = shares(names, 1024), shares([*names, "host/9/y"], 1024)
    for name in names:
        assert after[name] <= before[name], "an old worker gained something"
    moved = sum(len(before[name] - after[name]) for name in names)
    assert moved == len(after["host/9/y"])
    assert 0.5 * 1024 / 5 < moved < 1.5 * 1024 / 5


def test_when_a_worker_goes_only_what_it_had_moves() -> None:
    names = [f"host/{number}/x" for number in range(5)]
    before, after = shares(names, 1024), shares(names[:-1], 1024)
    assert all(before[name] <= after[name] for name in names[:-1])


def test_whoever_is_not_seen_yet_counts_itself() -> None:
    assert share("new", ["old"], 64) == share("new", ["old", "new"], 64)
    assert share("alone", [], 8) == set(range(8))


# --- taking -----------------------------------------------------------------------------------------------------------


def test_one_worker_takes_everything_with_its_chats_and_reads_its_inboxes(place: Place, hire: Hire) -> None:
    user, store = user_in(place.keys, 3), place.store()
    record = chat_record(user)
    lease = take(store, 3)
    store.commit(lease, Commit(user_id=user, record=record))
    store.release(lease)
    worker = hire(place, "w1").start()
    assert worker.ownership.first_round.wait(5)
    assert worker.ownership.partitions == ALL
    gained = {one.lease.partition: one for one in worker.heard.wait_for(PartitionGained, PARTITIONS)}
    assert sorted(gained) == ALL
    assert (gained[3].records, gained[4].records) == ((record,), ())
    assert worker.inbox.partitions == ALL


def test_the_guard_is_long_where_the_last_owner_did_not_let_go(place: Place, hire: Hire) -> None:
    store = place.store()
    store.release(take(store, 1, "gone"))
    store.claim(2, "crashed", ttl_ms=20)
    worker = hire(place, "w1").start()
    gained = worker.heard.wait_for(PartitionGained, PARTITIONS)
    guards = {one.lease.partition: one.first_poll_delay_s for one in gained}
    assert (guards[0], guards[1], guards[2]) == (POLL_DELAY_RELEASED_S, POLL_DELAY_RELEASED_S, POLL_DELAY_EXPIRED_S)


def test_a_worker_that_comes_is_given_its_share(place: Place, hire: Hire) -> None:
    first = hire(place, "w1").start()
    wait_for(lambda: first.ownership.partitions == ALL)
    second = hire(place, "w2").start()
    parts = shares(["w1", "w2"], PARTITIONS)
    assert all(parts.values()), "these names must share"
    wait_for(lambda: first.held == parts["w1"] and set(second.gained) == parts["w2"])
    assert sorted(first.lost) == sorted(parts["w2"])
    assert first.inbox.partitions == sorted(parts["w1"])
    guards = {one.first_poll_delay_s for one in second.heard.of(PartitionGained)}
    assert guards == {POLL_DELAY_RELEASED_S}


def test_two_owners_never_hold_the_same_partition_at_the_same_moment(place: Place, hire: Hire) -> None:
    workers: list[Worker] = []
    both: list[set[int]] = []
    looking = True

    def look() -> None:
        while looking:
            held = [worker.held for worker in workers]
            both.extend(a & b for i, a in enumerate(held) for b in held[i + 1 :] if a & b)
            gevent.sleep(0)

    watcher = gevent.spawn(look)
    for name in ("w1", "w2", "w3"):
        workers.append(hire(place, name).start())
        wait_for(lambda: sorted(p for worker in workers for p in worker.held) == ALL)
        wait_for(lambda: all(w.held == share(w.name, [o.name for o in workers], PARTITIONS) for w in workers))
    for leaving in (workers[0], workers[1]):
        leaving.stop()
        left = [worker for worker in workers if worker.held]
        wait_for(lambda: sorted(p for worker in workers for p in worker.held) == ALL)
        assert leaving not in left
    looking = False
    watcher.join()
    assert both == []


def test_what_is_released_is_taken_over_promptly(place: Place, hire: Hire) -> None:
    first, second = hire(place, "w1").start(), hire(place, "w2").start()
    wait_for(lambda: sorted(first.held | second.held) == ALL and first.held and second.held)
    began_s = time.monotonic()
    first.stop()
    wait_for(lambda: sorted(second.held) == ALL)
    assert time.monotonic() - began_s < 5, "it waited until the lease ended"
    assert first.held == set()


def test_what_a_dead_worker_held_is_taken_over_promptly(place: Place, hire: Hire) -> None:
    store = place.store()
    for partition in ALL:
        take(store, partition, "here/12/x")
    store.living("here/12/x", ttl_ms=60_000)
    worker = hire(place, "here/13/y").start()
    assert worker.ownership.first_round.wait(5)
    assert worker.gained == []
    assert store.release_all({"here/12/x"}.__contains__) == PARTITIONS
    gained = worker.heard.wait_for(PartitionGained, PARTITIONS)
    assert sorted(worker.held) == ALL
    assert {one.first_poll_delay_s for one in gained} == {POLL_DELAY_RELEASED_S}


def test_a_record_that_cannot_be_read_ends_its_chat_and_the_bot_is_told(place: Place, hire: Hire) -> None:
    user, other, store = user_in(place.keys, 3), user_in(place.keys, 3, 1), place.store()
    lease = take(store, 3)
    for who in (user, other):
        store.commit(lease, Commit(user_id=who, record=active_chat(who)))
    raw: Any = place.raw.hget(place.keys.of(3, "chats"), user)
    place.raw.hset(place.keys.of(3, "chats"), user, raw.replace(b'"state":"active"', b'"state":"on the moon"'))
    store.release(lease)
    worker = hire(place, "w1").start()
    gained = {one.lease.partition: one for one in worker.heard.wait_for(PartitionGained, PARTITIONS)}
    records = {record.request.user_id: record for record in gained[3].records}
    assert set(records) == {user, other}
    ended = records[user]
    assert (ended.state, ended.leaving, ended.end) == (ChatState.CLOSING, True, ChatState.FAILED)
    assert ended.to_bot is not None
    assert ended.to_bot.state == "timeout"
    assert store.chat(user) == ended
    [(_, letter)] = place.letters().all()
    assert (letter.user_id, letter.direction, letter.reason) == (user, "record", "the record cannot be read")
    assert "on the moon" in letter.delivery.text


def test_a_record_of_which_nothing_can_be_read_is_a_dead_letter_and_its_user_may_begin_again(
    place: Place, hire: Hire
) -> None:
    user, store = user_in(place.keys, 3), place.store()
    place.raw.hset(place.keys.of(3, "chats"), user, b"\xff{no json")
    worker = hire(place, "w1").start()
    worker.heard.wait_for(PartitionGained, PARTITIONS)
    assert store.chat(user) is None
    [(_, letter)] = place.letters().all()
    assert letter.user_id == user


def test_a_partition_that_cannot_be_served_does_not_keep_the_others_without_an_owner(
    place: Place, hire: Hire, caplog: pytest.LogCaptureFixture
) -> None:
    place.raw.set(place.keys.of(3, "chats"), "of another kind")
    worker = hire(place, "w1").start()
    wait_for(lambda: sorted(worker.held) == [p for p in ALL if p != 3])
    assert worker.ownership.first_round.wait(5)
    assert "partition 3 cannot be served" in caplog.text
    assert place.store().claim(3, "w2", ttl_ms=1) is not None, "its lease was not given back"


def test_a_partition_with_a_record_of_a_newer_version_is_left_to_that_version(place: Place, hire: Hire) -> None:
    user, store = user_in(place.keys, 3), place.store()
    lease = take(store, 3)
    store.commit(lease, Commit(user_id=user, record=chat_record(user, version=99)))
    before = place.raw.hgetall(place.keys.of(3, "chats"))
    store.release(lease)
    worker = hire(place, "w1").start()
    wait_for(lambda: sorted(worker.held) == [p for p in ALL if p != 3])
    assert place.raw.hgetall(place.keys.of(3, "chats")) == before


# --- keeping and losing -----------------------------------------------------------------------------------------------


def test_leases_are_renewed_long_before_they_end(place: Place, hire: Hire) -> None:
    worker = hire(place, "w1", lease_ttl_ms=400).start()
    wait_for(lambda: sorted(worker.held) == ALL)
    ends_s = time.monotonic() + 0.6
    while time.monotonic() < ends_s:
        assert sorted(worker.held) == ALL
        gevent.sleep(0.01)
    assert worker.lost == []


def test_a_lease_that_was_taken_away_is_lost(place: Place, hire: Hire) -> None:
    worker = hire(place, "w1").start()
    wait_for(lambda: sorted(worker.held) == ALL)
    place.raw.set(place.keys.of(3, "lease"), "another:99")
    wait_for(lambda: worker.lost == [3])
    settle()
    assert sorted(worker.held) == [p for p in ALL if p != 3]
    assert 3 not in worker.inbox.partitions


@pytest.mark.redis
@pytest.mark.parametrize("how", ["cut off", "no answer"])
def test_a_lease_that_cannot_be_renewed_is_dropped_before_it_ends(
    redis_server: RedisServer, hire: Hire, how: str
) -> None:
    line = Proxy(redis_server.port)
    place = Place(line.address)
    worker = hire(place, "w1", lease_ttl_ms=4000).start()
    wait_for(lambda: sorted(worker.held) == ALL)
    direct: Any = redis_server.client()
    if how == "cut off":
        line.close()
    else:
        line.silent = True
    wait_for(lambda: sorted(worker.lost) == ALL)
    assert worker.held == set()
    if how == "cut off":
        left = [direct.pttl(place.keys.of(partition, "lease")) for partition in ALL]
        assert min(left) > 0, "the store had ended a lease that its holder still believed in"
    assert worker.inbox.partitions == []
    line.close()


def test_a_renewal_that_comes_too_late_revives_nothing(
    embedded: Place, hire: Hire, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = hire(embedded, "w1").start()
    wait_for(lambda: sorted(worker.held) == ALL)
    old = worker.ownership._leases[3]
    renew, late = worker.store.renew, [old]

    def renew_late(lease: Lease, *, ttl_ms: int) -> bool:
        renewed = renew(lease, ttl_ms=ttl_ms)
        if lease in late:
            late.remove(lease)
            lease.deadline_s = 0.0
        return renewed

    monkeypatch.setattr(worker.store, "renew", renew_late)
    wait_for(lambda: worker.gained.count(3) == 2)
    assert worker.lost == [3]
    assert not old.held
    assert worker.ownership._leases[3].value != old.value
    assert sorted(worker.held) == ALL


def test_chats_that_do_not_come_to_rest_keep_no_lease_from_being_renewed(embedded: Place, hire: Hire) -> None:
    restless = hire(embedded, "w1", rests=False, lease_ttl_ms=2000, hand_over_s=10.0).start()
    wait_for(lambda: sorted(restless.held) == ALL)
    hire(embedded, "w2").start()
    restless.heard.wait_for(DrainPartitions)
    ends_s = time.monotonic() + 3.0
    while time.monotonic() < ends_s:
        assert sorted(restless.held) == ALL
        gevent.sleep(0.01)
    assert restless.lost == []


def test_an_error_that_nobody_foresaw_ends_no_ownership(
    embedded: Place, hire: Hire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = hire(embedded, "w1")
    living, stumbles = worker.store.living, [KeyError("once")]

    def stumble(name: str, *, ttl_ms: int) -> list[str]:
        if stumbles:
            raise stumbles.pop()
        return living(name, ttl_ms=ttl_ms)

    monkeypatch.setattr(worker.store, "living", stumble)
    worker.start()
    wait_for(lambda: sorted(worker.held) == ALL)
    assert "the ownership's round failed" in caplog.text


# --- giving up --------------------------------------------------------------------------------------------------------


def test_a_stop_brings_the_chats_to_rest_before_it_frees_anything(place: Place, hire: Hire) -> None:
    worker = hire(place, "w1", rests=False).start()
    wait_for(lambda: sorted(worker.held) == ALL)
    at_rest, store = Event(), place.store()
    worker.heard.replies[DrainPartitions] = lambda drain: at_rest
    stopping = gevent.spawn(worker.stop)
    drains = worker.heard.wait_for(DrainPartitions, PARTITIONS)
    settle()
    assert sorted(partition for drain in drains for partition in drain.partitions) == ALL
    assert worker.inbox.partitions == [], "nothing new may be read while they come to rest"
    assert store.claim(3, "w2", ttl_ms=1000) is None
    assert worker.lost == []
    at_rest.set()
    stopping.get(timeout=5)
    claim = store.claim(3, "w2", ttl_ms=1000)
    assert claim is not None
    assert claim.released
    assert sorted(worker.lost) == ALL
    assert not [gained for gained in worker.heard.of(PartitionGained) if gained.lease.held], "its chats would go on"
    assert store.living("w2", ttl_ms=60_000) == ["w2"]


def test_a_partition_at_rest_does_not_wait_for_another_to_be_given_up(place: Place, hire: Hire) -> None:
    worker = hire(place, "w1").start()
    wait_for(lambda: sorted(worker.held) == ALL)
    never = Event()
    at_rest = Event()
    at_rest.set()
    worker.heard.replies[DrainPartitions] = lambda drain: never if 3 in drain.partitions else at_rest
    stopping = gevent.spawn(worker.stop, 10)
    wait_for(lambda: sorted(worker.lost) == [p for p in ALL if p != 3])
    wait_for(lambda: place.store().claim(4, "w2", ttl_ms=1000))
    assert place.store().claim(3, "w2", ttl_ms=1000) is None
    never.set()
    stopping.get(timeout=5)


def test_a_stop_does_not_wait_for_the_restless_past_its_deadline(embedded: Place, hire: Hire) -> None:
    worker = hire(embedded, "w1", rests=False).start()
    wait_for(lambda: sorted(worker.held) == ALL)
    began_s = time.monotonic()
    worker.stop(0.5)
    assert 0.4 < time.monotonic() - began_s < 5
    assert worker.store.claim(3, "w2", ttl_ms=1000) is not None


@pytest.mark.redis
def test_a_stop_ends_in_time_without_a_store(
    redis_server: RedisServer, hire: Hire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.actors.store.connections.SOCKET_TIMEOUT_S", 1.0)
    line = Proxy(redis_server.port)
    worker = hire(Place(line.address), "w1").start()
    wait_for(lambda: sorted(worker.held) == ALL)
    line.silent = True
    began_s = time.monotonic()
    worker.stop(1.0)
    # A round under way, one renewal, one release and one farewell are given up, not one release a partition.
    assert time.monotonic() - began_s < 4 * 1.0 + 2
    assert worker.held == set()
    assert sorted(worker.lost) == ALL
    line.close()


def test_a_registry_that_is_gone_does_not_keep_a_stop_from_freeing_all(embedded: Place, hire: Hire) -> None:
    worker = hire(embedded, "w1").start()
    wait_for(lambda: sorted(worker.held) == ALL)
    worker.heard.ref.stop()
    worker.stop()
    assert embedded.store().claim(3, "w2", ttl_ms=1000) is not None


def test_a_lease_is_held_until_it_is_given_up_or_past_its_deadline() -> None:
    lease = Lease(1, "w:1", deadline_s=lease_clock_s() + 0.05)
    assert lease.held
    wait_for(lambda: not lease.held, 1)
    other = Lease(1, "w:1", deadline_s=lease_clock_s() + 60)
    other.give_up()
    assert not other.held
