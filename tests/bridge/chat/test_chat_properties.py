"""What no order of events, failures and crashes may bring about."""

from __future__ import annotations

import itertools

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from bridge.chat.machine import ENDS, LAST_TEXTS_MS, Chat
from bridge.chat.retries import Attempt, after_failure, first_attempt
from bridge.chat.step import Step
from bridge.commands import Command, Lane, SendToAgent, lane_of
from bridge.errors import BridgeError
from bridge.events import (
    BotTold,
    BotUntold,
    DeliveredToAgent,
    DeliveredToUser,
    DeskSilent,
    Event,
    FileAttached,
    TextFound,
    UndeliverableToAgent,
    UndeliverableToUser,
    WaitExpired,
)
from bridge.messages import LeaveRequested, Media, UserMessage, UserMessageReceived
from bridge.records import ChatRecord, ChatState, DeadLetter, decode_record, encode_record

from chat_remotes import FAULTS, Fault, Remotes, numbered  # isort: skip
from chat_stage import CONNECT, FINISH, USER, policy  # isort: skip

SELDOM = st.sampled_from((False, False, False, False, True))
NEXT = ("moves", "ends", "time", "nothing")
TALKING = (ChatState.CONNECTING, ChatState.ON_HOLD, ChatState.ACTIVE)
# Results that a neighbour's repeat could bring twice. Whatever speaks of the session is kept away by its token.
REPEATABLE = (DeliveredToAgent, UndeliverableToAgent, DeliveredToUser, UndeliverableToUser, FileAttached, BotTold)


class World(RuleBasedStateMachine):
    """One user, chat after chat. Commits as an interconnection does: only what a step writes survives a crash."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 1_000_000
        self.others = Remotes()
        self.policy = policy(max_wait_s=60.0, delivery_s=20.0, session_s=60.0)
        self.under_way: dict[Lane, Attempt] = {}
        self.ids = itertools.count(1)
        self.chat = self._chat(None)
        self.disk = b""
        self.context: list[UserMessage] = []
        self.letters: list[DeadLetter] = []
        self.written: list[UserMessage] = []
        self.agent_said: list[str] = []
        self.struck: set[str] = set()
        self.acknowledged: list[str] = []
        self.last_results: tuple[Event, ...] = ()
        self.left_by_word = self.bot_was_dealt_with = self.session_lost = False
        self.excused: set[str] = set()
        self.said_in: dict[str, str] = {}

    def _chat(self, record: ChatRecord | None) -> Chat:
        return Chat(self.policy, record, new_id=lambda: f"c{next(self.ids)}")

    # --- one step, as the interconnection takes it ------------------------------------------------------------------

    def step(self, *events: Event) -> None:
        before = self._owed()
        state = self.chat.state
        step = self.chat.apply(events, busy=self.under_way.keys(), now_ms=self.now_ms)
        self._note(state, events, step)
        self._commit(step, before)
        if self.chat.state in ENDS:
            self._check_end()
            self.chat.forget()
            self.under_way.clear()
            return
        if step.cancel_poll:
            del self.under_way[Lane.POLL]
        if step.cancel_bot:
            del self.under_way[Lane.BOT]
        for command in step.commands:
            self._begin(command)

    def _commit(self, step: Step, before: dict[str, str]) -> None:
        if step.writes:
            over = self.chat.record is None or self.chat.state in ENDS
            self.disk = b"" if over else encode_record(self.chat.record)  # type: ignore[arg-type]
            self.context += step.context
            self.letters += step.dead_letters
        on_record = encode_record(self.chat.record) if self.chat.record and self.chat.state not in ENDS else b""
        assert self.disk == on_record, "the record changed, and the step did not say so"
        self.struck |= before.keys() - self._owed().keys()

    def _begin(self, command: Command) -> None:
        lane = lane_of(command)
        assert lane not in self.under_way, "two commands in one lane"
        delivery = getattr(command, "delivery", None)
        assert delivery is None or delivery.id not in self.struck, "a delivery that was over is issued again"
        if isinstance(command, SendToAgent):
            assert self.others.desk.accepted, "a text before an agent was there"
        self.under_way[lane] = first_attempt(command, self.chat.record, now_ms=self.now_ms)

    def _note(self, state: ChatState, events: tuple[Event, ...], step: Step) -> None:
        """Keeps what the checks at a chat's end ask for."""
        for event in events:
            if type(event).__name__ in step.ignored:
                continue
            if isinstance(event, LeaveRequested) and state in TALKING:
                self.left_by_word = True
            if isinstance(event, BotTold | BotUntold):
                self.bot_was_dealt_with = True

    def _owed(self) -> dict[str, str]:
        record = self.chat.record
        return {owed.id: owed.text for owed in (*record.to_agent, *record.to_user)} if record else {}

    def _check_end(self) -> None:
        record = self.chat.record
        assert record is not None
        assert self.left_by_word or self.bot_was_dealt_with, "the bot was not told"
        assert [record.to_agent, record.to_user, record.to_bot, record.ask] == [[], [], None, None]
        assert not record.leaving
        assert record.reason
        assert record.ended_at_ms == self.now_ms
        self._check_last_texts(record)
        self.left_by_word = self.bot_was_dealt_with = False

    # --- what comes in ----------------------------------------------------------------------------------------------

    @initialize(
        far=st.sampled_from((0, 1, 2, 3, 4, 4, 4, 4)),
        drops_repeats=st.booleans(),
        texts=st.integers(0, 3),
        then=st.sampled_from(("", *NEXT)),
    )
    def a_chat_is_under_way(self, far: int, drops_repeats: bool, texts: int, then: str) -> None:
        """From no chat at all to one in which a text to the agent has just gone astray."""
        self.others.desk.drops_repeats = drops_repeats
        talk = (self.connect, self.all_goes_well_for_a_while, self.others.desk.accept, self.all_goes_well_for_a_while)
        for begin in talk[:far]:
            begin()
        assert far < 4 or self.chat.state is ChatState.ACTIVE
        for _ in range(texts):
            self.user_writes(word=False, file=False)
        if far == 4 and texts and then:
            self.a_text_is_taken(then=then, fault="drop after")

    @precondition(lambda self: self.chat.state is ChatState.NEW)
    @rule()
    def connect(self) -> None:
        self.step(CONNECT)

    @rule(really=SELDOM)
    def connect_again(self, really: bool) -> None:
        if really:
            self.step(CONNECT)

    @rule(word=SELDOM, file=st.booleans())
    def user_writes(self, word: bool, file: bool) -> None:
        number = len(self.written)
        media = Media(kind="image", url=f"https://m.example/{number}", caption=f"caption {number}") if file else None
        message = UserMessage(
            message_id=str(number),
            user_id=USER,
            provider="whatsapp",
            sent_at_ms=0,
            text="" if file else f"text {number}",
            media=media,
        )
        self.written.append(message)
        self.step(LeaveRequested(message) if word and not file else UserMessageReceived(message))

    @rule(really=SELDOM)
    def api_finishes(self, really: bool) -> None:
        if really:
            self.step(FINISH)

    @precondition(lambda self: self.chat.state is ChatState.ON_HOLD)
    @rule(really=SELDOM)
    def wait_expires(self, really: bool) -> None:
        if really:
            self.now_ms += 60_000
            self.step(WaitExpired())

    @rule(seconds=st.sampled_from((1, 30, 300)))
    def time_passes(self, seconds: int) -> None:
        self.now_ms += seconds * 1000

    # --- what the desk does -----------------------------------------------------------------------------------------

    @precondition(lambda self: self.others.desk.phase == "queued")
    @rule(accepted=st.sampled_from((True, True, False)))
    def desk_decides(self, accepted: bool) -> None:
        if accepted:
            self.others.desk.accept()
        else:
            self.others.desk.end("ChatRequestFail", "Unavailable")

    @precondition(lambda self: self.others.desk.phase == "active")
    @rule()
    def agent_writes(self) -> None:
        text = f"agent {len(self.agent_said)}"
        self.agent_said.append(text)
        self.said_in[text] = f"s{self.others.desk.sessions}"
        self.others.desk.say(text)

    @precondition(lambda self: self.others.desk.phase == "active")
    @rule(reason=st.sampled_from(("agent", "agentsUnavailable")), really=SELDOM)
    def agent_ends(self, reason: str, really: bool) -> None:
        if really:
            self.others.desk.end("ChatEnded", reason)

    @precondition(lambda self: self.others.desk.phase in ("queued", "active"))
    @rule(kind=st.sampled_from(("AgentDisconnect", "ChatTransferred", "QueueUpdate", "AgentTyping", "Nonsense")))
    def desk_says_something_else(self, kind: str) -> None:
        self.others.desk.happens(kind, name="Leo", position=len(self.written))

    @precondition(lambda self: self.others.desk.phase in ("queued", "active"))
    @rule(gone=SELDOM)
    def session_moves_or_is_lost(self, gone: bool) -> None:
        if gone:
            self.others.desk.phase, self.session_lost = "gone", True
        else:
            self.others.desk.broken = True

    @rule(blocked=SELDOM)
    def contact_is_blocked(self, blocked: bool) -> None:
        self.others.blocked = blocked

    # --- how what was asked for ends --------------------------------------------------------------------------------

    @precondition(lambda self: self.under_way)
    @rule(lane=st.sampled_from(Lane), fault=st.sampled_from(FAULTS))
    def command_ends(self, lane: Lane, fault: Fault) -> None:
        if lane in self.under_way:
            self.end(lane, fault)

    @precondition(lambda self: self.others.desk.phase == "active" and self._sends_to_agent())
    @rule(then=st.sampled_from(NEXT), fault=st.sampled_from(("drop after", "")))
    def a_text_is_taken(self, then: str, fault: Fault) -> None:
        """The most delicate moment: the desk has the text, we may not know it, and something else happens."""
        self.end(Lane.DESK, fault)
        if Lane.DESK not in self.under_way:
            return
        if then == "moves":
            self.others.desk.broken = True
        elif then == "ends":
            self.others.desk.end("ChatEnded", "agent")
        elif then == "time":
            self.now_ms += 60_000
            self.end(Lane.DESK, "500")

    def _sends_to_agent(self) -> bool:
        return Lane.DESK in self.under_way and isinstance(self.under_way[Lane.DESK].command, SendToAgent)

    @precondition(lambda self: self.under_way)
    @rule()
    def all_goes_well_for_a_while(self) -> None:
        for _ in range(12):
            for lane in tuple(self.under_way):
                if lane in self.under_way:
                    self.end(lane, "")

    def end(self, lane: Lane, fault: Fault) -> None:
        attempt = self.under_way[lane]
        result = self.others.serve(attempt.command, fault)
        if isinstance(result, BridgeError):
            attempt = self.under_way[lane] = attempt.failed()
            if lane in (Lane.DESK, Lane.FILE) and self.chat.over_at_desk:
                self.finish(lane)
                return
            verdict = after_failure(attempt, result, self.policy, now_ms=self.now_ms)
            if verdict.again_in_s is not None:
                assert not verdict.events
                self.now_ms += int(verdict.again_in_s * 1000)
                return
            result = verdict.events
        if lane is Lane.POLL and not result and self.chat.awaits_last_texts:
            result = (DeskSilent(),)
        self._acknowledge(result)
        self.last_results = tuple(event for event in result if isinstance(event, REPEATABLE))
        self.finish(lane, *result)

    def finish(self, lane: Lane, *events: Event) -> None:
        del self.under_way[lane]
        self.step(*events)

    def _acknowledge(self, events: tuple[Event, ...]) -> None:
        owed = self._owed()
        for event in events:
            if isinstance(event, DeliveredToAgent) and event.delivery_id in owed:
                self.acknowledged.append(owed[event.delivery_id])
            if isinstance(event, TextFound) and event.text in owed.values():
                self.acknowledged.append(event.text)

    @precondition(lambda self: self.last_results)
    @rule()
    def a_result_comes_twice(self) -> None:
        self.step(*self.last_results)

    @rule(done=st.sets(st.sampled_from(Lane)))
    def process_crashes(self, done: set[Lane]) -> None:
        """At any point; what was under way at that moment may have been done, but nobody hears of it."""
        for lane in done & self.under_way.keys():
            self.others.serve(self.under_way[lane].command)
        self.under_way.clear()
        self.last_results = ()
        self.chat = self._chat(decode_record(self.disk) if self.disk else None)
        self.step()

    # --- in the end -------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        self._let_all_go_well()
        self._drive_to_the_end()
        for message in self.written:
            self._check_user_message(message)
        self._check_agent_texts()
        mine = [numbered(text) for text in self.others.desk.heard if text.startswith(("text", "caption"))]
        assert mine == sorted(mine), "the user's texts came out of order"
        assert self.others.desk.too_early == 0
        assert set(self.others.told) <= {"success", "timeout", "blocked"}

    def _let_all_go_well(self) -> None:
        """A chat that is well brings everything to both sides."""
        for _ in range(10):
            self.all_goes_well_for_a_while()
        if self.chat.state is ChatState.ACTIVE and self.others.desk.phase == "active":
            assert not self._owed(), "something is owed, and nobody moves"
            assert set(self.under_way) == {Lane.POLL}

    def _drive_to_the_end(self) -> None:
        """From wherever this stands: everybody answers, and the API ends the chat."""
        self.step(FINISH)
        for _ in range(400):
            if not self.under_way:
                break
            for lane in tuple(self.under_way):
                if lane in self.under_way:
                    self.end(lane, "")
        assert self.chat.state is ChatState.NEW, f"never ends: {self.chat.record}"

    def _check_user_message(self, message: UserMessage) -> None:
        last_words = message.media.caption if message.media else message.text
        heard = self.others.desk.heard.count(last_words)
        context = self.context.count(message)
        letters = sum(letter.delivery.message == message for letter in self.letters)
        assert heard <= 1, f"{last_words} was sent twice"
        assert context + letters <= 1, f"{last_words} was put away twice"
        assert heard + context + letters >= 1, f"{last_words} is lost"
        if last_words in self.acknowledged:
            assert (heard, context + letters) == (1, 0), f"{last_words} was delivered and put away"

    def _check_last_texts(self, record: ChatRecord) -> None:
        """What the agent wrote before the desk ended the chat was read, unless the session or the desk was lost."""
        known = {*self.others.received.values(), *(letter.delivery.text for letter in self.letters), *self.excused}
        ours = record.session.id if record.session else ""
        unread = [text for text in self.agent_said if text not in known and self.said_in[text] == ours]
        waited_ms = self.now_ms - record.left_at_ms if record.left_at_ms else 0
        excused = self.session_lost or not record.listening or waited_ms >= LAST_TEXTS_MS
        assert excused or not unread, f"{unread} were not read before the chat was over: {record}"
        self.excused |= set(unread)
        self.session_lost = False

    def _check_agent_texts(self) -> None:
        received = [text for text in self.others.received.values() if text.startswith("agent ")]
        numbers = [numbered(text) for text in received]
        assert numbers == sorted(set(numbers)), "agent texts came twice, or out of order"
        heard = set(received) | {letter.delivery.text for letter in self.letters}
        for text in self.agent_said:
            confirmed = text in self.others.desk.confirmed
            assert text in heard or not confirmed, f"{text} was confirmed to the desk and is lost"


World.TestCase.settings = settings(
    max_examples=300,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestWorld = World.TestCase
