"""Answers to asks: each to whoever asked, once, or an end to the waiting."""

from __future__ import annotations

import time
from collections.abc import Iterator

import gevent
import pytest
from actor_parts import Place, Proxy, RedisServer, settle, wait_for

from bridge.actors.inbox.replies import Replies
from bridge.errors import AnswerTimeout
from bridge.messages import Answer, Ask


def listen(place: Place, worker: str = "w1") -> Replies:
    client = place.connections.client(blocking_s=0.05)
    replies = Replies(client, place.keys.replies(worker))
    replies.start()
    return replies


@pytest.fixture
def replies(place: Place) -> Iterator[Replies]:
    replies = listen(place)
    yield replies
    replies.stop()


def test_an_answer_reaches_whoever_asked(place: Place, replies: Replies) -> None:
    store = place.store()
    asks = [replies.expect() for _ in range(3)]
    waiting = [gevent.spawn(replies.wait, ask, timeout_s=5) for ask in asks]
    for number in (2, 0, 1):
        store.reply(asks[number], Answer("ok", f"for {number}"))
    assert [one.get(timeout=5) for one in waiting] == [Answer("ok", f"for {number}") for number in range(3)]


def test_an_answer_that_comes_before_anybody_waits_is_not_lost(place: Place, replies: Replies) -> None:
    store = place.store()
    early, later = replies.expect(), replies.expect()
    store.reply(early, Answer("exists"))
    store.reply(later, Answer("ok"))
    assert replies.wait(later, timeout_s=5) == Answer("ok")
    assert replies.wait(early, timeout_s=0) == Answer("exists")


def test_waiting_ends_in_time(replies: Replies) -> None:
    began_s = time.monotonic()
    with pytest.raises(AnswerTimeout, match=r"no answer within 0\.1 s"):
        replies.wait(replies.expect(), timeout_s=0.1)
    assert 0.1 <= time.monotonic() - began_s < 5


def test_nothing_is_remembered_of_asks_that_are_over(place: Place, replies: Replies) -> None:
    store, ask, given_up, dropped = place.store(), *(replies.expect() for _ in range(3))
    with pytest.raises(AnswerTimeout):
        replies.wait(given_up, timeout_s=0)
    replies.drop(dropped)
    store.reply(ask, Answer("ok"))
    replies.wait(ask, timeout_s=5)
    assert replies._waiting == {}


def test_late_unknown_and_repeated_answers_harm_nobody(place: Place, replies: Replies) -> None:
    store, ask = place.store(), replies.expect()
    for correlation_id in ("unknown", ask.correlation_id, ask.correlation_id):
        store.reply(Ask(ask.reply_to, correlation_id), Answer("ok"))
    assert replies.wait(ask, timeout_s=5) == Answer("ok")
    store.reply(ask, Answer("refused"))
    again = replies.expect()
    store.reply(again, Answer("absent"))
    assert replies.wait(again, timeout_s=5) == Answer("absent")


def test_an_answer_that_cannot_be_read_does_not_stop_the_next(place: Place, replies: Replies) -> None:
    store, broken, whole = place.store(), replies.expect(), replies.expect()
    place.raw.xadd(broken.reply_to, {"id": broken.correlation_id, "answer": "{"})
    store.reply(whole, Answer("ok"))
    assert replies.wait(whole, timeout_s=5) == Answer("ok")


def test_each_worker_hears_its_own_answers_alone(place: Place, replies: Replies) -> None:
    other = listen(place, "w2")
    try:
        mine, theirs = replies.expect(), other.expect()
        store = place.store()
        store.reply(theirs, Answer("ok", "theirs"))
        store.reply(mine, Answer("ok", "mine"))
        assert replies.wait(mine, timeout_s=5).sentence == "mine"
        assert other.wait(theirs, timeout_s=5).sentence == "theirs"
    finally:
        other.stop()


@pytest.mark.redis
def test_answers_given_while_the_line_was_down_are_heard_afterwards(redis_server: RedisServer) -> None:
    line = Proxy(redis_server.port)
    behind, direct = Place(line.address), Place(redis_server.address)
    direct.client, direct.keys = behind.client, behind.keys
    replies, store = listen(behind), direct.store()
    first, second = replies.expect(), replies.expect()
    store.reply(first, Answer("ok", "before"))
    assert replies.wait(first, timeout_s=5).sentence == "before"
    line.close()
    store.reply(second, Answer("ok", "meanwhile"))
    settle()
    line.reopen()
    assert replies.wait(second, timeout_s=5).sentence == "meanwhile"
    replies.stop()
    line.close()


def test_a_stop_ends_the_reading(place: Place) -> None:
    replies = listen(place)
    replies.stop()
    assert wait_for(lambda: replies._greenlet is not None and replies._greenlet.ready())
