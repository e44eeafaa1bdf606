"""Actions on deliveries: what is owed to the agent and to the user, what was delivered, and what was given up."""

from __future__ import annotations

from hashlib import blake2b

from bridge.chat.step import Step
from bridge.events import (
    DeliveredToAgent,
    DeliveredToUser,
    DeliveryFailed,
    Event,
    FileAttached,
    TextFound,
)
from bridge.messages import (
    LeaveRequested,
    Media,
    UserMessage,
    UserMessageReceived,
)
from bridge.records import ChatRecord, ChatState, DeadLetter, Delivery
from bridge.texts import split

RECENT = 32


def keep_as_context(step: Step, event: UserMessageReceived | LeaveRequested) -> None:
    step.context.append(event.message)
    _note_letter(step, event)


def _note_letter(step: Step, event: UserMessageReceived | LeaveRequested) -> None:
    """A dead letter that is sent again is removed by the commit that owes it."""
    if isinstance(event, UserMessageReceived) and event.letter:
        step.sent_letters.append(event.letter)


def owe_agent_message(step: Step, event: UserMessageReceived) -> None:
    message = event.message
    _note_letter(step, event)
    if _is_repeat(step.record, message):
        return
    owe_agent(step, message.text, message=message, media=message.media)


def _is_repeat(record: ChatRecord, message: UserMessage) -> bool:
    """Whether this message is on record already; from now on it is."""
    short = _short_id(message)
    if short in record.recent:
        return True
    record.recent = [*record.recent[1 - RECENT :], short]
    return False


def _short_id(message: UserMessage) -> str:
    return blake2b(message.message_id.encode(), digest_size=8).hexdigest()


def return_unsent(step: Step, event: Event | None) -> None:
    """Turns what no agent of this chat will read into context, for the next agent.

    A text that is under way may still be read: it stays until that is known.
    """
    record = step.record
    talking = record.state in (ChatState.ACTIVE, ChatState.CLOSING)
    under_way = 1 if talking and step.agent_busy else 0
    step.context.extend(owed.message for owed in record.to_agent[under_way:] if owed.message is not None)
    del record.to_agent[under_way:]


def owe_agent(step: Step, text: str, *, message: UserMessage | None = None, media: Media | None = None) -> None:
    if media is not None:
        step.record.to_agent.append(_delivery(step, "a", text, message=message, media=media))
    else:
        step.record.to_agent += to_agent(step, text, message)


def to_agent(step: Step, text: str, message: UserMessage | None = None) -> list[Delivery]:
    """The text in pieces that the desk takes.

    The user's message is attached to the last piece only: if the chat ends before that is sent, the whole message
    returns to context.
    """
    *first, last = split(text, step.policy.desk_longest_text) or [text]
    return [*(_delivery(step, "a", piece) for piece in first), _delivery(step, "a", last, message=message)]


def keep_gap(step: Step) -> None:
    step.record.next_text_ms = step.now_ms + int(step.policy.desk_text_gap_s * 1000)


def _delivery(
    step: Step, side: str, text: str, *, message: UserMessage | None = None, media: Media | None = None
) -> Delivery:
    record = step.record
    record.owed_count += 1
    return Delivery(
        id=f"{record.chat_id}-{side}{record.owed_count}",
        text=text,
        owed_since_ms=step.now_ms,
        message=message,
        media=media,
    )


def say(step: Step, text: str) -> None:
    for part in step.policy.texts.parts(step.record.request.provider, text):
        step.record.to_user.append(_delivery(step, "u", part))


# --- deliveries that ended -------------------------------------------------------------------------------------------


def remove_delivered_to_agent(step: Step, event: DeliveredToAgent) -> None:
    record = step.record
    if _remove(record.to_agent, event.delivery_id) is not None and record.session is not None:
        record.session = record.session.sent(event.sending)
        keep_gap(step)


def remove_delivered_to_user(step: Step, event: DeliveredToUser) -> None:
    _remove(step.record.to_user, event.delivery_id)


def remove_found(step: Step, event: TextFound) -> None:
    """Removes the text that was under way when the session broke: the desk has it. Any other text stays owed."""
    owed = step.record.to_agent
    if owed and owed[0].media is None and owed[0].text.strip() == event.text.strip():
        del owed[0]


def dead_letter_to_agent(step: Step, event: DeliveryFailed) -> None:
    delivery = _remove(step.record.to_agent, event.delivery_id)
    if delivery is None:
        return
    dead_letter(step, delivery, "to_agent", event)
    notice = step.policy.texts.context_failed
    if delivery.message is not None:
        say(step, step.policy.texts.undelivered)
    elif delivery.context and notice and all(owed.text != notice for owed in step.record.to_agent):
        # The agent would miss the context and not know.
        step.record.to_agent[:0] = to_agent(step, notice)


def dead_letter_to_user(step: Step, event: DeliveryFailed) -> None:
    """The agent is told, who believes that the user has read the text."""
    record = step.record
    delivery = _remove(record.to_user, event.delivery_id)
    if delivery is None:
        return
    dead_letter(step, delivery, "to_user", event)
    notice = step.policy.texts.not_received(delivery.text)
    if notice and record.state is ChatState.ACTIVE:
        owe_agent(step, notice)


def announce_file(step: Step, event: FileAttached) -> None:
    """Replaces the file by the texts that tell the agent of it, at the same place in the order."""
    record = step.record
    delivery = _remove(record.to_agent, event.delivery_id)
    if delivery is None or delivery.media is None:
        return
    notice = step.policy.texts.file_sent(delivery.media, event.name)
    texts = [text for text in (notice, delivery.media.caption) if text]
    announced = [piece for text in texts[:-1] for piece in to_agent(step, text)]
    announced += [piece for text in texts[-1:] for piece in to_agent(step, text, delivery.message)]
    record.to_agent[:0] = announced


def reject_file(step: Step, event: DeliveryFailed) -> None:
    delivery = _remove(step.record.to_agent, event.delivery_id)
    if delivery is None:
        return
    dead_letter(step, delivery, "to_agent", event)
    if delivery.media is not None:
        say(step, step.policy.texts.file_failed(delivery.media))


def _remove(owed: list[Delivery], delivery_id: str) -> Delivery | None:
    for index, delivery in enumerate(owed):
        if delivery.id == delivery_id:
            return owed.pop(index)
    return None


def dead_letter(step: Step, delivery: Delivery, direction: str, failed: DeliveryFailed) -> None:
    record = step.record
    if delivery.message is not None:
        # Sent again, it is no repeat.
        short = _short_id(delivery.message)
        record.recent = [known for known in record.recent if known != short]
    step.dead_letters.append(
        DeadLetter(
            chat_id=record.chat_id,
            user_id=record.request.user_id,
            provider=record.request.provider,
            direction=direction,
            at_ms=step.now_ms,
            reason=failed.reason,
            delivery=delivery,
            attempts=failed.attempts,
        )
    )
