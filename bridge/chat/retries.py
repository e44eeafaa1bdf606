"""What follows a failure: another try and when, or the events that say it is over."""

from __future__ import annotations

import msgspec

from bridge.chat.policy import ChatPolicy
from bridge.commands import TERMS, Command, LeaveDesk, RequestChat, SendToAgent, SendToUser, is_gone, may_pass
from bridge.errors import BridgeError, DeskError, RemoteGarbled, RemoteUnavailable
from bridge.events import (
    AgentUnreadable,
    DeskLeft,
    Event,
    SessionBroke,
    SessionExpired,
    SessionPolled,
    SessionStale,
    SessionStepped,
)
from bridge.limits import backoff_s
from bridge.messages import DeskSession
from bridge.records import ChatRecord

SESSION_FRESH_MS = 10_000
LAST_WORDS_S = 10.0
# A batch that cannot be read is asked for this often before it is passed over.
UNREADABLE_TRIES = 3


class Attempt(msgspec.Struct, frozen=True):
    """A command under way: since when it is tried, and how often it failed."""

    command: Command
    since_ms: int
    tries: int = 0

    def failed(self) -> Attempt:
        """The attempt after one more failure. Its command knows that it may have gone through."""
        return Attempt(self.command.next_try(), self.since_ms, self.tries + 1)


class RetryDecision(msgspec.Struct, frozen=True):
    """Either another try in so many seconds, or the events that end it."""

    again_in_s: float | None
    events: tuple[Event, ...] = ()


def first_attempt(command: Command, record: ChatRecord | None, *, now_ms: int) -> Attempt:
    """The command as it begins. Its time limit counts from the moment that its terms name."""
    since = TERMS[type(command)].since
    if since == "opened" and record is not None:
        return Attempt(command, record.opened_at_ms)
    if since == "owed" and isinstance(command, SendToUser):
        return Attempt(command, command.delivery.owed_since_ms)
    return Attempt(command, now_ms)


def after_failure(attempt: Attempt, error: BridgeError, policy: ChatPolicy, *, now_ms: int) -> RetryDecision:
    """What follows when a command failed for the `attempt.tries`th time."""
    command, terms = attempt.command, TERMS[type(attempt.command)]
    events = _about_session(command, error, now_ms) if isinstance(error, DeskError) else None
    if isinstance(error, RemoteGarbled) and error.receiving is not None and attempt.tries >= UNREADABLE_TRIES:
        events = (SessionPolled(error.receiving), AgentUnreadable())
    if events is not None:
        return RetryDecision(None, events)
    pause_s = min(max(_pause_s(attempt, error, policy), terms.shortest_pause_s), terms.longest_pause_s)
    spent_s = (now_ms - attempt.since_ms) / 1000
    limit_s = LAST_WORDS_S if is_gone(error) else policy.limit_s(terms.limit)
    if _may_pass(command, error) and spent_s + pause_s < limit_s:
        return RetryDecision(pause_s)
    if terms.insisted and attempt.tries <= policy.retries:
        return RetryDecision(backoff_s(attempt.tries, base_s=2 * policy.retry_base_s))
    return RetryDecision(None, command.given_up(error, attempt.tries))


def _pause_s(attempt: Attempt, error: BridgeError, policy: ChatPolicy) -> float:
    if isinstance(error, DeskError) and error.verdict == "busy":
        return policy.overlap_pause_s
    asked_s = error.retry_after_s if isinstance(error, RemoteUnavailable) else None
    return max(backoff_s(attempt.tries, base_s=policy.retry_base_s), asked_s or 0.0)


def _may_pass(command: Command, error: BridgeError) -> bool:
    """Whether another try may succeed.

    A text that meets a lost session waits: the poll knows how the chat ended, and may bring the agent's last texts.
    """
    return may_pass(error) or (isinstance(command, SendToAgent) and is_gone(error))


def _about_session(command: Command, error: DeskError, now_ms: int) -> tuple[Event, ...] | None:
    """What a desk's answer says about the session; None where it only concerns the command."""
    if isinstance(command, RequestChat):
        return _before_the_chat(command, error, now_ms)
    if isinstance(command, LeaveDesk):
        return _while_leaving(command.session, error)
    if error.verdict == "gone":
        return None if isinstance(command, SendToAgent) else (SessionExpired(str(error)),)
    if error.verdict == "broken":
        return (SessionBroke(str(error)),)
    if error.verdict == "moved" and error.sending is not None:
        return (SessionStepped(error.sending),)
    return None


def _before_the_chat(command: RequestChat, error: DeskError, now_ms: int) -> tuple[Event, ...] | None:
    """A session that lay too long before it was used is replaced; a fresh one that is refused is a refusal."""
    if error.verdict == "gone" and now_ms - command.session.opened_at_ms > SESSION_FRESH_MS:
        return (SessionStale(str(error)),)
    return None


def _while_leaving(session: DeskSession, error: DeskError) -> tuple[Event, ...]:
    """Nothing is left to end where the session is gone, or broke and could not be repaired before this try either."""
    if error.verdict == "broken" and session.ok:
        return (SessionBroke(str(error)),)
    return (DeskLeft(),)
