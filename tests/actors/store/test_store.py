"""The store, on both engines: each write whole or not at all, and only by the owner."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gevent
import msgspec
import pytest
from actor_parts import (
    PARTITIONS,
    Place,
    Proxy,
    RedisServer,
    chat_record,
    desk_session,
    now_ms,
    require_redis,
    said,
    take,
    user_in,
    wait_for,
    wants_chat,
)

from bridge.actors.inbox.redis import RedisInbox
from bridge.actors.leases import Lease
from bridge.actors.store import store as store_module
from bridge.actors.store.store import Commit, Store
from bridge.errors import Fenced, MailboxFull, RecordTooLarge, StoreUnavailable
from bridge.messages import (
    Answer,
    Ask,
    ConnectRequested,
    LeaveRequested,
    Media,
    UserMessage,
    UserMessageReceived,
    user_key,
)
from bridge.records import ChatRecord, ChatState, DeadLetter, Delivery, FlightEntry, decode_record

USER = "5215573735001"
DAY_S = 86_400


def post(store: Store, message: UserMessage) -> str:
    return store.post(message, UserMessageReceived(message))


def open_chat(store: Store, user: str = USER, **more: Any) -> tuple[Lease, ChatRecord]:
    lease, record = take(store, user), chat_record(user, **more)
    store.commit(lease, Commit(user_id=user, record=record))
    return lease, record


def texts(store: Store, user: str = USER) -> list[str]:
    return [entry.text for entry in store.context(user)]


def owed(text: str = "hola", number: int = 1) -> Delivery:
    return Delivery(id=f"c-a{number}", text=text, owed_since_ms=now_ms())


def letter(text: str = "adiós") -> DeadLetter:
    return DeadLetter(
        chat_id="c",
        user_id=USER,
        provider="whatsapp",
        direction="to_user",
        at_ms=now_ms(),
        reason="no",
        delivery=owed(text),
    )


def flew(event: str) -> FlightEntry:
    return FlightEntry(at_ms=now_ms(), event=event, before=ChatState.NEW, after=ChatState.CONNECTING)


# --- posting ----------------------------------------------------------------------------------------------------------


def test_what_a_user_without_a_chat_says_becomes_context(place: Place, store: Store) -> None:
    assert post(store, said("hola")) == "context"
    assert texts(store) == ["hola"]
    assert place.inbox(USER) == []


def test_what_a_user_with_a_chat_says_goes_to_the_inbox(place: Place, store: Store, engine: RedisInbox) -> None:
    open_chat(store)
    message = said("hola")
    assert post(store, message) == "inbox"
    [entry] = engine.read(USER)
    assert entry.event == UserMessageReceived(message)
    assert place.inbox(USER) == [entry.entry_id]
    assert store.context(USER) == []


def test_another_users_chat_takes_nothing_of_mine(place: Place, store: Store, engine: RedisInbox) -> None:
    partition = store.keys.partition(USER)
    neighbour = user_in(store.keys, partition)
    open_chat(store, neighbour)
    assert post(store, said("mine")) == "context"
    assert engine.read(neighbour) == []


def test_what_the_bot_says_is_context_even_in_a_chat(store: Store) -> None:
    open_chat(store)
    assert store.post(said("soy el bot", sender="bot"), None) == "context"
    assert [(entry.text, entry.sender) for entry in store.context(USER)] == [("soy el bot", "bot")]


@pytest.mark.parametrize("talking", [False, True])
def test_a_repeat_changes_nothing(place: Place, store: Store, talking: bool) -> None:
    if talking:
        open_chat(store)
    message = said("once")
    first = post(store, message)
    before = place.everything()
    assert (first, post(store, message)) == ("inbox" if talking else "context", "repeat")
    assert place.everything() == before


def test_a_repeat_in_other_words_is_a_repeat_all_the_same(store: Store) -> None:
    message = said("once")
    post(store, message)
    assert post(store, msgspec.structs.replace(message, text="twice")) == "repeat"
    assert texts(store) == ["once"]


def test_the_same_id_of_another_user_of_the_partition_is_another_message(store: Store) -> None:
    neighbour = user_in(store.keys, store.keys.partition(USER))
    message = said("mine")
    assert post(store, message) == "context"
    assert post(store, msgspec.structs.replace(message, user_id=neighbour, text="theirs")) == "context"
    assert texts(store, neighbour) == ["theirs"]


def test_the_same_id_on_another_channel_is_another_message(store: Store) -> None:
    message = said("here")
    post(store, message)
    assert post(store, msgspec.structs.replace(message, provider="facebook", text="there")) == "context"
    assert texts(store) == ["here"]
    assert texts(store, user_key(USER, "facebook")) == ["there"]


def test_a_repeat_is_remembered_for_eight_days_from_the_last_time(place: Place, store: Store) -> None:
    message = said()
    post(store, message)
    key = store.keys.seen(store.keys.partition(USER), USER, message.provider, message.message_id)
    place.raw.expire(key, 5)
    assert post(store, message) == "repeat"
    left: Any = place.raw.ttl(key)
    assert left == pytest.approx(8 * DAY_S, abs=5)


def test_a_full_mailbox_is_refused_and_the_message_may_come_again(place: Place) -> None:
    store = place.store(mailbox_limit=2)
    lease, record = open_chat(store)
    message = said("three")
    assert [post(store, said(text)) for text in ("one", "two")] == ["inbox", "inbox"]
    with pytest.raises(MailboxFull):
        post(store, message)
    step = msgspec.structs.replace(record, step=1, to_agent=[owed()])
    store.commit(lease, Commit(user_id=USER, record=step, position=place.inbox(USER)))
    assert post(store, message) == "inbox"
    with pytest.raises(MailboxFull):
        post(store, said("four"))


def test_a_mailbox_is_full_in_bytes_as_well_and_has_room_again_when_its_entries_are_done(
    place: Place, store: Store
) -> None:
    lease, record = open_chat(store)
    for _ in range(4):
        assert post(store, said("x" * 1_000_000)) == "inbox"
    with pytest.raises(MailboxFull):
        post(store, said("x" * 1_000_000))
    step = msgspec.structs.replace(record, step=1)
    store.commit(lease, Commit(user_id=USER, record=step, position=place.inbox(USER)))
    assert post(store, said("x" * 1_000_000)) == "inbox"


def test_what_a_record_owes_and_what_is_in_the_inbox_are_counted_together(place: Place) -> None:
    store = place.store(mailbox_limit=3)
    lease, record = open_chat(store)
    for text in ("one", "two"):
        post(store, said(text))
    step = msgspec.structs.replace(record, step=1, to_agent=[owed("one")])
    store.commit(lease, Commit(user_id=USER, record=step, position=place.inbox(USER)[:1]))
    assert post(store, said("three")) == "inbox"
    with pytest.raises(MailboxFull):
        post(store, said("four"))


def test_a_record_that_is_too_large_is_not_written(store: Store) -> None:
    lease, record = open_chat(store)
    large = msgspec.structs.replace(record, step=1, to_agent=[owed("x" * store_module.RECORD_BYTES)])
    with pytest.raises(RecordTooLarge):
        store.commit(lease, Commit(user_id=USER, record=large))
    assert store.chat(USER) == record


def test_a_full_mailbox_is_one_users_alone(place: Place) -> None:
    store = place.store(mailbox_limit=1)
    neighbour = user_in(store.keys, store.keys.partition(USER))
    lease, _ = open_chat(store)
    store.commit(lease, Commit(user_id=neighbour, record=chat_record(neighbour)))
    post(store, said())
    assert post(store, said(user=neighbour)) == "inbox"


def test_messages_of_a_chat_that_ended_are_counted_from_zero(place: Place) -> None:
    store = place.store(mailbox_limit=1)
    lease, record = open_chat(store)
    post(store, said())
    ended = msgspec.structs.replace(record, state=ChatState.CLOSED, step=1)
    store.commit(lease, Commit(user_id=USER, record=ended, over=True, position=place.inbox(USER)))
    store.commit(lease, Commit(user_id=USER, record=chat_record()))
    assert post(store, said()) == "inbox"


# --- context ----------------------------------------------------------------------------------------------------------


def test_context_is_in_the_order_of_arrival_though_all_was_said_in_one_second(store: Store) -> None:
    now, words = now_ms(), ["1. Hola", "2. quiero devolver", "3. un pedido"]
    for number, text in enumerate(words):
        post(store, said(text, sent_at_ms=now, message_id=f"id-{9 - number}"))
    assert texts(store) == words


def test_context_of_one_commit_is_in_its_order_and_behind_what_was_there(store: Store) -> None:
    now = now_ms()
    post(store, said("before", sent_at_ms=now))
    messages = [said(text, sent_at_ms=now, message_id=text) for text in ("z", "y", "x")]
    store.commit(take(store, USER), Commit(user_id=USER, context=messages))
    assert texts(store) == ["before", "z", "y", "x"]


def test_context_of_an_earlier_version_is_read_and_comes_first(place: Place, store: Store) -> None:
    post(store, said("new"))
    key = store.keys.of(store.keys.partition(USER), "context", USER)
    [(raw, _)] = place.raw.zrange(key, 0, -1, withscores=True)
    place.raw.zadd(key, {raw.replace(b"new", b"old"): now_ms() - 1000})
    place.raw.zadd(key, {raw.replace(b"new", b"too old"): now_ms() - 2 * DAY_S * 1000})
    post(store, said("newer"))
    assert texts(store) == ["old", "new", "newer"]
    assert place.raw.zcard(key) == 3


def test_two_equal_texts_of_one_moment_are_two(store: Store) -> None:
    now = now_ms()
    post(store, said("sí", sent_at_ms=now))
    post(store, said("sí", sent_at_ms=now))
    assert texts(store) == ["sí", "sí"]


def test_context_keeps_the_newest_when_there_is_too_much(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "CONTEXT_LIMIT", 3)
    for number in (1, 2, 3, 4, 5):
        post(store, said(str(number)))
    assert texts(store) == ["3", "4", "5"]


def test_context_has_a_limit_in_bytes_and_keeps_the_newest(place: Place, store: Store) -> None:
    for number in range(12):
        post(store, said(f"{number} " + "x" * 100_000))
    assert [text.split()[0] for text in texts(store)] == [str(number) for number in range(2, 12)]
    post(store, said("the last"))
    assert texts(store)[-1] == "the last"
    size: Any = place.raw.get(store.keys.of(store.keys.partition(USER), "context_bytes", USER))
    assert int(size) <= store_module.CONTEXT_BYTES
    post(store, said("x" * 2_000_000))
    assert [len(text) for text in texts(store)] == [2_000_000], "one that is larger than all is not lost"


def test_context_from_a_commit_is_capped_as_well(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "CONTEXT_LIMIT", 3)
    now = now_ms()
    messages = [said(str(number), sent_at_ms=now + number) for number in range(5)]
    store.commit(take(store, USER), Commit(user_id=USER, context=messages))
    assert texts(store) == ["2", "3", "4"]


def test_context_is_forgotten_after_a_day(place: Place, store: Store) -> None:
    key = store.keys.of(store.keys.partition(USER), "context", USER)
    for age_s in (2 * DAY_S, DAY_S + 60, DAY_S - 60):
        post(store, said(str(age_s)))
        [(newest, _)] = place.raw.zrange(key, -1, -1, withscores=True)
        place.raw.zadd(key, {newest: (now_ms() - age_s * 1000) * 1000})
    assert texts(store) == [str(DAY_S - 60)]
    post(store, said("now"))
    assert place.raw.zcard(key) == 2
    left: Any = place.raw.ttl(key)
    assert left == pytest.approx(DAY_S, abs=5)


def test_context_shows_a_file_and_when_it_is_forgotten(store: Store) -> None:
    photo = Media("image", "https://media.example/1.jpg", "image/jpeg", "mira")
    post(store, said("", media=photo))
    [entry] = store.context(USER)
    assert (entry.url, entry.mime_type, entry.caption, entry.user_id) == (photo.url, "image/jpeg", "mira", USER)
    assert entry.ttl.endswith("Z")


# --- committing -------------------------------------------------------------------------------------------------------


def whole_step(entries: list[str], record: ChatRecord, *, over: bool = False) -> Commit:
    """A commit that writes everything that one can write."""
    return Commit(
        user_id=USER,
        record=record,
        over=over,
        position=entries,
        context=[said("salvaged", sent_at_ms=now_ms())],
        dead_letters=[letter()],
        flight=[flew("One"), flew("Two")],
    )


def flights(place: Place, record: ChatRecord) -> list[FlightEntry]:
    raw: Any = place.raw.lrange(place.keys.of(place.keys.partition(USER), "flight", record.chat_id), 0, -1)
    return [msgspec.json.decode(entry, type=FlightEntry) for entry in raw]


def letters(place: Place) -> list[DeadLetter]:
    raw: Any = place.raw.xrange(place.keys.of(place.keys.partition(USER), "dead"))
    return [msgspec.json.decode(fields[b"letter"], type=DeadLetter) for _, fields in raw]


def test_a_commit_writes_all_of_a_step_and_takes_its_entries_away(place: Place, store: Store) -> None:
    lease, record = open_chat(store)
    post(store, said("one"))
    post(store, said("two"))
    first, second = place.inbox(USER)
    newer = msgspec.structs.replace(record, step=1, to_agent=[owed()])
    store.commit(lease, whole_step([first], newer))
    assert place.inbox(USER) == [second]
    assert store.chat(USER) == newer
    assert texts(store) == ["salvaged"]
    assert [entry.event for entry in flights(place, record)] == ["One", "Two"]
    assert [dead.delivery.text for dead in letters(place)] == ["adiós"]


def test_a_fenced_commit_changes_nothing_at_all(place: Place, store: Store) -> None:
    lease, record = open_chat(store)
    post(store, said("one"))
    newer = msgspec.structs.replace(record, step=1)
    store.release(lease)
    other = take(store, USER, "w2")
    before = place.everything()
    for over in (False, True):
        with pytest.raises(Fenced):
            store.commit(lease, whole_step(place.inbox(USER), newer, over=over))
    assert place.everything() == before
    store.commit(other, Commit(user_id=USER, record=newer))
    assert store.chat(USER) == newer


def test_nobody_writes_without_a_lease(place: Place, store: Store) -> None:
    lease, record = open_chat(store)
    store.release(lease)
    before = place.everything()
    with pytest.raises(Fenced):
        store.commit(lease, whole_step([], record))
    assert place.everything() == before


@pytest.mark.parametrize("over", [False, True])
def test_a_commit_that_is_repeated_writes_once(place: Place, store: Store, over: bool) -> None:
    lease, record = open_chat(store)
    post(store, said("one"))
    end = ChatState.CLOSED if over else ChatState.ACTIVE
    step = whole_step(place.inbox(USER), msgspec.structs.replace(record, step=1, state=end), over=over)
    store.commit(lease, step)
    before = place.everything()
    store.commit(lease, step)
    assert place.everything() == before


def test_a_commit_without_a_record_may_be_repeated_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    lease, before = take(store, USER), datetime.now(UTC)
    step = Commit(user_id=USER, context=[said("kept")])
    store.commit(lease, step)
    [entry] = store.context(USER)
    forgotten = datetime.fromisoformat(entry.ttl) - before
    assert forgotten.total_seconds() == pytest.approx(DAY_S, abs=5)
    real = store_module._now_ms
    monkeypatch.setattr(store_module, "_now_ms", lambda: real() + 60_000)
    store.commit(lease, step)
    assert texts(store) == ["kept"]


def test_dead_letters_without_a_record_are_written_once_too(place: Place, store: Store, engine: RedisInbox) -> None:
    lease = take(store, USER)
    engine.append(ConnectRequested(wants_chat(USER)))
    step = Commit(user_id=USER, position=place.inbox(USER), dead_letters=[letter("one"), letter("two")])
    for _ in range(2):
        store.commit(lease, step)
    assert [dead.delivery.text for dead in letters(place)] == ["one", "two"]


def test_a_chat_that_is_over_leaves_an_ended_record_for_a_day(place: Place, store: Store) -> None:
    lease, record = open_chat(store, session=desk_session(), agent_name="Luz")
    ended = msgspec.structs.replace(record, state=ChatState.CLOSED, step=1, reason="ChatEnded: agent")
    store.commit(lease, Commit(user_id=USER, record=ended, over=True))
    partition = lease.partition
    assert store.chat(USER) is None
    assert store.chats(partition) == []
    assert not place.raw.hgetall(store.keys.of(partition, "loads")), "a count stays behind for every user for ever"
    raw: Any = place.raw.get(store.keys.of(partition, "ended", USER))
    kept = decode_record(raw)
    assert (kept.chat_id, kept.state, kept.reason) == (record.chat_id, ChatState.CLOSED, "ChatEnded: agent")
    assert kept.session is None, "its secrets are of no use any more"
    assert not [who for who in ("Ana", "Luz", f"{USER}@example.com") if who.encode() in raw]
    left: Any = place.raw.ttl(store.keys.of(partition, "ended", USER))
    assert left == pytest.approx(DAY_S, abs=5)
    assert post(store, said("later")) == "context"


def test_the_flight_record_keeps_the_last_five_hundred(place: Place, store: Store) -> None:
    lease, record = open_chat(store)
    for step in range(6):
        entries = [flew(f"{step}-{number}") for number in range(100)]
        newer = msgspec.structs.replace(record, step=step + 1)
        store.commit(lease, Commit(user_id=USER, record=newer, flight=entries))
    kept = flights(place, record)
    assert (len(kept), kept[0].event, kept[-1].event) == (500, "1-0", "5-99")


def test_every_open_chat_of_a_partition_is_read_and_an_unreadable_one_is_passed_over(
    place: Place, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    users = [user_in(store.keys, 3, number) for number in range(3)]
    lease = take(store, 3)
    for user in users:
        store.commit(lease, Commit(user_id=user, record=chat_record(user)))
    place.raw.hset(store.keys.of(3, "chats"), "broken", b'{"version":1}')
    assert {record.request.user_id for record in store.chats(3)} == set(users)
    assert "cannot be read" in caplog.text


# --- strange values ---------------------------------------------------------------------------------------------------

STRANGE = {
    "emoji": "👩🏽‍💻 ¿qué tal? \u202eأهلا 你好",
    "nul": "before\0after",
    "lines": 'a\r\nb\tc\\d"e',
    "lua": "]] return redis.call('FLUSHALL') --",
    "huge": "á" * 1_000_000,
    "empty": "",
}


@pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE)
def test_any_text_comes_back_as_it_was(place: Place, store: Store, text: str, engine: RedisInbox) -> None:
    post(store, said(text))
    assert texts(store) == [text]
    lease, record = open_chat(store, to_agent=[owed(text)])
    assert store.chat(USER) == record
    message = said(text)
    post(store, message)
    [entry] = engine.read(USER)
    assert entry.event == UserMessageReceived(message)
    store.commit(lease, Commit(user_id=USER, record=record, position=[entry.entry_id], context=[message]))
    assert engine.read(USER) == []


@pytest.mark.parametrize("user", ["psid:ünïcödé 👋", "a\0b", "a:b}{p00}", "x" * 5000, " "], ids=lambda user: user[:8])
def test_any_user_id_keeps_to_itself(place: Place, store: Store, user: str, engine: RedisInbox) -> None:
    _, record = open_chat(store, user)
    assert post(store, said("mine", user=user, message_id="\0id{}:'")) == "inbox"
    assert store.chat(user) == record
    assert [entry.event.user_id for entry in engine.read(user)] == [user]
    tag = f":{{p{store.keys.partition(user):02d}}}:"
    assert all(tag in name for name in place.everything())


# --- ownership --------------------------------------------------------------------------------------------------------


def test_a_partition_is_taken_once(store: Store) -> None:
    first = store.claim(1, "w1", ttl_ms=60_000)
    assert first is not None
    assert store.claim(1, "w2", ttl_ms=60_000) is None
    assert store.claim(1, "w1", ttl_ms=60_000) is None
    assert store.claim(2, "w2", ttl_ms=60_000) is not None


def test_each_owner_has_an_epoch_of_its_own(store: Store) -> None:
    values = []
    for _ in range(3):
        lease = take(store, 1, "w1")
        values.append(lease.value)
        store.release(lease)
    assert values == ["w1:1", "w1:2", "w1:3"]


def test_the_next_owner_knows_whether_the_last_one_let_go(place: Place, store: Store) -> None:
    first = store.claim(1, "w1", ttl_ms=60_000)
    assert first is not None
    assert first.released, "nobody was there before"
    store.release(Lease(1, first.value, deadline_s=0))
    second = store.claim(1, "w2", ttl_ms=30)
    assert second is not None
    assert second.released
    wait_for(lambda: not place.raw.exists(store.keys.of(1, "lease")))
    third = store.claim(1, "w3", ttl_ms=60_000)
    assert third is not None
    assert not third.released, "the second's lease ran out, and it may still be polling"


def test_a_lease_is_kept_by_its_holder_alone(place: Place, store: Store) -> None:
    mine = take(store, 1, "w1")
    place.raw.pexpire(store.keys.of(1, "lease"), 5_000)
    stranger = Lease(1, "w1:99", deadline_s=0)
    assert not store.renew(stranger, ttl_ms=60_000)
    store.release(stranger)
    assert store.claim(1, "w2", ttl_ms=1000) is None, "a stranger's release freed it"
    assert store.renew(mine, ttl_ms=60_000)
    left: Any = place.raw.pttl(store.keys.of(1, "lease"))
    assert 55_000 < left <= 60_000


def test_a_lease_that_ran_out_is_not_revived(place: Place, store: Store) -> None:
    mine = take(store, 1, "w1")
    place.raw.delete(store.keys.of(1, "lease"))
    assert not store.renew(mine, ttl_ms=60_000)
    assert store.claim(1, "w2", ttl_ms=60_000) is not None
    assert not store.renew(mine, ttl_ms=60_000)


def test_the_living_are_those_whose_heart_beats(store: Store) -> None:
    assert store.living("w1", ttl_ms=60_000) == ["w1"]
    assert store.living("w2", ttl_ms=60_000) == ["w1", "w2"]
    assert store.living("w1", ttl_ms=60_000) == ["w1", "w2"]
    store.remove_worker("w2")
    assert store.living("w1", ttl_ms=60_000) == ["w1"]


def test_whose_heart_stopped_is_not_among_the_living(store: Store) -> None:
    store.living("w1", ttl_ms=60_000)
    assert wait_for(lambda: store.living("w2", ttl_ms=30) == ["w2"])


def test_the_dead_are_buried_with_all_they_held_and_nobody_elses(store: Store) -> None:
    for partition in (0, 5):
        take(store, partition, "here/12/abc")
    kept = take(store, 1, "here/123/def")
    for worker in ("here/12/abc", "here/123/def"):
        store.living(worker, ttl_ms=60_000)
    assert store.release_all(lambda name: name.startswith("here/12/")) == 2
    assert store.living("w", ttl_ms=60_000) == ["here/123/def", "w"]
    assert store.renew(kept, ttl_ms=60_000)
    claim = store.claim(5, "w", ttl_ms=60_000)
    assert claim is not None
    assert claim.released
    assert store.release_all(lambda name: name.startswith("here/12/")) == 0


def test_the_number_of_partitions_stays_what_it_was_at_first(place: Place) -> None:
    assert place.store(partitions=PARTITIONS).check_layout() == PARTITIONS
    assert place.store(partitions=16).check_layout() == PARTITIONS
    assert Place().store(partitions=16).check_layout() == 16


# --- asking -----------------------------------------------------------------------------------------------------------


def test_an_ask_goes_to_the_inbox_with_or_without_a_chat(store: Store, engine: RedisInbox) -> None:
    first, second = (ConnectRequested(wants_chat(USER), Ask("replies:w1", number)) for number in ("7", "8"))
    engine.append(first)
    open_chat(store)
    engine.append(second)
    assert [entry.event for entry in engine.read(USER)] == [first, second]


def test_an_answer_lies_where_it_is_waited_for_but_not_for_ever(place: Place, store: Store) -> None:
    stream = store.keys.replies("w1")
    store.reply(Ask(stream, "7"), Answer("refused", "no button 🙈"))
    found: Any = place.raw.xrange(stream)
    [(_, fields)] = found
    assert fields[b"id"] == b"7"
    assert msgspec.json.decode(fields[b"answer"], type=Answer) == Answer("refused", "no button 🙈")
    left: Any = place.raw.ttl(stream)
    assert 0 < left <= 60


def test_an_inbox_of_many_gives_each_user_their_own(store: Store, engine: RedisInbox) -> None:
    users = [user_in(store.keys, 2, number) for number in range(2)]
    lease = take(store, 2)
    for user in users:
        store.commit(lease, Commit(user_id=user, record=chat_record(user)))
    for text in ("1", "2", "3"):
        for user in users:
            post(store, said(text, user=user))
    for user in users:
        events = [entry.event for entry in engine.read(user)]
        heard = [event.message.text for event in events if isinstance(event, UserMessageReceived)]
        assert heard == ["1", "2", "3"]


def test_a_word_that_ends_the_chat_travels_as_such(store: Store, engine: RedisInbox) -> None:
    open_chat(store)
    word = LeaveRequested(said("#salir"))
    store.post(word.message, word)
    assert [entry.event for entry in engine.read(USER)] == [word]


# --- a store that fails -----------------------------------------------------------------------------------------------


def test_scripts_that_the_server_forgot_are_brought_again(place: Place, store: Store) -> None:
    assert post(store, said("one")) == "context"
    place.raw.script_flush()
    assert post(store, said("two")) == "context"
    assert texts(store) == ["one", "two"]


@pytest.mark.redis
def test_a_server_that_is_gone_is_unavailable_in_every_way(tmp_path: Path) -> None:
    require_redis()
    server = RedisServer(tmp_path)
    store = Place(server.address).store()
    lease = take(store, USER)
    server.stop()
    calls = [
        lambda: post(store, said()),
        lambda: store.reply(Ask("r", "1"), Answer("ok")),
        lambda: store.commit(lease, Commit(user_id=USER)),
        lambda: store.chats(1),
        lambda: store.chat(USER),
        lambda: store.context(USER),
        lambda: store.claim(1, "w", ttl_ms=1),
        lambda: store.renew(lease, ttl_ms=1),
        lambda: store.release(lease),
        lambda: store.release_all(lambda name: name.startswith("w")),
        lambda: store.living("w", ttl_ms=1),
        lambda: store.remove_worker("w"),
        store.check_layout,
        store.ping,
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable):
            call()


@pytest.mark.redis
def test_a_server_that_answers_nothing_is_given_up_and_nothing_is_repeated(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.actors.store.connections.SOCKET_TIMEOUT_S", 1.0)
    line = Proxy(redis_server.port)
    place = Place(line.address)
    store, engine = place.store(), place.engine()
    partition = store.keys.partition(USER)
    store.ping()
    engine.append(ConnectRequested(wants_chat(USER)))
    line.silent = True
    calls: list[Callable[[], None]] = [
        lambda: engine.append(ConnectRequested(wants_chat(USER))),
        lambda: store.remove_worker("w1"),
        lambda: store.reply(Ask(store.keys.replies("w1"), "7"), Answer("ok")),
    ]
    for call in calls:
        line.asked.clear()
        with pytest.raises(StoreUnavailable):
            call()
        # After each failure the connection is a new one, whose greeting is not answered any more.
        assert line.asked.count(b"EVALSHA") + line.asked.count(b"HELLO") + line.asked.count(b"ZREM") <= 1
    line.close()
    control = redis_server.client()
    assert control.xlen(store.keys.of(partition, "inbox")) == 2


@pytest.mark.redis
def test_a_message_is_only_stored_when_a_replica_has_it_too(tmp_path: Path) -> None:
    require_redis()
    (tmp_path / "m").mkdir()
    (tmp_path / "r").mkdir()
    master = RedisServer(tmp_path / "m")
    place = Place(master.address, redis_wait_replicas="1")
    store, message = place.store(), said("durable")
    with pytest.raises(StoreUnavailable, match="0 of 1"):
        post(store, message)
    replica = RedisServer(tmp_path / "r", "--replicaof", "127.0.0.1", str(master.port))
    try:
        assert wait_for(lambda: _posted(store, message), 20) == "repeat"
        lease = take(store, USER)
        step = Commit(user_id=USER, record=chat_record(), context=[said("kept")])
        store.commit(lease, step)
        copy = replica.client()
        assert copy.hexists(store.keys.of(lease.partition, "chats"), USER)
        changes = _changes(master)
        store.commit(lease, step)
        assert _changes(master) > changes, "a repeat that writes nothing has nothing to wait for"
        replica.process.kill()
        replica.process.wait()
        with pytest.raises(StoreUnavailable):
            store.commit(lease, msgspec.structs.replace(step, record=chat_record()))
    finally:
        replica.stop()
        master.stop()


def _posted(store: Store, message: UserMessage) -> str:
    try:
        return post(store, message)
    except StoreUnavailable:
        return ""


def _changes(server: RedisServer) -> int:
    info: Any = server.client().info("persistence")
    changes: int = info["rdb_changes_since_last_save"]
    return changes


def test_hundreds_may_post_at_the_same_moment(place: Place, store: Store) -> None:
    posting = [gevent.spawn(post, store, said(str(number), user=f"user-{number}")) for number in range(400)]
    gevent.joinall(posting, timeout=20)
    assert [one.get(block=False) for one in posting] == ["context"] * 400
