"""A session that moved, and its repair."""

from __future__ import annotations

from typing import Any

import msgspec

from bridge.chat.machine import MOST_BREAKS
from bridge.codecs.liveagent.session import read
from bridge.commands import (
    AttachFile,
    Lane,
    LeaveDesk,
    Poll,
    RepairSession,
    SendToAgent,
)
from bridge.events import (
    AgentWrote,
    Event,
    FileAttached,
    SessionBroke,
    SessionPolled,
    SessionStepped,
    TextFound,
)
from bridge.messages import DeskSession, Turn
from bridge.records import ChatState

from chat_stage import (  # isort: skip
    FINISH,
    PICTURE,
    Stage,
    kinds,
    receiving,
    said,
    sending,
    wrote,
)


def test_a_session_that_moved_is_repaired_before_anything_else_is_sent() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"))
    broken = stage.session.broke()
    stage.done(Lane.DESK, SessionBroke("503"))
    assert stage.step.cancel_poll
    assert stage.under_way == {Lane.DESK: RepairSession(broken)}


def test_after_a_repair_the_text_that_was_under_way_is_sent_again_with_a_new_number() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"))
    repair(stage)
    stage.done(Lane.DESK, SessionStepped(stage.session.sending, Turn("repairing", "ok")))
    command: Any = stage.under_way[Lane.DESK]
    known = read(command.session)
    assert (command.delivery.text, known.sequence, known.affinity) == ("a", 0, "b")


def test_a_text_that_a_repair_finds_at_the_desk_is_owed_no_more() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"), wrote("b"))
    repair(stage, TextFound("a"))
    assert stage.owed_to_agent == ["b"]


def test_a_text_at_the_desk_that_is_not_the_one_under_way_removes_nothing() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"), wrote("b"))
    repair(stage, TextFound("b"))
    assert stage.owed_to_agent == ["a", "b"]


def reconnected(session: DeskSession) -> msgspec.Raw:
    """The sending half after a reconnect."""
    return sending(session, affinity="b", sequence=0, repairs=read(session).repairs + 1)


def repair(stage: Stage, *found: Event) -> None:
    """Breaks the session and repairs it up to the last step."""
    stage.done(Lane.DESK, SessionBroke("503"))
    stage.done(Lane.DESK, SessionStepped(reconnected(stage.session), Turn("broken", "restoring")))
    assert kinds(stage.under_way) == {Lane.POLL: Poll}
    assert read(stage.session).ack == 1, "what was taken before the session moved stays confirmed"
    half = receiving(stage.session, ack=0)
    stage.done(Lane.POLL, SessionPolled(half, Turn("restoring", "repairing")), *found)
    assert kinds(stage.under_way) == {Lane.DESK: RepairSession, Lane.POLL: Poll}


def test_a_post_that_ends_while_a_poll_finds_the_session_broken_keeps_what_it_brought() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"))
    session = stage.session
    stage.done(Lane.POLL, SessionBroke("503"))
    assert kinds(stage.under_way) == {Lane.DESK: SendToAgent}
    stage.takes()
    assert stage.owed_to_agent == []
    assert kinds(stage.under_way) == {Lane.DESK: RepairSession}
    assert read(stage.session).said == read(session).said + 1


def test_a_repair_on_hold_sends_nothing_early_when_the_chat_is_ended_meanwhile() -> None:
    stage = Stage().on_hold()
    stage.happens(wrote("a"))
    stage.done(Lane.POLL, SessionBroke("503"))
    stage.done(Lane.DESK, SessionStepped(reconnected(stage.session), Turn("broken", "repairing")))
    assert stage.happens(FINISH).context == [said("a")]
    stage.done(Lane.DESK, SessionStepped(stage.session.sending, Turn("repairing", "ok")))
    assert isinstance(stage.under_way[Lane.DESK], LeaveDesk)


def test_a_poll_and_a_post_side_by_side_replace_only_their_own_half() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"))
    stage.hears(AgentWrote("b"))
    stage.takes()
    known = read(stage.session)
    assert (known.ack, known.said) == (read(stage.session).ack, 2)
    assert stage.owed_to_agent == []


def test_a_break_that_a_post_found_is_not_undone_by_a_repair_step_that_began_before_it() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"))
    repair(stage)
    stage.done(Lane.POLL, SessionBroke("503 again"))
    stage.done(Lane.DESK, SessionStepped(stage.session.sending, Turn("repairing", "ok")))
    assert stage.session.health == "broken"


def test_a_session_that_breaks_after_each_repair_is_repaired_ever_more_slowly() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"))
    delays_s = [break_again(stage) for _ in range(6)]
    assert delays_s == [0.0, 1.0, 2.0, 4.0, 8.0, 8.0]


def test_breaks_that_are_long_ago_do_not_count() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"))
    assert [break_again(stage) for _ in range(3)] == [0.0, 1.0, 2.0]
    stage.happens(after_s=601)
    assert break_again(stage) == 0.0


def test_a_session_that_breaks_for_ever_is_given_up() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"))
    for _ in range(MOST_BREAKS):
        break_again(stage)
    assert stage.is_in(ChatState.ACTIVE)
    stage.done(Lane.DESK, SessionBroke("503"))
    assert stage.is_in(ChatState.CLOSING)
    assert (stage.record.leaving, stage.record.listening) == (True, False)
    assert stage.record.reason == f"DeskUnreachable: the session broke {MOST_BREAKS + 1} times"


def break_again(stage: Stage) -> float:
    """Breaks the session and repairs it at once; how many seconds the repair was to wait."""
    stage.done(Lane.DESK, SessionBroke("503"))
    command: Any = stage.under_way[Lane.DESK]
    stage.done(Lane.DESK, SessionStepped(stage.session.sending, Turn("broken", "ok")))
    return max(0.0, (command.due_at_ms - stage.now_ms) / 1000)


def test_a_session_is_repaired_while_a_file_is_uploaded_and_texts_keep_their_order() -> None:
    stage = Stage().active()
    stage.happens(wrote("", media=PICTURE), wrote("after"))
    assert kinds(stage.under_way) == {Lane.FILE: AttachFile, Lane.POLL: Poll}
    stage.done(Lane.POLL, SessionBroke("503"))
    assert kinds(stage.under_way) == {Lane.FILE: AttachFile, Lane.DESK: RepairSession}
    stage.done(Lane.DESK, SessionStepped(stage.session.sending, Turn("broken", "ok")))
    assert Lane.DESK not in stage.under_way
    command: Any = stage.under_way[Lane.FILE]
    stage.done(Lane.FILE, FileAttached(command.delivery.id, "1.jpg"))
    assert stage.drain_agent() == ["file 1.jpg", "my receipt", "after"]
