"""The chat: each event is looked up in the table, its actions change the record, and the record says what is pending.

No I/O, no clock. The states are the coarse half of a chat; the fine half is the fields of its record (`requested`,
`listening`, `leaving`, `session`), and `pending` reads both. What is not in the table is made here: see `_row_for`,
`_own_events` and `_settle`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

import msgspec

from bridge.chat.actions import deliveries
from bridge.chat.pending import pending_commands
from bridge.chat.policy import ChatPolicy
from bridge.chat.step import Step
from bridge.chat.table import TABLE
from bridge.commands import Lane, lane_of
from bridge.events import ConnectOverdue, DeskSilent, DeskUnreachable, Event
from bridge.messages import ConnectRequested
from bridge.records import ChatRecord, ChatState, FlightEntry

ENDS = (ChatState.CLOSED, ChatState.FAILED)
SILENCE_MS = 60_000
MOST_BREAKS = 30
# After the desk ended the chat at our request, the agent's last texts are polled for this long at most.
LAST_TEXTS_MS = 10_000


class Chat:
    """One user's chat. Owned by one interconnection; `record` is None while there is nothing to remember (NEW)."""

    def __init__(self, policy: ChatPolicy, record: ChatRecord | None = None, *, new_id: Callable[[], str]) -> None:
        self.policy = policy
        self.record = record
        self.new_id = new_id
        self.resumed = record is not None

    @property
    def state(self) -> ChatState:
        return self.record.state if self.record else ChatState.NEW

    @property
    def over_at_desk(self) -> bool:
        """Whether the desk has ended the chat: what it did not take by now it never will."""
        return self.record is not None and self.record.state is ChatState.CLOSING and not self.record.leaving

    @property
    def awaits_last_texts(self) -> bool:
        """Whether the desk ended the chat at our request, and its last poll is still to come."""
        return self.record is not None and self.record.leaving and bool(self.record.left_at_ms)

    def apply(self, events: Iterable[Event], *, busy: Collection[Lane], now_ms: int) -> Step:
        """What follows from these events, in order, as one step. An event that has no cell changes nothing.

        `busy` are the lanes that carry a command now. Of no events, what follows is what a restored chat still owes.
        """
        step = Step(now_ms=now_ms, policy=self.policy, stored=self.record, busy=frozenset(busy), new_id=self.new_id)
        for event in self._own_events(now_ms):
            self._apply_one(event, step)
        for event in events:
            self._apply_one(event, step)
        for event in self._own_events(now_ms):
            self._apply_one(event, step)
        self._settle(step)
        self._owe(step)
        if self.record and step.flight:
            self.record.step += 1
            names = tuple(type(command).__name__ for command in step.commands)
            step.flight[-1] = msgspec.structs.replace(step.flight[-1], after=self.record.state, commands=names)
        return step

    def forget(self) -> None:
        """Drops the record of a chat that has ended: the next event meets a NEW chat."""
        self.record = None

    def _apply_one(self, event: Event, step: Step) -> None:
        before = self.state
        cell = TABLE[self._row_for(event)].get(type(event))
        if cell is None:
            step.ignored.append(type(event).__name__)
            return
        cell.act(step, event)
        self.record = step.stored
        if self.record:
            self.record.state = cell.state
        step.flight.append(FlightEntry(at_ms=step.now_ms, event=type(event).__name__, before=before, after=self.state))

    def _row_for(self, event: Event) -> ChatState:
        """The row of the table. A chat that owes nothing to the desk any more does not keep its user from a new one."""
        record = self.record
        over = record is not None and self.over_at_desk and not record.to_agent
        return ChatState.NEW if over and isinstance(event, ConnectRequested) else self.state

    def _own_events(self, now_ms: int) -> Iterator[Event]:
        """What the chat itself sees in its record.

        It is asked for before the events too: a result that comes after the deadline must not open the chat.
        """
        if self._overdue(now_ms):
            yield ConnectOverdue()
        elif self.record and self.awaits_last_texts and now_ms - self.record.left_at_ms >= LAST_TEXTS_MS:
            yield DeskSilent()
        elif self.record and self.record.listening and len(self.record.broke_ms) > MOST_BREAKS:
            yield DeskUnreachable(f"the session broke {len(self.record.broke_ms)} times")

    def _overdue(self, now_ms: int) -> bool:
        """Whether the chat is still opening although its time is over.

        Its caller was told that there is no chat, so no agent may be called; or the desk took the request and never
        sent an event, so the user waits for nothing (liveagent.md, "Wrong or moved host").
        """
        record = self.record
        if record is None or record.state is not ChatState.CONNECTING:
            return False
        limit_ms = self.policy.opening_s * 1000 if record.ask else SILENCE_MS
        return now_ms - record.opened_at_ms >= limit_ms

    def _settle(self, step: Step) -> None:
        """CLOSING ends by itself as soon as nothing is owed to anybody."""
        record = self.record
        if record is None or record.state is not ChatState.CLOSING:
            return
        unread = bool(record.to_agent) and not record.leaving and not step.agent_busy
        if unread:
            deliveries.return_unsent(step, None)
        # Without a session there is nothing to leave, once nothing is under way that could still bring one.
        unpolled = self.awaits_last_texts and not record.listening
        leaving = record.leaving and not unpolled and (record.session is not None or Lane.DESK in step.busy)
        over = not (leaving or record.to_user or record.to_bot or record.to_agent)
        if over:
            record.state, record.leaving, record.ended_at_ms = record.end, False, step.now_ms
        if (unread or over) and not step.flight:
            # Nothing happened but a crash, or a lane became free: it has to be written down all the same.
            step.flight.append(
                FlightEntry(at_ms=step.now_ms, event="Settled", before=ChatState.CLOSING, after=record.state)
            )

    def _owe(self, step: Step) -> None:
        if self.record is None:
            return
        commands = {lane_of(command): command for command in pending_commands(self.record)}
        step.cancel_poll = Lane.POLL in step.busy and Lane.POLL not in commands
        free = [command for lane, command in commands.items() if lane not in step.busy]
        # An earlier owner may have carried it out already.
        step.commands += [command.repeated() for command in free] if self.resumed else free
        self.resumed = False
