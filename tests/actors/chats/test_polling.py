"""One chat's polls: when one may begin, and how it is ended."""

from __future__ import annotations

import gevent
from actor_parts import Heard, desk_session, settle, wait_for
from gevent.event import Event

from bridge.actors.chats.polling import EMPTY_POLL_S, EMPTY_POLLS_ALLOWED, Poller, polls_at
from bridge.actors.protocol import Outcome, Request
from bridge.commands import Command, Lane, Poll
from bridge.events import AgentWrote
from bridge.events import Event as BridgeEvent


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def poller(clock: Clock, *, first_poll_delay_s: float = 0.0) -> Poller:
    return Poller(lambda request: gevent.spawn(Event().wait), first_poll_delay_s=first_poll_delay_s, now_s=clock)


def a_poll(heard: Heard | None = None) -> Request:
    return Request(Poll(desk_session()), (Heard() if heard is None else heard).ref, 7)


def answered(polls: Poller, clock: Clock, *, after_s: float, empty: bool = True) -> float:
    """One poll that is answered; how many seconds the next one has to wait."""
    polls.begin(a_poll())
    clock.now_s += after_s
    polls.answered(empty=empty)
    return max(polls.delay_s, 0.0)


def test_the_first_poll_waits_for_its_delay() -> None:
    clock = Clock()
    polls = poller(clock, first_poll_delay_s=3.0)
    assert (polls.delay_s, polls.last_s) == (3.0, None)
    clock.now_s += 3.0
    assert polls.delay_s == 0.0


def test_several_polls_in_a_row_that_are_answered_empty_at_once_slow_the_next_ones_down() -> None:
    clock = Clock()
    polls = poller(clock)
    delays_s = [answered(polls, clock, after_s=0.01) for _ in range(EMPTY_POLLS_ALLOWED + 1)]
    assert delays_s == [*[0.0] * (EMPTY_POLLS_ALLOWED - 1), EMPTY_POLL_S, EMPTY_POLL_S]


def test_an_empty_poll_that_the_desk_held_for_a_while_slows_nothing_down() -> None:
    clock = Clock()
    polls = poller(clock)
    assert [answered(polls, clock, after_s=EMPTY_POLL_S) for _ in range(20)] == [0.0] * 20


def test_a_poll_that_brings_something_ends_the_row() -> None:
    clock = Clock()
    polls = poller(clock)
    for _ in range(EMPTY_POLLS_ALLOWED - 1):
        answered(polls, clock, after_s=0.01)
    assert answered(polls, clock, after_s=0.01, empty=False) == 0.0
    assert answered(polls, clock, after_s=0.01) == 0.0


def test_an_operator_sees_how_long_ago_the_last_poll_began() -> None:
    clock = Clock()
    polls = poller(clock)
    polls.begin(a_poll())
    clock.now_s += 12.34
    assert polls.last_s == 12.3


def test_a_poll_that_is_ended_tells_nothing_more() -> None:
    heard, asked, answer = Heard(), Event(), Event()

    def serve(command: Command) -> tuple[BridgeEvent, ...]:
        asked.set()
        answer.wait()
        return (AgentWrote("late"),)

    polls = Poller(polls_at(serve), first_poll_delay_s=0.0)
    polls.begin(a_poll(heard))
    wait_for(asked.is_set)
    polls.end()
    answer.set()
    settle()
    assert list(heard) == []
    polls.end()


def test_a_poll_tells_its_outcome_to_the_one_who_asked() -> None:
    heard = Heard()
    polls = Poller(polls_at(lambda command: (AgentWrote("hola"),)), first_poll_delay_s=0.0)
    polls.begin(a_poll(heard))
    assert heard.wait_for(Outcome) == [Outcome(Lane.POLL, 7, (AgentWrote("hola"),))]
