"""The one hierarchy of errors, split by whose fault it is and whether trying again helps."""

from __future__ import annotations


class BridgeError(Exception):
    """Root of every error that this service raises on purpose."""


class SettingsError(BridgeError):
    """The operator's: one or more settings are missing or malformed; `faults` has a sentence for each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class PayloadError(BridgeError):
    """The caller's: a body that cannot be understood; the sentence is what the caller is told."""


class StoreError(BridgeError):
    """Ours: the store did not do what it was asked."""


class StoreUnavailable(StoreError):
    """The store did not answer, or did not confirm; the same step may be tried again."""


class MailboxFull(StoreError):
    """A chat owes more messages than MAILBOX_LIMIT; the sender should try later."""


class Fenced(StoreError):
    """The partition has another owner now: whoever meets this stops at once and writes nothing more."""


class StaleRecord(Fenced):
    """The store went back: it lacks a commit that it had confirmed. The chats start again from what is on record."""


class AnswerTimeout(BridgeError):
    """Ours: nobody answered an ask in time; whether it was done is not known."""


class RemoteError(BridgeError):
    """A neighbour's: `status` is its HTTP status, 0 when there was no answer at all."""

    def __init__(self, sentence: str, *, status: int = 0, code: str = "") -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code


class RemoteUnavailable(RemoteError):
    """Slow, down, 5xx, 429, a dropped connection: the same request may be tried again."""

    def __init__(self, sentence: str, *, status: int = 0, code: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(sentence, status=status, code=code)
        self.retry_after_s = retry_after_s


class RemoteGarbled(RemoteUnavailable):
    """It answered, but in bytes that make no sense; worth another try."""


class AnswerTooLarge(RemoteGarbled):
    """Its answer has more bytes than the call allows."""


class RemoteRefused(RemoteError):
    """It understood and said no: the same request would be refused again."""


class SessionLost(RemoteRefused):
    """The desk does not know the session any more (403, liveagent.md, "Status codes")."""


class SessionBroken(RemoteError):
    """The session moved (503): it must be repaired before anything else is sent (liveagent.md, "Reconnect")."""


class PollOverlapped(RemoteError):
    """Another poll of the same session is still held at the desk (409, liveagent.md, "Two polls at once")."""


class OutOfStep(RemoteError):
    """A POST's number was not the next one; `accepted` is the last one taken (liveagent.md, "Sequence numbers")."""

    def __init__(self, sentence: str, *, accepted: int) -> None:
        super().__init__(sentence, status=409)
        self.accepted = accepted
