"""The one hierarchy of errors, split by whose fault it is and whether trying again helps."""

from __future__ import annotations

from typing import Literal

import msgspec

Verdict = Literal["gone", "broken", "busy", "moved"]


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


class NewerRecord(StoreError):
    """A chat was written by a newer version of this service; only that version may go on with it."""


class RecordTooLarge(StoreError):
    """A chat's record is larger than the store takes; the chat cannot go on."""


class Fenced(StoreError):
    """The partition has another owner now: whoever meets this stops at once and writes nothing more."""


class StaleRecord(Fenced):
    """The store went back: it lacks a commit that it had confirmed. The chats start again from what is on record."""


class AnswerTimeout(BridgeError):
    """Ours: nobody answered an ask in time; whether it was done is not known."""


class RemoteError(BridgeError):
    """A remote server's: `status` is its HTTP status, 0 when there was no answer at all.

    `sending`, where it is set, is the sending half of the session from which a desk can go on after this error.
    """

    def __init__(self, sentence: str, *, status: int = 0, code: str = "") -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.sending: msgspec.Raw | None = None


class RemoteUnavailable(RemoteError):
    """Slow, down, 5xx, 429, a dropped connection: the same request may be tried again."""

    def __init__(self, sentence: str, *, status: int = 0, code: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(sentence, status=status, code=code)
        self.retry_after_s = retry_after_s


class RemoteGarbled(RemoteUnavailable):
    """It answered, but in bytes that make no sense; worth another try.

    `receiving`, where it is set, is the receiving half of the session that passes over those bytes.
    """

    receiving: msgspec.Raw | None = None


class AnswerTooLarge(RemoteGarbled):
    """Its answer has more bytes than the call allows."""


class RemoteRefused(RemoteError):
    """It understood and said no: the same request would be refused again."""


class DeskError(RemoteError):
    """A desk's: its answer says something about the session.

    `verdict`: `gone`: the session does not exist any more; `broken`: it moved and must be repaired; `busy`: another
    poll of it is still open; `moved`: the sending half was out of step.
    """

    def __init__(self, sentence: str, *, verdict: Verdict, status: int = 0) -> None:
        super().__init__(sentence, status=status)
        self.verdict = verdict
