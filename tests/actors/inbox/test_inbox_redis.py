"""The feed: what lies in the inboxes reaches the registry, each entry once, in order, whatever happens to the line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
import redis
from actor_parts import Heard, Place, Proxy, RedisServer, chat_record, said, settle, take, user_in, wait_for, wants_chat

from bridge.actors.door import ActorDoor
from bridge.actors.inbox import redis as feed_module
from bridge.actors.inbox.redis import RedisInbox
from bridge.actors.inbox.replies import Replies
from bridge.actors.protocol import Entry
from bridge.actors.store.store import Commit, Store
from bridge.messages import Answer, Ask, ConnectRequested, FinishRequested, UserMessageReceived, encode_event

USER = "5215573735001"


class Household:
    """A user with an open chat, so that what is posted goes to the inbox."""

    def __init__(self, store: Store, user: str) -> None:
        self.store = store
        self.user = user
        self.partition = store.keys.partition(user)
        self.lease = take(store, self.partition)
        store.commit(self.lease, Commit(user_id=user, record=chat_record(user)))

    def says(self, *texts: str) -> None:
        for text in texts:
            message = said(text, user=self.user)
            assert self.store.post(message, UserMessageReceived(message)) == "inbox"


def texts(heard: Heard) -> list[str]:
    return [entry.event.message.text for entry in heard.of(Entry) if isinstance(entry.event, UserMessageReceived)]


def heard_all(heard: Heard, *expected: str) -> None:
    wait_for(lambda: len(heard.of(Entry)) >= len(expected))
    settle()
    assert texts(heard) == list(expected)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def feed_on(heard: Heard) -> Iterator[Callable[..., RedisInbox]]:
    feeds: list[RedisInbox] = []

    def start(place: Place, *partitions: int) -> RedisInbox:
        feeds.append(place.engine())
        for partition in partitions:
            feeds[-1].assigned(partition)
        feeds[-1].start(heard.ref)
        return feeds[-1]

    yield start
    for feed in feeds:
        feed.stop()


FeedOn = Callable[..., RedisInbox]


def test_what_lay_there_comes_first_and_then_what_comes(place: Place, heard: Heard, feed_on: FeedOn) -> None:
    house = Household(place.store(), USER)
    house.says("1", "2")
    feed_on(place, house.partition)
    heard_all(heard, "1", "2")
    house.says("3")
    house.says("4", "5")
    heard_all(heard, "1", "2", "3", "4", "5")
    entry = heard.of(Entry)[0]
    assert (entry.partition, entry.entry_id) == (house.partition, place.inbox(USER)[0])


def test_reading_takes_nothing_away(place: Place, heard: Heard, feed_on: FeedOn) -> None:
    house = Household(place.store(), USER)
    house.says("1", "2")
    feed_on(place, house.partition)
    heard_all(heard, "1", "2")
    assert place.inbox(USER) == [entry.entry_id for entry in heard.of(Entry)]


def test_more_than_one_read_holds_comes_all_the_same(
    place: Place, heard: Heard, feed_on: FeedOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "BATCH", 7)
    house, expected = Household(place.store(), USER), [str(number) for number in range(100)]
    house.says(*expected)
    feed_on(place, house.partition)
    heard_all(heard, *expected)


def test_each_partition_keeps_its_own_order(place: Place, heard: Heard, feed_on: FeedOn) -> None:
    store = place.store()
    houses = [Household(store, user_in(store.keys, partition)) for partition in (0, 3, 7)]
    feed_on(place, 0, 3, 7)
    for number in range(20):
        for house in houses:
            house.says(f"{house.partition}-{number}")
    wait_for(lambda: len(heard) == 60)
    for house in houses:
        mine = [text for text in texts(heard) if text.startswith(f"{house.partition}-")]
        assert mine == [f"{house.partition}-{number}" for number in range(20)]


def test_a_partition_that_is_added_while_it_reads_is_read_from_its_start(
    place: Place, heard: Heard, feed_on: FeedOn
) -> None:
    store = place.store()
    first, second = (Household(store, user_in(store.keys, partition)) for partition in (1, 2))
    second.says("earlier")
    feed = feed_on(place, 1)
    first.says("one")
    heard_all(heard, "one")
    feed.assigned(2)
    heard_all(heard, "one", "earlier")


def test_a_partition_that_is_removed_is_heard_no_more(place: Place, heard: Heard, feed_on: FeedOn) -> None:
    store = place.store()
    gone, kept = (Household(store, user_in(store.keys, partition)) for partition in (1, 2))
    feed = feed_on(place, 1, 2)
    gone.says("before")
    heard_all(heard, "before")
    feed.revoked([1])
    gone.says("after")
    kept.says("kept 1")
    heard_all(heard, "before", "kept 1")
    kept.says("kept 2")
    heard_all(heard, "before", "kept 1", "kept 2")


def test_a_partition_that_comes_back_is_read_from_its_start_again(place: Place, heard: Heard, feed_on: FeedOn) -> None:
    house = Household(place.store(), USER)
    feed = feed_on(place, house.partition)
    house.says("1", "2")
    heard_all(heard, "1", "2")
    feed.revoked([house.partition])
    feed.assigned(house.partition)
    house.says("3")
    heard_all(heard, "1", "2", "1", "2", "3")


class SwitchingRegistry:
    """A read during which the partition is lost and gained again."""

    def __init__(self, client: redis.Redis, between: Callable[[], None]) -> None:
        self._client = client
        self._between = between

    def xread(self, *args: Any, **options: Any) -> Any:
        answer = self._client.xread(*args, **options)
        between, self._between = self._between, lambda: None
        between()
        return answer


def test_a_read_from_before_a_partition_was_lost_counts_for_nothing(embedded: Place, heard: Heard) -> None:
    house = Household(embedded.store(), USER)
    house.says("1", "2")

    def lose_and_gain() -> None:
        feed.revoked([house.partition])
        feed.assigned(house.partition)
        house.says("3")

    client: Any = SwitchingRegistry(embedded.connections.client(), lose_and_gain)
    feed = embedded.engine()
    feed._reader = client
    feed.assigned(house.partition)
    feed._cursors[house.partition].position = embedded.inbox(USER)[0]
    feed.start(heard.ref)
    heard_all(heard, "1", "2", "3")
    feed.stop()


def test_an_entry_that_cannot_be_read_is_left_there_and_holds_up_nobody(
    place: Place, heard: Heard, feed_on: FeedOn, caplog: pytest.LogCaptureFixture
) -> None:
    house = Household(place.store(), USER)
    inbox = place.keys.of(house.partition, "inbox")
    house.says("1")
    place.raw.xadd(inbox, {"user": USER, "event": "{broken"})
    place.raw.xadd(inbox, {"something": "else"})
    house.says("2")
    feed_on(place, house.partition)
    heard_all(heard, "1", "2")
    assert len(place.inbox(USER)) == 4
    assert caplog.text.count("cannot be read and is left there") == 2


@pytest.mark.redis
def test_after_an_error_nothing_is_lost_and_nothing_comes_twice(
    redis_server: RedisServer, heard: Heard, feed_on: FeedOn
) -> None:
    line = Proxy(redis_server.port)
    behind, direct = Place(line.address), Place(redis_server.address)
    direct.client, direct.keys = behind.client, behind.keys
    house = Household(direct.store(), USER)
    feed_on(behind, house.partition)
    house.says("1")
    heard_all(heard, "1")
    expected = ["1"]
    for number in range(3):
        line.close()
        house.says(f"down {number}")
        line.reopen()
        house.says(f"up {number}")
        expected += [f"down {number}", f"up {number}"]
        heard_all(heard, *expected)
        # An entry that was handled meanwhile is gone, and those that were not are not told again.
        direct.raw.xdel(direct.keys.of(house.partition, "inbox"), direct.inbox(USER)[0])
    line.close()


@pytest.mark.redis
def test_an_answer_that_got_lost_on_its_way_is_asked_for_again(
    redis_server: RedisServer, heard: Heard, feed_on: FeedOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.actors.store.connections.SOCKET_TIMEOUT_S", 0.1)
    line = Proxy(redis_server.port)
    behind, direct = Place(line.address), Place(redis_server.address)
    direct.client, direct.keys = behind.client, behind.keys
    house = Household(direct.store(), USER)
    feed_on(behind, house.partition)
    house.says("1")
    heard_all(heard, "1")
    line.silent = True
    house.says("2", "3")
    assert line.cut() >= 1
    line.silent = False
    heard_all(heard, "1", "2", "3")
    line.close()


@pytest.mark.redis
def test_after_a_fail_over_that_took_the_ids_back_nothing_is_passed_over(
    redis_server: RedisServer, heard: Heard, feed_on: FeedOn
) -> None:
    line = Proxy(redis_server.port)
    behind, direct = Place(line.address), Place(redis_server.address)
    direct.client, direct.keys = behind.client, behind.keys
    house = Household(direct.store(), USER)
    feed_on(behind, house.partition)
    house.says("1")
    heard_all(heard, "1")
    inbox: Any = direct.keys.of(house.partition, "inbox")
    line.close()
    direct.raw.delete(inbox)
    direct.raw.xadd(inbox, _fields("after the fail-over"), id="5-0")
    line.reopen()
    heard_all(heard, "1", "after the fail-over")
    line.close()


def _fields(text: str) -> Any:
    return {"user": USER, "event": encode_event(UserMessageReceived(said(text)))}


def test_a_feed_without_partitions_waits_for_one(place: Place, heard: Heard, feed_on: FeedOn) -> None:
    feed = feed_on(place)
    house = Household(place.store(), USER)
    house.says("1")
    settle()
    assert heard == []
    feed.assigned(house.partition)
    heard_all(heard, "1")


def test_what_is_told_is_remembered_but_not_without_end() -> None:
    cursor = feed_module.Cursor()
    for number in range(feed_module.TOLD_KEPT + 10):
        assert cursor.is_news(f"{number}-0")
    assert not cursor.is_news(f"{feed_module.TOLD_KEPT}-0")
    assert len(cursor._told) == feed_module.TOLD_KEPT


def test_a_stop_ends_the_reading(place: Place, heard: Heard) -> None:
    feed = place.engine()
    feed.assigned(1)
    feed.start(heard.ref)
    feed.stop()
    assert feed._greenlet is not None
    assert feed._greenlet.ready()


def test_an_ask_that_is_appended_again_is_there_once(place: Place) -> None:
    inbox = place.engine()
    for ask in (Ask("replies", "7", 1), Ask("replies", "7", 1), Ask("replies", "8", 1)):
        inbox.append(FinishRequested(USER, ask))
    assert len(inbox.read(USER)) == 2


@pytest.mark.redis
def test_an_ask_whose_append_was_not_confirmed_gets_its_answer(redis_server: RedisServer) -> None:
    line = Proxy(redis_server.port)
    behind, direct = Place(line.address), Place(redis_server.address)
    direct.client, direct.keys = behind.client, behind.keys
    replies = Replies(direct.connections.client(blocking_s=0.05), direct.keys.replies("w1"))
    replies.start()
    inbox, looking = behind.engine(), direct.engine()
    inbox.append(FinishRequested(USER, Ask("replies", "earlier", 1)))
    door = ActorDoor(direct.store(), inbox, replies, timeout_s=10)
    line.silent = True
    asking = gevent.spawn(door.connect, wants_chat(USER))
    wait_for(lambda: len(looking.read(USER)) == 2)
    line.silent = False
    line.cut()
    entry = looking.read(USER)[-1]
    assert isinstance(entry.event, ConnectRequested)
    assert entry.event.ask is not None
    direct.store().reply(entry.event.ask, Answer("ok"))
    assert asking.get(timeout=10).code == "ok"
    assert len(looking.read(USER)) == 2
    replies.stop()
    line.close()
