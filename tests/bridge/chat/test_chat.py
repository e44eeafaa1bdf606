"""The rules of a chat, one sentence each."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bridge.chat.machine import MOST_BREAKS, Chat
from bridge.codecs.liveagent.session import read
from bridge.commands import (
    AttachFile,
    Command,
    EnsureContact,
    Lane,
    LeaveDesk,
    OpenCase,
    OpenSession,
    Poll,
    RepairSession,
    RequestChat,
    SendToAgent,
    SendToUser,
    TellBot,
)
from bridge.events import (
    AgentLeft,
    AgentTyped,
    AgentWrote,
    BotTold,
    BotUntold,
    CaseOpened,
    ChatEnded,
    ChatEstablished,
    ChatQuarantined,
    ChatQueued,
    ChatRefused,
    ChatRequested,
    ChatTransferred,
    ConnectRefused,
    ContactBlocked,
    ContactReady,
    DeliveredToAgent,
    DeskLeft,
    Event,
    FileAttached,
    FileRejected,
    FileRequested,
    QueueMoved,
    SessionBroke,
    SessionExpired,
    SessionOpened,
    SessionPolled,
    SessionStale,
    SessionStepped,
    TextFound,
    UndeliverableToAgent,
    UndeliverableToUser,
    WaitExpired,
)
from bridge.messages import Answer, Ask, ConnectRequested, DeskSession, FinishRequested, Turn
from bridge.records import ChatState, ContextEntry

from chat_stage import (  # isort: skip
    CALLER,
    CONNECT,
    FINISH,
    FINISHER,
    PICTURE,
    REQUEST,
    SESSION,
    USER,
    Stage,
    changed,
    left,
    policy,
    receiving,
    said,
    sending,
    wrote,
)

BEFORE = ContextEntry(user_id=USER, client="shop", timestamp=1, text="hola", sender="user", ttl="")
REQUESTED = changed(SESSION, sequence=1)


def kinds(commands: dict[Lane, Command]) -> dict[Lane, type[Any]]:
    return {lane: type(command) for lane, command in commands.items()}


# --- opening --------------------------------------------------------------------------------------------------------


def test_the_intent_is_on_record_before_anybody_is_asked_for_anything() -> None:
    stage = Stage()
    step = stage.happens(CONNECT)
    assert step.writes
    assert (stage.record.state, stage.record.request, stage.record.ask) == (ChatState.CONNECTING, REQUEST, CALLER)
    assert step.commands == [EnsureContact(REQUEST)]


def test_a_chat_is_opened_by_contact_then_case_then_session_then_request() -> None:
    stage = Stage()
    stage.happens(CONNECT)
    case = OpenCase(REQUEST, "c", stage.record.opened_at_ms, chat_id=stage.record.chat_id)
    assert stage.done(Lane.DESK, ContactReady("c")).commands == [case]
    assert stage.done(Lane.DESK, CaseOpened("k")).commands == [OpenSession()]
    assert stage.done(Lane.DESK, SessionOpened(SESSION)).commands == [RequestChat(REQUEST, SESSION, "c", "k")]
    assert stage.done(Lane.DESK, ChatRequested(REQUESTED)).commands == [Poll(REQUESTED)]


def test_connect_is_answered_when_the_desk_took_the_request_and_not_before() -> None:
    stage = Stage().asked_for_session()
    stage.done(Lane.DESK, SessionOpened(SESSION))
    assert all(not step.answers for step in stage.steps)
    assert stage.done(Lane.DESK, ChatRequested(REQUESTED)).answers == [(CALLER, Answer("ok"))]
    assert stage.record.ask is None


def test_the_caller_is_answered_once() -> None:
    stage = Stage().active()
    stage.hears(ChatEnded("agent", True))
    answers = [answer for step in stage.steps for answer in step.answers]
    assert answers == [(CALLER, Answer("ok"))]


def test_a_refused_connect_is_answered_with_its_reason_and_puts_the_bot_into_timeout() -> None:
    stage = Stage().asked_for_session()
    step = stage.done(Lane.DESK, ConnectRefused("no answer", "unavailable"))
    assert step.answers == [(CALLER, Answer("unavailable", "could not create chat in salesforce : no answer"))]
    assert stage.under_way == {Lane.BOT: TellBot(REQUEST, "timeout", stage.now_ms + 5000)}
    stage.done(Lane.BOT, BotTold())
    assert (stage.state, stage.record.reason) == (ChatState.FAILED, "ConnectRefused: no answer")


def test_a_blocked_contact_is_told_so_and_puts_the_bot_into_blocked() -> None:
    stage = Stage()
    stage.happens(CONNECT)
    step = stage.done(Lane.DESK, ContactBlocked("c"))
    assert step.answers == [(CALLER, Answer("blocked", "could not create chat in salesforce: this contact is blocked"))]
    assert stage.under_way == {Lane.BOT: TellBot(REQUEST, "blocked", stage.now_ms + 5000)}
    stage.done(Lane.BOT, BotTold())
    assert stage.is_in(ChatState.FAILED)


def test_what_a_blocked_user_wrote_meanwhile_becomes_context() -> None:
    stage = Stage()
    stage.happens(CONNECT)
    stage.happens(wrote("hello?"))
    assert stage.done(Lane.DESK, ContactBlocked("c")).context == [said("hello?")]
    assert stage.record.to_agent == []


def test_a_stale_session_is_replaced_by_another() -> None:
    stage = Stage().asked_for_session()
    stage.done(Lane.DESK, SessionOpened(SESSION))
    step = stage.done(Lane.DESK, SessionStale("403"))
    assert (step.commands, stage.state) == ([OpenSession()], ChatState.CONNECTING)


@pytest.mark.parametrize("play", [Stage.connecting, Stage.on_hold, Stage.active, Stage.closing])
def test_a_second_connect_is_told_that_there_is_a_chat(play: Any) -> None:
    stage = play(Stage())
    before = stage.state
    step = stage.happens(ConnectRequested(REQUEST, FINISHER))
    assert step.answers == [(FINISHER, Answer("exists", f"session exists with userID : {USER}"))]
    assert (stage.state, stage.record.chat_id, step.commands) == (before, "chat", [])


def test_a_user_may_have_a_second_chat_after_the_first() -> None:
    stage = Stage().active()
    stage.hears(ChatEnded("agent", True))
    stage.done(Lane.BOT, BotTold())
    assert stage.is_in(ChatState.CLOSED)
    stage.chat.forget()
    assert stage.is_in(ChatState.NEW)
    assert stage.happens(CONNECT).commands == [EnsureContact(REQUEST)]


# --- without a chat -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [wrote("hi"), left("hi")])
def test_without_a_chat_what_the_user_says_is_context(event: Event) -> None:
    stage = Stage()
    step = stage.happens(event)
    assert (step.context, step.writes, step.commands, stage.chat.record) == ([said("hi")], True, [], None)


def test_without_a_chat_finish_is_told_that_there_is_none() -> None:
    step = Stage().happens(FINISH)
    assert step.answers == [(FINISHER, Answer("absent", f"session does not exist with userID : {USER}"))]


def test_whoever_does_not_wait_is_not_answered() -> None:
    stage = Stage()
    assert stage.happens(FinishRequested(USER)).answers == []
    stage.happens(ConnectRequested(REQUEST))
    assert stage.done(Lane.DESK, ConnectRefused("no")).answers == []


# --- waiting --------------------------------------------------------------------------------------------------------


def test_the_user_is_told_to_wait_once_the_request_is_queued() -> None:
    stage = Stage().connecting()
    stage.hears(ChatQueued(3))
    assert (stage.state, stage.drain_user()) == (ChatState.ON_HOLD, ["please wait"])
    assert stage.record.held_since_ms == stage.now_ms


def test_the_place_in_the_queue_is_told_not_more_often_than_the_interval() -> None:
    stage = Stage(queue_update_interval_s=60.0).on_hold()
    stage.hears(QueueMoved(2))
    assert stage.owed_to_user == []
    stage.happens(after_s=60)
    stage.hears(QueueMoved(1))
    assert stage.drain_user() == ["place 1"]
    stage.hears(QueueMoved(0))
    assert stage.owed_to_user == []


def test_the_same_place_is_not_told_again() -> None:
    stage = Stage().on_hold()
    stage.happens(after_s=60)
    stage.hears(QueueMoved(2))
    assert stage.drain_user() == ["place 2"]
    stage.happens(after_s=60)
    stage.hears(QueueMoved(2))
    assert stage.owed_to_user == []


def test_an_unknown_place_is_not_told() -> None:
    stage = Stage().on_hold()
    stage.happens(after_s=60)
    stage.hears(QueueMoved(None))
    assert stage.owed_to_user == []


def test_an_interval_of_zero_keeps_places_to_ourselves() -> None:
    stage = Stage(queue_update_interval_s=0.0).on_hold()
    stage.happens(after_s=600)
    stage.hears(QueueMoved(2))
    assert (stage.owed_to_user, stage.record.queue_position) == ([], 2)


def test_a_wait_that_took_too_long_leaves_the_desk_and_puts_the_bot_into_timeout() -> None:
    stage = Stage().on_hold()
    stage.happens(wrote("still there?"))
    step = stage.happens(WaitExpired())
    assert (stage.state, step.context) == (ChatState.CLOSING, [said("still there?")])
    assert kinds(stage.under_way) == {Lane.DESK: LeaveDesk, Lane.POLL: Poll, Lane.BOT: TellBot}
    stage.done(Lane.DESK, DeskLeft())
    stage.done(Lane.BOT, BotTold())
    assert (stage.state, stage.record.reason) == (ChatState.FAILED, "WaitExpired: the wait took too long")


# --- briefing -------------------------------------------------------------------------------------------------------


def test_text_written_on_hold_reaches_the_agent_first_after_context_and_welcome() -> None:
    stage = Stage().connecting()
    stage.happens(wrote("first"))
    stage.hears(ChatQueued())
    stage.happens(wrote("second"))
    stage.hears(ChatEstablished("Eva", (BEFORE,)))
    stage.happens(wrote("third"))
    assert stage.drain_agent() == ["before: hola", "I am Ana", "first", "second", "third"]


def test_without_context_the_agent_sees_the_welcome_first() -> None:
    stage = Stage().on_hold()
    stage.hears(ChatEstablished("Eva"))
    assert stage.drain_agent() == ["I am Ana"]


def test_nothing_is_sent_to_the_desk_before_an_agent_is_there() -> None:
    stage = Stage().connecting()
    stage.happens(wrote("hi"))
    stage.hears(ChatQueued())
    stage.happens(wrote("anyone?"))
    assert Lane.DESK not in stage.under_way


def test_an_agent_may_come_without_any_word_of_a_queue() -> None:
    stage = Stage().connecting()
    stage.hears(ChatEstablished("Eva"))
    assert (stage.state, stage.record.agent_name, stage.drain_agent()) == (ChatState.ACTIVE, "Eva", ["I am Ana"])


def test_a_second_word_of_the_agents_coming_briefs_nobody_again() -> None:
    stage = Stage().active()
    stage.hears(ChatEstablished("Eva", (BEFORE,)))
    assert stage.owed_to_agent == []


# --- talking --------------------------------------------------------------------------------------------------------


def test_texts_to_the_agent_go_one_at_a_time_in_order() -> None:
    stage = Stage().active()
    for text in ("a", "b", "c"):
        stage.happens(wrote(text))
    assert isinstance(stage.under_way[Lane.DESK], SendToAgent)
    assert stage.drain_agent() == ["a", "b", "c"]


def test_every_text_to_the_agent_is_sent_in_the_session_as_the_last_one_left_it() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"), wrote("b"))
    first: Any = stage.under_way[Lane.DESK]
    stage.takes()
    second: Any = stage.under_way[Lane.DESK]
    assert read(second.session).sequence == read(first.session).sequence + 1


def test_agent_texts_reach_the_user_in_order_in_pieces_that_the_channel_takes() -> None:
    stage = Stage().active()
    stage.hears(AgentWrote("one|two"), AgentWrote("three"))
    assert stage.drain_user() == ["one", "two", "three"]


def test_every_piece_has_an_id_of_its_own_that_a_restart_does_not_change() -> None:
    stage = Stage().active()
    stage.hears(AgentWrote("one|two"))
    ids = [delivery.id for delivery in stage.record.to_user]
    assert len(set(ids)) == 2
    stage.crash()
    assert [delivery.id for delivery in stage.record.to_user] == ids
    stage.happens(wrote("x"))
    assert len({*ids, stage.record.to_agent[0].id}) == 3


def test_polls_and_deliveries_in_both_directions_do_not_wait_for_each_other() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"))
    stage.hears(AgentWrote("b"))
    assert kinds(stage.under_way) == {Lane.DESK: SendToAgent, Lane.POLL: Poll, Lane.USER: SendToUser}


def test_the_next_poll_confirms_what_is_on_record() -> None:
    stage = Stage().active()
    stage.hears(AgentWrote("b"))
    assert stage.step.writes
    assert stage.under_way[Lane.POLL] == Poll(stage.session)


def test_an_empty_poll_is_followed_by_the_next_without_anything_to_write_down() -> None:
    stage = Stage().active()
    step = stage.done(Lane.POLL)
    assert (step.commands, step.writes) == ([Poll(stage.session)], False)


def test_typing_is_noted_until_the_agent_writes() -> None:
    stage = Stage().active()
    stage.hears(AgentTyped(True))
    assert stage.record.agent_typing
    stage.hears(AgentWrote("x"))
    assert not stage.record.agent_typing


def test_a_dropped_agent_or_a_new_one_is_told_to_the_user_and_the_chat_goes_on() -> None:
    stage = Stage().active()
    stage.hears(AgentLeft())
    stage.hears(ChatTransferred("Leo"))
    assert stage.drain_user() == ["the agent left", "you talk to Leo"]
    assert (stage.state, stage.record.agent_name) == (ChatState.ACTIVE, "Leo")


def test_a_file_of_the_agents_is_told_to_the_user() -> None:
    stage = Stage().active()
    stage.hears(FileRequested())
    assert stage.drain_user() == ["a file came"]


def test_an_undeliverable_text_becomes_a_dead_letter_and_the_next_one_goes_on() -> None:
    stage = Stage().active()
    stage.hears(AgentWrote("one"), AgentWrote("two"))
    first: Any = stage.under_way[Lane.USER]
    step = stage.done(Lane.USER, UndeliverableToUser(first.delivery.id, "400"))
    (letter,) = step.dead_letters
    assert (letter.delivery, letter.reason, letter.direction) == (first.delivery, "400", "to_user")
    assert stage.drain_user() == ["two"]


def test_a_dead_letter_to_the_agent_keeps_what_the_user_wrote() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"), wrote("b"))
    command: Any = stage.under_way[Lane.DESK]
    step = stage.done(Lane.DESK, UndeliverableToAgent(command.delivery.id, "400"))
    (letter,) = step.dead_letters
    assert (letter.delivery.message, letter.direction) == (said("a"), "to_agent")
    assert stage.drain_agent() == ["b"]


def test_a_result_that_comes_twice_strikes_nothing_else() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"), wrote("b"))
    command: Any = stage.under_way[Lane.DESK]
    session = stage.session
    stage.takes()
    moved = stage.session
    stage.happens(DeliveredToAgent(command.delivery.id, session.sending))
    assert stage.owed_to_agent == ["b"]
    assert stage.session == moved


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_file_gives_way_to_its_words_at_its_own_place() -> None:
    stage = Stage().active()
    stage.happens(wrote("before"), wrote("", media=PICTURE), wrote("after"))
    stage.takes()
    command: Any = stage.under_way[Lane.DESK]
    assert command == AttachFile("case", "s", stage.record.to_agent[0])
    stage.done(Lane.DESK, FileAttached(command.delivery.id, "1.jpg"))
    assert stage.drain_agent() == ["file 1.jpg", "my receipt", "after"]


def test_a_file_without_a_caption_is_announced_alone() -> None:
    stage = Stage().active()
    stage.happens(wrote("", media=msgspec.structs.replace(PICTURE, caption="")))
    command: Any = stage.under_way[Lane.DESK]
    stage.done(Lane.DESK, FileAttached(command.delivery.id, "1.jpg"))
    assert stage.drain_agent() == ["file 1.jpg"]


def test_a_file_that_fails_is_told_to_the_user_and_kept_as_a_dead_letter() -> None:
    stage = Stage().active()
    stage.happens(wrote("", media=PICTURE), wrote("after"))
    command: Any = stage.under_way[Lane.DESK]
    step = stage.done(Lane.DESK, FileRejected(command.delivery.id, "too large"))
    assert [letter.delivery.media for letter in step.dead_letters] == [PICTURE]
    assert stage.drain_user() == ["the file failed"]
    assert stage.drain_agent() == ["after"]


def test_a_caption_that_no_agent_read_is_salvaged_with_its_file_once() -> None:
    stage = Stage().active()
    stage.happens(wrote("", media=PICTURE))
    command: Any = stage.under_way[Lane.DESK]
    stage.done(Lane.DESK, FileAttached(command.delivery.id, "1.jpg"))
    assert stage.takes() == "file 1.jpg"
    stage.hears(ChatEnded("agent", True))
    assert stage.step.context == []
    stage.done(Lane.DESK, SessionExpired("403"))
    assert stage.step.context == [said("", media=PICTURE)]


def test_a_text_that_the_agent_read_as_the_chat_ended_is_no_context_of_the_next() -> None:
    stage = Stage().active()
    stage.happens(wrote("read"))
    stage.happens(wrote("unread"))
    stage.hears(ChatEnded("agent", True))
    assert stage.step.context == [said("unread")]
    assert stage.takes() == "read"
    assert stage.step.context == []
    assert stage.record.to_agent == []


def test_files_wait_for_the_agent_as_texts_do() -> None:
    stage = Stage().on_hold()
    stage.happens(wrote("", media=PICTURE))
    assert Lane.DESK not in stage.under_way


# --- the session ----------------------------------------------------------------------------------------------------


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
    assert read(stage.session).ack == -1, "the numbers of the polls begin anew too"
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


# --- endings --------------------------------------------------------------------------------------------------------


PLAYS = {"connecting": Stage.connecting, "on hold": Stage.on_hold, "active": Stage.active}
ENDINGS: list[tuple[Event, str, ChatState]] = [
    (ChatEnded("agent", True), "success", ChatState.CLOSED),
    (ChatEnded("agentsUnavailable", False), "timeout", ChatState.FAILED),
    (ChatRefused("Unavailable"), "timeout", ChatState.FAILED),
    (SessionExpired("403"), "timeout", ChatState.FAILED),
]


@pytest.mark.parametrize("play", PLAYS.values(), ids=PLAYS)
@pytest.mark.parametrize(("event", "bot_state", "end"), ENDINGS, ids=lambda value: str(value)[:24])
def test_every_ending_at_the_desk_puts_the_bot_into_its_state(
    play: Any, event: Event, bot_state: str, end: ChatState
) -> None:
    stage = play(Stage())
    stage.done(Lane.POLL, event)
    assert kinds(stage.under_way) == {Lane.BOT: TellBot}
    told: Any = stage.under_way[Lane.BOT]
    delay_ms = 0 if bot_state == "success" else 5000
    assert (told.state, told.due_at_ms) == (bot_state, stage.now_ms + delay_ms)
    assert not stage.over
    stage.done(Lane.BOT, BotTold())
    assert (stage.state, stage.record.ended_at_ms) == (end, stage.now_ms)


@pytest.mark.parametrize("play", PLAYS.values(), ids=PLAYS)
def test_finish_leaves_the_desk_and_puts_the_bot_into_success(play: Any) -> None:
    stage = play(Stage())
    step = stage.happens(FINISH)
    assert (FINISHER, Answer("ok")) in step.answers
    assert kinds(stage.under_way) == {Lane.DESK: LeaveDesk, Lane.POLL: Poll, Lane.BOT: TellBot}
    assert stage.under_way[Lane.BOT] == TellBot(REQUEST, "success", stage.now_ms)
    stage.done(Lane.BOT, BotTold())
    assert not stage.over
    assert stage.done(Lane.DESK, DeskLeft()).cancel_poll
    assert (stage.state, stage.record.reason) == (ChatState.CLOSED, "finished by the API")


@pytest.mark.parametrize("play", PLAYS.values(), ids=PLAYS)
def test_the_leave_word_leaves_the_desk_and_tells_the_bot_nothing(play: Any) -> None:
    stage = play(Stage())
    step = stage.happens(left("restart"))
    assert step.context == [said("restart")]
    assert kinds(stage.under_way) == {Lane.DESK: LeaveDesk, Lane.POLL: Poll}
    stage.done(Lane.DESK, DeskLeft())
    assert (stage.state, stage.record.reason) == (ChatState.CLOSED, "LeaveRequested")


@pytest.mark.parametrize("event", [FINISH, left()], ids=["finish", "leave"])
def test_ending_before_there_is_a_session_answers_the_caller_and_waits_for_what_is_under_way(event: Event) -> None:
    stage = Stage()
    stage.happens(CONNECT)
    stage.happens(wrote("a"))
    step = stage.happens(event)
    sentence = "could not create chat in salesforce : the chat was ended before it began"
    assert (CALLER, Answer("refused", sentence)) in step.answers
    assert said("a") in step.context
    if Lane.BOT in stage.under_way:
        stage.done(Lane.BOT, BotTold())
    assert stage.is_in(ChatState.CLOSING)
    stage.done(Lane.DESK, ContactReady("c"))
    assert stage.is_in(ChatState.CLOSED)


def test_ending_while_the_desk_is_asked_for_an_agent_leaves_the_desk_after_that() -> None:
    stage = Stage().asked_for_session()
    stage.done(Lane.DESK, SessionOpened(SESSION))
    stage.happens(left())
    assert isinstance(stage.under_way[Lane.DESK], RequestChat)
    stage.done(Lane.DESK, ChatRequested(REQUESTED))
    assert stage.under_way == {Lane.DESK: LeaveDesk(REQUESTED)}


def test_a_case_that_was_opened_while_the_chat_ended_is_on_record() -> None:
    stage = Stage()
    stage.happens(CONNECT)
    stage.done(Lane.DESK, ContactReady("c"))
    stage.happens(FINISH)
    stage.done(Lane.DESK, CaseOpened("k"))
    assert stage.record.case_id == "k"


def test_finish_of_an_ending_chat_is_fine() -> None:
    stage = Stage().closing()
    assert stage.happens(FINISH).answers == [(FINISHER, Answer("ok"))]


def test_what_the_user_wrote_before_the_end_is_still_sent_before_we_leave() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"), wrote("b"))
    stage.happens(FINISH)
    assert stage.drain_agent() == ["a", "b"]
    assert isinstance(stage.under_way[Lane.DESK], LeaveDesk)


@pytest.mark.parametrize(("event", "_state", "_end"), ENDINGS, ids=lambda value: str(value)[:24])
def test_texts_that_no_agent_will_read_become_context(event: Event, _state: str, _end: ChatState) -> None:
    stage = Stage().on_hold()
    stage.happens(wrote("a"), wrote("", media=PICTURE))
    step = stage.done(Lane.POLL, event)
    assert (step.context, stage.record.to_agent) == ([said("a"), said("", media=PICTURE)], [])


def test_our_own_words_to_the_agent_never_become_context() -> None:
    stage = Stage().on_hold()
    stage.hears(ChatEstablished("Eva", (BEFORE,)), ChatEnded("agent", True))
    assert stage.step.context == []


def test_what_the_user_says_after_the_end_is_context() -> None:
    stage = Stage().closing()
    assert stage.happens(wrote("a")).context == [said("a")]
    assert stage.happens(left("b")).context == [said("b")]


def test_the_agents_last_words_still_reach_the_user_before_the_bot_is_told() -> None:
    stage = Stage().active()
    stage.hears(AgentWrote("bye"), ChatEnded("agent", True))
    assert kinds(stage.under_way) == {Lane.USER: SendToUser}
    assert stage.drain_user() == ["bye"]
    assert kinds(stage.under_way) == {Lane.BOT: TellBot}


def test_a_bot_that_cannot_be_told_is_on_record_and_nobody_waits_for_ever() -> None:
    stage = Stage().active()
    stage.hears(ChatEnded("agent", True))
    stage.done(Lane.BOT, BotUntold("503"))
    assert (stage.state, stage.record.reason) == (
        ChatState.FAILED,
        "ChatEnded: agent; the bot was not told: 503",
    )


@pytest.mark.parametrize("event", [ChatEnded("client", True), ChatRefused("x"), SessionExpired("403"), DeskLeft()])
def test_whatever_ends_the_session_while_we_leave_is_our_leaving(event: Event) -> None:
    stage = Stage().closing()
    stage.done(Lane.BOT, BotTold())
    stage.happens(event)
    assert stage.is_in(ChatState.CLOSED)


def test_the_poll_is_hushed_when_nothing_more_is_wanted_from_the_desk() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"))
    assert stage.done(Lane.DESK, SessionExpired("403")).cancel_poll
    assert Lane.POLL not in stage.under_way


def test_the_end_waits_for_everything_that_is_owed() -> None:
    stage = Stage().active()
    stage.hears(AgentWrote("bye"), ChatEnded("agent", True))
    assert stage.is_in(ChatState.CLOSING)
    stage.drain_user()
    assert stage.is_in(ChatState.CLOSING)
    stage.done(Lane.BOT, BotTold())
    assert stage.is_in(ChatState.CLOSED)


# --- going on after a crash -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "play", [Stage.asked_for_session, Stage.connecting, Stage.on_hold, Stage.active, Stage.closing]
)
def test_a_restored_chat_owes_the_same(play: Any) -> None:
    stage = play(Stage())
    stage.happens(wrote("a"))
    owed = dict(stage.under_way)
    step = stage.crash()
    if Lane.POLL in owed:
        # Texts went out beside it: the poll itself is asked again with the same ack.
        owed[Lane.POLL] = Poll(stage.session)
    assert stage.under_way == owed
    assert not step.writes


def test_a_restored_chat_looks_for_its_case_before_it_opens_one() -> None:
    stage = Stage()
    stage.happens(CONNECT)
    stage.done(Lane.DESK, ContactReady("c"))
    stage.crash()
    record = stage.record
    assert stage.under_way == {Lane.DESK: OpenCase(REQUEST, "c", record.opened_at_ms, True, record.chat_id)}


def test_only_what_may_have_been_done_before_the_crash_is_looked_for() -> None:
    stage = Stage()
    stage.happens(CONNECT)
    stage.crash()
    stage.done(Lane.DESK, ContactReady("c"))
    record = stage.record
    assert stage.under_way == {Lane.DESK: OpenCase(REQUEST, "c", record.opened_at_ms, False, record.chat_id)}


def test_a_chat_that_only_waited_for_what_the_crash_took_ends_on_record() -> None:
    stage = Stage()
    stage.happens(CONNECT)
    stage.happens(left())
    assert stage.is_in(ChatState.CLOSING)
    step = stage.crash()
    assert stage.is_in(ChatState.CLOSED)
    assert step.writes
    assert [entry.after for entry in step.flight] == [ChatState.CLOSED]


def test_a_text_that_was_under_way_when_chat_and_process_ended_becomes_context() -> None:
    stage = Stage().active()
    stage.happens(wrote("a"))
    stage.hears(ChatEnded("agent", True))
    assert stage.step.context == []
    step = stage.crash()
    assert step.context == [said("a")]
    assert step.writes


def test_a_new_chat_has_nothing_to_resume() -> None:
    step = Chat(policy(), new_id=str).apply((), busy=(), now_ms=0)
    assert (step.commands, step.writes, step.cancel_poll) == ([], False, False)


# --- on record ------------------------------------------------------------------------------------------------------


def test_every_event_is_in_the_flight_record_with_what_it_led_to() -> None:
    stage = Stage().on_hold()
    count = stage.record.step
    stage.hears(ChatEstablished("Eva"), AgentWrote("hi"))
    assert [(entry.event, entry.before, entry.after) for entry in stage.step.flight] == [
        ("SessionPolled", ChatState.ON_HOLD, ChatState.ON_HOLD),
        ("ChatEstablished", ChatState.ON_HOLD, ChatState.ACTIVE),
        ("AgentWrote", ChatState.ACTIVE, ChatState.ACTIVE),
    ]
    assert set(stage.step.flight[-1].commands) == {"SendToAgent", "Poll", "SendToUser"}
    assert stage.record.step == count + 1


def test_the_flight_record_holds_no_text_that_anybody_wrote() -> None:
    stage = Stage().active()
    stage.happens(wrote("my secret"))
    stage.hears(AgentWrote("my secret"), ChatEnded("agent", True))
    for step in stage.steps:
        assert b"secret" not in msgspec.json.encode(step.flight)


def test_an_event_that_is_not_allowed_is_named_and_changes_nothing() -> None:
    stage = Stage().on_hold()
    step = stage.happens(AgentLeft(), BotTold())
    assert (step.ignored, step.writes, step.commands) == (["AgentLeft", "BotTold"], False, [])
    step = Stage().active().happens(WaitExpired())
    assert (step.ignored, step.writes, step.commands) == (["WaitExpired"], False, [])


# --- connects that nobody believes in -------------------------------------------------------------------------------


def test_a_request_whose_answer_was_lost_is_taken_back_when_the_connect_is_refused() -> None:
    stage = Stage().asked_for_session()
    stage.done(Lane.DESK, SessionOpened(SESSION))
    stage.done(Lane.DESK, ConnectRefused("no answer", "unavailable"))
    assert isinstance(stage.under_way[Lane.DESK], LeaveDesk)
    assert stage.state is ChatState.CLOSING


def test_a_connect_that_is_read_after_its_caller_was_told_no_opens_nothing() -> None:
    stage = Stage()
    asked = Ask("replies", "connect", asked_at_ms=stage.now_ms - 11_000)
    step = stage.happens(ConnectRequested(REQUEST, asked))
    assert [answer.code for _, answer in step.answers] == ["unavailable"]
    assert Lane.DESK not in stage.under_way
    assert stage.record.to_bot is not None
    assert stage.record.to_bot.state == "timeout"


def test_a_desk_that_took_the_request_and_never_says_a_word_is_given_up() -> None:
    stage = Stage().connecting()
    stage.happens(after_s=30)
    assert stage.state is ChatState.CONNECTING
    stage.happens(after_s=31)
    assert stage.record.leaving
    assert stage.record.to_bot is not None


def test_a_chat_that_falls_while_it_closes_sets_aside_what_it_owes_and_tells_the_bot() -> None:
    stage = Stage().active()
    stage.hears(AgentWrote("adiós"), ChatEnded("agent", True))
    step = stage.happens(ChatQuarantined("KeyError on Outcome"))
    assert [letter.delivery.text for letter in step.dead_letters] == ["adiós"]
    assert isinstance(stage.under_way[Lane.BOT], TellBot)


def test_a_message_that_is_on_record_is_not_owed_again_when_a_store_that_failed_over_brings_it_once_more() -> None:
    stage = Stage().active()
    stage.happens(wrote("once"))
    stage.crash()
    stage.happens(wrote("once"))
    assert [owed.text for owed in stage.record.to_agent] == ["once"]
    for number in range(200):
        stage.happens(wrote(f"{number}"))
    assert len(stage.record.recent) == 32
