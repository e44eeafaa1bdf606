"""Records that cannot be read: the chat ends where everybody sees it, and what was on record is a dead letter."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from bridge.actors.leases import Lease
from bridge.actors.store.store import Commit, Store, StoredChat
from bridge.records import ChatRecord, ChatState, DeadLetter, Delivery, rescued_record

log = logging.getLogger("bridge.store")

REASON = "the record cannot be read"
# Of the raw record, in the dead letter.
TEXT_LIMIT = 256 * 1024


def end_unreadable(store: Store, lease: Lease, chats: Iterable[StoredChat], *, now_ms: int) -> list[ChatRecord]:
    """Replaces records that cannot be read by ones that end their chats; those that are still to be carried out.

    The bot is told and the session left as far as the old record says whose they are.
    """
    going_on = []
    for chat in chats:
        log.critical("partition %d: %s, so the chat is ended; see the dead letters", lease.partition, REASON)
        record = rescued_record(chat.raw, user_id=chat.user_id, reason=REASON, now_ms=now_ms)
        letter = _letter(chat, record, now_ms)
        over = record.state is ChatState.FAILED
        store.commit(lease, Commit(user_id=chat.user_id, record=record, over=over, dead_letters=[letter]))
        if not over:
            store.rename(lease, chat, record.request.user_key)
            going_on.append(record)
    return going_on


def _letter(chat: StoredChat, record: ChatRecord, now_ms: int) -> DeadLetter:
    raw = chat.raw[:TEXT_LIMIT].decode("utf-8", "replace")
    return DeadLetter(
        chat_id=record.chat_id,
        user_id=chat.user_id,
        provider=record.request.provider,
        direction="record",
        at_ms=now_ms,
        reason=REASON,
        delivery=Delivery(id=record.chat_id, text=raw, owed_since_ms=now_ms),
    )
