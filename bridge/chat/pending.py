"""What a chat owes, read off its record: at most one command a lane, each the next thing to do there.

A command is never stored. A chat that was restored reads its commands off the record by the same rule.
"""

from __future__ import annotations

from collections.abc import Iterator

from bridge.commands import (
    AttachFile,
    Command,
    EnsureContact,
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
from bridge.messages import DeskSession
from bridge.records import ChatRecord, ChatState, Delivery

LONGEST_REPAIR_PAUSE_MS = 8_000


def pending_commands(record: ChatRecord) -> Iterator[Command]:
    """The next command of each lane that has one."""
    if record.state in (ChatState.CLOSED, ChatState.FAILED):
        return
    yield from _to_desk(record)
    yield from _from_desk(record)
    if record.to_user:
        yield SendToUser(record.request, record.to_user[0])
    elif record.to_bot and not (record.leaving and record.listening and record.agent_name):
        # The agent's last texts come before what the bot says next.
        yield TellBot(record.request, record.to_bot.state, record.to_bot.due_at_ms)


def _to_desk(record: ChatRecord) -> Iterator[Command]:
    session = record.session
    if record.state is ChatState.CONNECTING:
        yield from _connecting(record)
    elif session is None:
        return
    elif record.state is ChatState.CLOSING:
        yield from _leaving(record, session)
    elif not session.ok:
        yield from _repairing(record, session)
    elif record.state is ChatState.ACTIVE and record.to_agent:
        yield _towards_agent(record, session, record.to_agent[0])


def _connecting(record: ChatRecord) -> Iterator[Command]:
    if not record.contact_id:
        yield EnsureContact(record.request)
    elif not record.case_id:
        yield OpenCase(record.request, record.contact_id, record.opened_at_ms, chat_id=record.chat_id)
    elif record.session is None:
        yield OpenSession()
    elif not record.requested:
        yield RequestChat(record.request, record.session, record.contact_id, record.case_id)
    elif not record.session.ok:
        yield from _repairing(record, record.session)


def _repairing(record: ChatRecord, session: DeskSession) -> Iterator[Command]:
    if session.repairable:
        yield RepairSession(session, _repair_due_ms(record, session))


def _repair_due_ms(record: ChatRecord, session: DeskSession) -> int:
    """A session that breaks again after its repair is repaired ever more slowly."""
    breaks = len(record.broke_ms)
    if session.health != "broken" or breaks < 2:
        return 0
    return record.broke_ms[-1] + min(1000 << (breaks - 2), LONGEST_REPAIR_PAUSE_MS)


def _leaving(record: ChatRecord, session: DeskSession) -> Iterator[Command]:
    if not record.leaving:
        return
    if not session.ok and record.listening:
        yield from _repairing(record, session)
    elif record.left_at_ms:
        return
    elif record.to_agent and session.ok:
        yield _towards_agent(record, session, record.to_agent[0])
    else:
        yield LeaveDesk(session)


def _towards_agent(record: ChatRecord, session: DeskSession, delivery: Delivery) -> Command:
    if delivery.media is not None:
        return AttachFile(record.case_id, session.id, delivery)
    return SendToAgent(session, delivery, record.next_text_ms)


def _from_desk(record: ChatRecord) -> Iterator[Command]:
    if record.session is None or not (record.requested and record.listening and record.session.pollable):
        return
    if record.state is not ChatState.CLOSING or record.leaving:
        yield Poll(record.session)
