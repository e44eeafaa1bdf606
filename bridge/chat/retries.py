"""What follows a failure: another try and when, or the event that says it is over. One table for every command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

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
from bridge.errors import (
    BridgeError,
    OutOfStep,
    PollOverlapped,
    RemoteUnavailable,
    SessionBroken,
    SessionLost,
)
from bridge.events import (
    BotUntold,
    ConnectRefused,
    DeskLeft,
    DeskUnreachable,
    Event,
    FileRejected,
    SessionExpired,
    SessionStale,
    SessionStepped,
    UndeliverableToAgent,
    UndeliverableToUser,
)
from bridge.limits import backoff_s
from bridge.messages import Message

SESSION_FRESH_MS = 10_000
MOST_REPAIRS = 30
LAST_WORDS_S = 10.0

_PASSING = (RemoteUnavailable, SessionBroken, OutOfStep, PollOverlapped)


class TimeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How long each kind of thing is tried. Seconds, but for `retries`: further tries at what was refused."""

    connect_s: float = 10.0
    delivery_s: float = 600.0
    session_s: float = 120.0
    leave_s: float = 60.0
    file_s: float = 60.0
    overlap_pause_s: float = 3.0
    retries: int = 2


class Attempt(Protocol):
    """A command under way: how often it failed, and since when it is tried."""

    command: Command
    tries: int
    since_ms: int


class RetryDecision(msgspec.Struct, frozen=True):
    """Either another try in so many seconds, or the events that end it."""

    again_in_s: float | None
    events: tuple[Event, ...] = ()


def after_failure(attempt: Attempt, error: BridgeError, time_limits: TimeLimits, *, now_ms: int) -> RetryDecision:
    """What follows when a command failed for the `attempt.tries`th time."""
    command = attempt.command
    spent_s = (now_ms - attempt.since_ms) / 1000
    moved = _session_moved(attempt, error, now_ms)
    if moved is not None:
        return RetryDecision(None, moved)
    pause_s = time_limits.overlap_pause_s if isinstance(error, PollOverlapped) else _pause_s(attempt, error)
    if _passes(command, error) and spent_s + pause_s < _give_up_s(command, error, time_limits):
        return RetryDecision(pause_s)
    if isinstance(command, SendToUser | TellBot) and attempt.tries <= time_limits.retries:
        return RetryDecision(backoff_s(attempt.tries, base_s=1.0))
    events = _END[type(command)](command, error)
    return RetryDecision(None, tuple(_after(event, attempt.tries) for event in events))


def _after(event: Event, tries: int) -> Event:
    if isinstance(event, UndeliverableToAgent | UndeliverableToUser | FileRejected):
        return msgspec.structs.replace(event, attempts=tries)
    return event


def _pause_s(attempt: Attempt, error: BridgeError) -> float:
    return max(backoff_s(attempt.tries), getattr(error, "retry_after_s", None) or 0.0)


def _passes(command: Command, error: BridgeError) -> bool:
    """Whether another try may go better.

    A text that meets a lost session waits: the poll knows how the chat ended, and may hold the agent's last words.
    """
    return isinstance(error, _PASSING) or (isinstance(command, SendToAgent) and isinstance(error, SessionLost))


def _give_up_s(command: Command, error: BridgeError, time_limits: TimeLimits) -> float:
    if isinstance(error, SessionLost):
        return LAST_WORDS_S
    if isinstance(error, PollOverlapped):
        return time_limits.session_s
    return _GIVE_UP_S[type(command)](time_limits)


def _session_moved(attempt: Attempt, error: BridgeError, now_ms: int) -> tuple[Event, ...] | None:
    """The answers by which a desk says something of the session, not of the command."""
    command = attempt.command
    if isinstance(command, LeaveDesk) and _has_left(command, error):
        return (DeskLeft(),)
    if isinstance(command, RequestChat):
        return _before_the_chat(command, error, now_ms)
    if isinstance(error, SessionLost) and not isinstance(command, SendToAgent):
        return (SessionExpired(str(error)),)
    session = getattr(command, "session", None)
    if isinstance(error, SessionBroken) and session is not None:
        return _broken(attempt, session, error)
    if isinstance(error, OutOfStep) and session is not None and error.accepted != session.sequence:
        return (SessionStepped(session.stepped(error.accepted)),)
    return None


def _has_left(command: LeaveDesk, error: BridgeError) -> bool:
    """Whether there is nothing more to leave: the session is gone, or could not be repaired before this try either."""
    if isinstance(error, SessionBroken):
        return command.session.broken
    return isinstance(error, SessionLost | OutOfStep)


def _broken(attempt: Attempt, session: DeskSession, error: BridgeError) -> tuple[Event, ...] | None:
    """A session that breaks again after each repair is repaired ever more slowly, and not for ever."""
    if session.repairs >= MOST_REPAIRS:
        return (DeskUnreachable(str(error)),)
    return (SessionStepped(session.broke()),) if attempt.tries > min(session.repairs, 4) else None


def _before_the_chat(command: RequestChat, error: BridgeError, now_ms: int) -> tuple[Event, ...] | None:
    """A session that lay too long before it was used is replaced; a fresh one that is refused is refused."""
    if isinstance(error, SessionLost) and now_ms - command.session.opened_at_ms > SESSION_FRESH_MS:
        return (SessionStale(str(error)),)
    return None


_GIVE_UP_S: dict[type[Message], Callable[[TimeLimits], float]] = {
    EnsureContact: lambda p: p.connect_s,
    OpenCase: lambda p: p.connect_s,
    OpenSession: lambda p: p.connect_s,
    RequestChat: lambda p: p.connect_s,
    Poll: lambda p: p.session_s,
    RepairSession: lambda p: p.session_s,
    SendToAgent: lambda p: p.delivery_s,
    AttachFile: lambda p: p.file_s,
    LeaveDesk: lambda p: p.leave_s,
    SendToUser: lambda p: p.delivery_s,
    TellBot: lambda p: p.delivery_s,
}


def _refused(command: Any, error: BridgeError) -> tuple[Event, ...]:
    return (ConnectRefused("unavailable" if isinstance(error, _PASSING) else "refused", str(error)),)


def _expired(command: Any, error: BridgeError) -> tuple[Event, ...]:
    return (SessionExpired(str(error)) if isinstance(error, SessionLost) else DeskUnreachable(str(error)),)


def _unsaid(command: Any, error: BridgeError) -> tuple[Event, ...]:
    """The number of a text that is given up may have been taken: another text under it would be dropped as a repeat.

    A number too high only costs a 409 that names the right one (liveagent.md, "Sequence numbers").
    """
    if isinstance(error, SessionLost):
        return _expired(command, error)
    session = command.session
    return (
        SessionStepped(session.stepped(session.sequence + 1)),
        UndeliverableToAgent(command.delivery.id, str(error)),
    )


_END: dict[type[Message], Callable[[Any, BridgeError], tuple[Event, ...]]] = {
    EnsureContact: _refused,
    OpenCase: _refused,
    OpenSession: _refused,
    RequestChat: _refused,
    Poll: _expired,
    RepairSession: _expired,
    SendToAgent: _unsaid,
    AttachFile: lambda command, error: (FileRejected(command.delivery.id, str(error)),),
    LeaveDesk: lambda command, error: (DeskLeft(),),
    SendToUser: lambda command, error: (UndeliverableToUser(command.delivery.id, str(error)),),
    TellBot: lambda command, error: (BotUntold(str(error)),),
}
