"""The registry: which interconnection serves which user; let go, restarted, quarantined, drained."""

from __future__ import annotations

import time
from typing import Any

import gevent
import pytest
from actor_parts import LONG_S, Heard, chat_record, received, settle, wait_for
from gevent.event import Event

from bridge.actors.base import Ref
from bridge.actors.chats import registry as registry_module
from bridge.actors.chats.registry import FAILURES_ALLOWED, InterconnectionRegistry
from bridge.actors.leases import Lease, lease_clock_s
from bridge.actors.protocol import (
    Drain,
    Drained,
    DrainPartitions,
    Entry,
    Failed,
    Idle,
    PartitionGained,
    PartitionLost,
    Ping,
    Resume,
    Snapshot,
)
from bridge.messages import UserMessageReceived
from bridge.records import ChatRecord


class Started:
    """An interconnection that was started: what it was started with, and what it hears."""

    def __init__(self, user_id: str, lease: Lease, record: ChatRecord | None, first_poll_delay_s: float) -> None:
        self.user_id = user_id
        self.lease = lease
        self.record = record
        self.first_poll_delay_s = first_poll_delay_s
        self.heard = Heard()

    @property
    def alive(self) -> bool:
        return self.heard.ref.is_alive()

    @property
    def texts(self) -> list[str]:
        events = [entry.event for entry in self.heard.of(Entry)]
        return [event.message.text for event in events if isinstance(event, UserMessageReceived)]


class Office:
    """A registry, and everything that it starts."""

    def __init__(self) -> None:
        self.started: list[Started] = []
        self.leases: dict[int, Lease] = {}
        self.ref: Ref = InterconnectionRegistry.start(self._start)
        self._entries = 0

    def _start(
        self, user_id: str, lease: Lease, *, registry: Ref, record: ChatRecord | None, first_poll_delay_s: float
    ) -> Ref:
        assert registry == self.ref
        self.started.append(Started(user_id, lease, record, first_poll_delay_s))
        return self.started[-1].heard.ref

    def gains(
        self, partition: int, *records: ChatRecord, first_poll_delay_s: float = 1.0, held_s: float = LONG_S
    ) -> Lease:
        lease = self.leases[partition] = Lease(partition, f"w:{partition}", deadline_s=lease_clock_s() + held_s)
        self.ref.tell(PartitionGained(lease, records, first_poll_delay_s))
        return lease

    def entry(self, user: str, text: str = "hola", *, partition: int = 1) -> None:
        self._entries += 1
        self.ref.tell(Entry(partition, f"{self._entries}-0", received(text, user=user)))

    def told(self, message: Any) -> None:
        self.ref.tell(message)
        self.handled()

    def handled(self) -> None:
        """Everything that was told has been handled, and what followed from it."""
        self.ref.ask(Ping(), timeout=5)
        settle()

    def of(self, user: str) -> list[Started]:
        return [one for one in self.started if one.user_id == user]

    def drains(self, *partitions: int, within_s: float = 5.0) -> Event:
        asked = DrainPartitions(partitions, time.monotonic() + within_s)
        drained: Event = self.ref.ask(asked, timeout=5)
        return drained


@pytest.fixture
def office() -> Office:
    return Office()


# --- who serves whom --------------------------------------------------------------------------------------------------


def test_a_users_entries_go_to_one_interconnection_in_order(office: Office) -> None:
    office.gains(1)
    for text in ("1", "2", "3"):
        office.entry("ana", text)
        office.entry("luis", text)
    office.handled()
    assert [one.user_id for one in office.started] == ["ana", "luis"]
    assert [one.texts for one in office.started] == [["1", "2", "3"]] * 2
    assert office.started[0].record is None
    assert office.started[0].heard.of(Resume) == []


def test_open_chats_of_a_gained_partition_go_on_from_their_records(office: Office) -> None:
    ana, luis = chat_record("ana"), chat_record("luis")
    lease = office.gains(1, ana, luis, first_poll_delay_s=3.0)
    office.entry("ana", "1")
    office.handled()
    assert [(one.record, one.first_poll_delay_s, one.lease) for one in office.started] == [
        (ana, 3.0, lease),
        (luis, 3.0, lease),
    ]
    assert office.of("ana")[0].heard[0] == Resume(), "what the record owes comes before what is new"
    assert office.of("ana")[0].texts == ["1"]


def test_an_entry_of_a_partition_that_is_not_ours_is_left_for_its_owner(office: Office) -> None:
    office.gains(1)
    office.entry("ana", partition=2)
    office.told(PartitionLost(1))
    office.entry("ana", partition=1)
    office.handled()
    assert office.started == []


def test_an_entry_is_left_when_the_lease_is_past_its_deadline(office: Office) -> None:
    office.gains(1, held_s=-1.0)
    office.entry("ana")
    office.handled()
    assert office.started == []


# --- letting go -------------------------------------------------------------------------------------------------------


def test_an_idle_interconnection_is_let_go_and_the_next_entry_starts_another(office: Office) -> None:
    office.gains(1)
    office.entry("ana", "1")
    office.handled()
    office.told(Idle("ana", 1))
    assert [one.alive for one in office.started] == [False]
    office.entry("ana", "2")
    office.handled()
    assert [one.texts for one in office.of("ana")] == [["1"], ["2"]]


def test_an_interconnection_that_was_told_another_entry_meanwhile_is_kept(office: Office) -> None:
    office.gains(1)
    office.entry("ana", "1")
    office.entry("ana", "2")
    office.told(Idle("ana", 1))
    assert [one.alive for one in office.started] == [True]
    assert office.started[0].texts == ["1", "2"]
    office.told(Idle("ana", 2))
    assert [one.alive for one in office.started] == [False]


def test_a_restored_chat_that_ends_without_an_entry_is_let_go(office: Office) -> None:
    office.gains(1, chat_record("ana"))
    office.told(Idle("ana", 0))
    assert not office.started[0].alive


def test_idle_of_an_unknown_user_changes_nothing(office: Office) -> None:
    office.gains(1)
    office.told(Idle("nobody", 0))
    assert office.ref.is_alive()


# --- failing ----------------------------------------------------------------------------------------------------------


def test_a_failed_interconnection_is_restarted_from_the_record(office: Office) -> None:
    lease = office.gains(1, chat_record("ana"))
    office.told(Failed("ana", "KeyError on Entry"))
    first, second = office.of("ana")
    assert not first.alive
    assert (second.heard[0], second.lease) == (Resume(reload=True), lease)
    assert second.first_poll_delay_s >= 1.0, "the poll of the failed one may still be held"
    office.entry("ana", "later")
    office.handled()
    assert (first.texts, second.texts) == ([], ["later"])
    office.told(Idle("ana", 1))
    assert not second.alive


def fail(office: Office, times: int) -> None:
    for _ in range(times):
        office.told(Failed("ana", "KeyError on Entry"))


def test_a_chat_that_fails_more_than_three_times_in_a_minute_is_restarted_to_be_ended(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.gains(1, chat_record("ana"), chat_record("luis"))
    fail(office, FAILURES_ALLOWED)
    restarted = [one.heard.of(Resume) for one in office.of("ana")[1:]]
    assert restarted == [[Resume(reload=True)]] * 3
    fail(office, 1)
    assert office.of("ana")[-1].heard.of(Resume) == [Resume(reload=True, quarantine="KeyError on Entry")]
    assert [one.alive for one in office.of("ana")] == [False] * 4 + [True]
    assert "failed 4 times, so its chat is ended: KeyError on Entry" in caplog.text
    assert office.of("luis")[0].alive
    snapshot: Any = office.ref.ask(Snapshot(), timeout=5)
    assert snapshot["quarantined"] == 1


def test_a_chat_that_fails_even_then_is_quarantined(office: Office) -> None:
    office.gains(1, chat_record("ana"))
    fail(office, FAILURES_ALLOWED + 2)
    assert [one.alive for one in office.of("ana")] == [False] * 5


def test_no_second_chat_begins_for_a_user_whose_chat_is_quarantined(office: Office) -> None:
    office.gains(1, chat_record("ana"))
    fail(office, FAILURES_ALLOWED + 2)
    office.entry("ana", "is anybody there?")
    office.entry("luis", "hola")
    office.handled()
    assert [one.alive for one in office.of("ana")] == [False] * 5
    assert office.of("luis")[0].texts == ["hola"]


def test_a_quarantined_chat_is_tried_by_the_next_owner(office: Office) -> None:
    office.gains(1, chat_record("ana"))
    fail(office, FAILURES_ALLOWED + 2)
    office.told(PartitionLost(1))
    office.gains(1, chat_record("ana"))
    office.entry("ana", "again")
    office.handled()
    assert office.of("ana")[-1].alive
    assert office.of("ana")[-1].texts == ["again"]


def test_failures_long_apart_quarantine_no_chat(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now_s = time.monotonic()

        def monotonic(self) -> float:
            return self.now_s

    clock = Clock()
    monkeypatch.setattr(registry_module, "time", clock)
    office.gains(1, chat_record("ana"))
    for _ in range(3 * FAILURES_ALLOWED):
        office.told(Failed("ana", "KeyError on Entry"))
        clock.now_s += 30.0
    assert office.of("ana")[-1].alive
    assert len(office.of("ana")) == 3 * FAILURES_ALLOWED + 1


def test_no_chat_is_restarted_on_a_partition_that_is_lost(office: Office) -> None:
    office.gains(1, chat_record("ana"))
    office.told(PartitionLost(1))
    office.told(Failed("ana", "KeyError on Entry"))
    assert len(office.started) == 1
    assert not office.started[0].alive


# --- losing and draining ----------------------------------------------------------------------------------------------


def test_losing_a_partition_stops_its_chats_and_no_others(office: Office) -> None:
    office.gains(1, chat_record("ana"))
    office.gains(2, chat_record("luis"))
    office.told(PartitionLost(1))
    assert [one.alive for one in office.started] == [False, True]
    office.entry("luis", "hola", partition=2)
    office.handled()
    assert office.started[1].texts == ["hola"]


def test_draining_waits_for_all_and_for_no_others(office: Office) -> None:
    office.gains(1, chat_record("ana"), chat_record("luis"))
    office.gains(2, chat_record("eva"))
    drained = office.drains(1)
    office.handled()
    assert [bool(one.heard.of(Drain)) for one in office.started] == [True, True, False]
    office.told(Drained("ana"))
    assert not drained.is_set()
    office.told(Drained("luis"))
    assert drained.is_set()


def test_an_entry_that_comes_while_it_drains_is_left_for_the_next_owner(office: Office) -> None:
    office.gains(1, chat_record("ana"))
    office.drains(1)
    office.entry("ana", "too late")
    office.entry("luis", "too late")
    office.handled()
    assert len(office.started) == 1
    assert office.started[0].texts == []


def test_nothing_to_drain_is_drained_at_once(office: Office) -> None:
    office.gains(1)
    assert office.drains(1).is_set()
    assert office.drains().is_set()


def test_draining_does_not_wait_past_its_deadline(office: Office) -> None:
    office.gains(1, chat_record("ana"))
    began_s = time.monotonic()
    assert office.drains(1, within_s=0.1).wait(timeout=5)
    assert 0.1 <= time.monotonic() - began_s < 4


@pytest.mark.parametrize("end", [Failed("ana", "KeyError on Entry"), PartitionLost(1)], ids=["failed", "lost"])
def test_draining_does_not_wait_for_a_chat_that_is_gone(office: Office, end: Any) -> None:
    office.gains(1, chat_record("ana"))
    drained = office.drains(1)
    office.told(end)
    assert drained.is_set()
    assert [one.alive for one in office.started] == [False]


def test_two_drains_at_once_end_each_for_itself(office: Office) -> None:
    office.gains(1, chat_record("ana"))
    office.gains(2, chat_record("luis"))
    first, second = office.drains(1), office.drains(2)
    office.told(Drained("luis"))
    assert (first.is_set(), second.is_set()) == (False, True)
    office.told(Drained("ana"))
    assert first.is_set()


def test_a_partition_may_come_back_after_it_was_drained(office: Office) -> None:
    office.gains(1, chat_record("ana"))
    office.drains(1)
    office.told(Drained("ana"))
    office.told(PartitionLost(1))
    office.gains(1, chat_record("ana"))
    office.entry("ana", "again")
    office.handled()
    assert [one.texts for one in office.of("ana")] == [[], ["again"]]


# --- being asked ------------------------------------------------------------------------------------------------------


def test_a_snapshot_names_the_interconnections(office: Office) -> None:
    office.gains(1, chat_record("ana"), chat_record("luis"))
    snapshot: Any = office.ref.ask(Snapshot(), timeout=5)
    assert snapshot["interconnections"] == 2
    assert snapshot["refs"] == [one.heard.ref for one in office.started]
    assert office.ref.ask(Ping(), timeout=5) == 2


def test_an_interconnection_that_cannot_be_started_stops_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(*args: Any, **options: Any) -> Ref:
        raise MemoryError("no room")

    ref: Ref = InterconnectionRegistry.start(refuse)
    lease = Lease(1, "w:1", deadline_s=lease_clock_s() + LONG_S)
    ref.tell(PartitionGained(lease, (), 0.0))
    ref.tell(Entry(1, "1-0", received(user="ana")))
    assert ref.ask(Ping(), timeout=5) == 0
    assert "InterconnectionRegistry failed on Entry" in caplog.text


def test_thousands_are_drained_and_lost_quickly(office: Office) -> None:
    office.gains(1, *(chat_record(f"user-{number}") for number in range(2000)))
    drained = office.drains(1)
    began_s = time.monotonic()
    for number in range(2000):
        office.ref.tell(Drained(f"user-{number}"))
    assert drained.wait(timeout=20)
    office.told(PartitionLost(1))
    assert time.monotonic() - began_s < 10
    wait_for(lambda: not any(one.alive for one in office.started))
    gevent.sleep(0)
