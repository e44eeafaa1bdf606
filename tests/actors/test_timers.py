"""The one clock that wakes anybody."""

from __future__ import annotations

import time

from actor_parts import Heard, settle, wait_for

from bridge.actors.timers import tell_after


def test_a_message_is_told_after_its_delay_and_not_before() -> None:
    heard, began_s = Heard(), time.monotonic()
    tell_after(heard.ref, "due", 0.1)
    settle()
    assert heard == []
    heard.wait_for(str)
    assert time.monotonic() - began_s >= 0.1
    assert heard == ["due"]


def test_what_is_overdue_is_told_at_once() -> None:
    heard = Heard()
    tell_after(heard.ref, "due", -5)
    settle()
    assert heard == ["due"]


def test_a_timer_that_is_killed_tells_nobody() -> None:
    heard = Heard()
    first, second = (tell_after(heard.ref, text, 0.02) for text in ("killed", "kept"))
    first.kill(block=False)
    wait_for(second.ready)
    settle()
    assert heard == ["kept"]


def test_a_timer_for_somebody_who_is_gone_ends_quietly() -> None:
    heard = Heard()
    heard.ref.stop()
    timer = tell_after(heard.ref, "due", 0.01)
    wait_for(timer.ready)
    assert timer.successful()
