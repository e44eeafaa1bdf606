"""What a chat owes, read off its record: at most one command a lane, each the next thing to do there."""

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
from bridge.desk import DeskSession
from bridge.records import ChatRecord, ChatState, Delivery


def commands(record: ChatRecord, *, again: bool = False) -> Iterator[Command]:
    """The next command of each lane that has one. `again`: an earlier owner may have carried it out already."""
    if record.state in (ChatState.CLOSED, ChatState.FAILED):
        return
    yield from _to_desk(record, again)
    yield from _from_desk(record)
    if record.to_user:
        yield SendToUser(record.request, record.to_user[0])
    elif record.to_bot:
        yield TellBot(record.request, record.to_bot.state, record.to_bot.due_at_ms)


def _to_desk(record: ChatRecord, again: bool) -> Iterator[Command]:
    if record.state is ChatState.CONNECTING:
        yield from _connecting(record, again)
    elif record.session is None:
        return
    elif record.state is ChatState.CLOSING:
        yield from _leaving(record)
    elif record.session.broken:
        yield from _repairing(record.session)
    elif record.state is ChatState.ACTIVE and record.to_agent:
        yield _towards_agent(record, record.to_agent[0])


def _connecting(record: ChatRecord, again: bool) -> Iterator[Command]:
    if not record.contact_id:
        yield EnsureContact(record.request)
    elif not record.case_id:
        yield OpenCase(record.request, record.contact_id, record.opened_at_ms, again, record.chat_id)
    elif record.session is None:
        yield OpenSession()
    elif not record.requested:
        yield RequestChat(record.request, record.session, record.contact_id, record.case_id)
    elif record.session.broken:
        yield from _repairing(record.session)


def _repairing(session: DeskSession) -> Iterator[Command]:
    if session.repairable:
        yield RepairSession(session)


def _leaving(record: ChatRecord) -> Iterator[Command]:
    if not record.leaving or record.session is None:
        return
    if record.session.broken and record.listening:
        yield from _repairing(record.session)
    elif record.to_agent and not record.session.broken:
        yield _towards_agent(record, record.to_agent[0])
    else:
        yield LeaveDesk(record.session)


def _towards_agent(record: ChatRecord, delivery: Delivery) -> Command:
    assert record.session is not None
    if delivery.media is not None:
        return AttachFile(record.case_id, record.session.session_id, delivery)
    return SendToAgent(record.session, delivery)


def _from_desk(record: ChatRecord) -> Iterator[Command]:
    if record.session is None or not (record.requested and record.listening and record.session.listening):
        return
    if record.state is not ChatState.CLOSING or record.leaving:
        yield Poll(record.session)
