"""What the cells of the chat's table do: small changes to the record and to the step, named after what they mean."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from bridge.chat.step import Step
from bridge.commands import Lane
from bridge.events import UndeliverableToUser
from bridge.messages import Answer, AnswerCode, BotState, Media, UserMessage
from bridge.records import ChatRecord, ChatState, DeadLetter, Delivery, OwedBotState

if TYPE_CHECKING:
    from bridge.chat.machine import Chat

Action = Callable[["Chat", Any, Step], None]

RECENT = 32
NOT_CREATED = "could not create chat in salesforce"


def _record(chat: Chat) -> ChatRecord:
    assert chat.record is not None, "only a NEW chat has no record, and no cell of NEW comes here"
    return chat.record


# --- opening --------------------------------------------------------------------------------------------------------


def begin(chat: Chat, event: Any, step: Step) -> None:
    """Puts the intent on record, before anything is asked of anybody."""
    chat.record = ChatRecord(
        chat_id=chat.new_id(),
        request=event.request,
        state=ChatState.CONNECTING,
        opened_at_ms=(event.ask.asked_at_ms if event.ask else 0) or step.now_ms,
        ask=event.ask,
    )


def note_contact(chat: Chat, event: Any, step: Step) -> None:
    _record(chat).contact_id = event.contact_id


def note_case(chat: Chat, event: Any, step: Step) -> None:
    _record(chat).case_id = event.case_id


def note_session(chat: Chat, event: Any, step: Step) -> None:
    _record(chat).session = event.session


def drop_session(chat: Chat, event: Any, step: Step) -> None:
    """A session that expired before an agent was asked for is replaced, as long as the caller may still wait."""
    _record(chat).session = None


def note_polled(chat: Chat, event: Any, step: Step) -> None:
    record = _record(chat)
    if record.session is not None:
        record.session = record.session.polled(event.session)


def note_stepped(chat: Chat, event: Any, step: Step) -> None:
    record = _record(chat)
    if record.session is not None:
        record.session = record.session.posted(event.session)


def note_requested(chat: Chat, event: Any, step: Step) -> None:
    _record(chat).session = event.session
    _record(chat).requested = True


# --- answering whoever asked ----------------------------------------------------------------------------------------


def _answer_connect(chat: Chat, step: Step, code: AnswerCode, sentence: str = "") -> None:
    record = _record(chat)
    if record.ask is not None:
        step.answers.append((record.ask, Answer(code, sentence)))
        record.ask = None


def answer_connected(chat: Chat, event: Any, step: Step) -> None:
    _answer_connect(chat, step, "ok")


def refuse_connect(chat: Chat, event: Any, step: Step) -> None:
    """Tells a caller who still waits why there will be no chat."""
    code: AnswerCode = getattr(event, "code", "refused")
    reason = getattr(event, "sentence", "") or getattr(event, "reason", "") or "the chat was ended before it began"
    _answer_connect(chat, step, code, f"{NOT_CREATED} : {reason}")


def refuse_blocked(chat: Chat, event: Any, step: Step) -> None:
    _answer_connect(chat, step, "blocked", f"{NOT_CREATED}: this contact is blocked")
    _end(chat, step, bot_state="blocked", reason="this contact is blocked")


def answer_exists(chat: Chat, event: Any, step: Step) -> None:
    _answer(event, step, Answer("exists", f"session exists with userID : {event.user_id}"))


def answer_absent(chat: Chat, event: Any, step: Step) -> None:
    _answer(event, step, Answer("absent", f"session does not exist with userID : {event.user_id}"))


def answer_finished(chat: Chat, event: Any, step: Step) -> None:
    _answer(event, step, Answer("ok"))


def _answer(event: Any, step: Step, answer: Answer) -> None:
    if event.ask is not None:
        step.answers.append((event.ask, answer))


# --- what the user wrote --------------------------------------------------------------------------------------------


def keep_as_context(chat: Chat, event: Any, step: Step) -> None:
    step.context.append(event.message)


def owe_agent_message(chat: Chat, event: Any, step: Step) -> None:
    message: UserMessage = event.message
    if _is_repeat(_record(chat), message):
        return
    _owe_agent(_record(chat), message.text, step.now_ms, message=message, media=message.media)


def _is_repeat(record: ChatRecord, message: UserMessage) -> bool:
    """Whether this message is on record already; from now on it is."""
    short = blake2b(message.message_id.encode(), digest_size=8).hexdigest()
    if short in record.recent:
        return True
    record.recent = [*record.recent[1 - RECENT :], short]
    return False


def return_unsent(chat: Chat, event: Any, step: Step) -> None:
    """What no agent of this chat will read becomes context, so that the next one does.

    A text that is under way may be read yet: it stays until that is known.
    """
    record = _record(chat)
    talking = record.state in (ChatState.ACTIVE, ChatState.CLOSING)
    under_way = 1 if talking and Lane.DESK in chat.busy else 0
    step.context.extend(owed.message for owed in record.to_agent[under_way:] if owed.message is not None)
    del record.to_agent[under_way:]


def _owe_agent(
    record: ChatRecord, text: str, now_ms: int, *, message: UserMessage | None = None, media: Media | None = None
) -> None:
    record.to_agent.append(_delivery(record, "a", text, now_ms, message=message, media=media))


def _delivery(record: ChatRecord, side: str, text: str, now_ms: int, **extra: Any) -> Delivery:
    record.owed_count += 1
    return Delivery(id=f"{record.chat_id}-{side}{record.owed_count}", text=text, owed_since_ms=now_ms, **extra)


# --- waiting --------------------------------------------------------------------------------------------------------


def note_queue(chat: Chat, event: Any, step: Step) -> None:
    _record(chat).queue_position = event.position
    _record(chat).queue_wait_s = event.wait_s


def hold(chat: Chat, event: Any, step: Step) -> None:
    _record(chat).held_since_ms = step.now_ms
    _record(chat).queue_told_ms = step.now_ms
    _say(chat, step, chat.policy.words.wait)


def say_queue(chat: Chat, event: Any, step: Step) -> None:
    """Tells the user the new place in the queue, not more often than the operator allows."""
    record, interval_s = _record(chat), chat.policy.queue_update_interval_s
    text = chat.policy.words.queue(record.queue_position, record.queue_wait_s)
    if text and text != record.queue_told and interval_s and step.now_ms - record.queue_told_ms >= interval_s * 1000:
        record.queue_told, record.queue_told_ms = text, step.now_ms
        _say(chat, step, text)


# --- talking --------------------------------------------------------------------------------------------------------


def brief_agent(chat: Chat, event: Any, step: Step) -> None:
    """Puts context and welcome before what the user wrote on hold (settings.md, "What the agent reads first")."""
    note_agent(chat, event, step)
    record, words = _record(chat), chat.policy.words
    written_on_hold, record.to_agent = record.to_agent, []
    for text in (words.context(event.context) if event.context else "", words.welcome(record.request.name)):
        if text:
            _owe_agent(record, text, step.now_ms)
    record.to_agent += written_on_hold


def note_agent(chat: Chat, event: Any, step: Step) -> None:
    _record(chat).agent_name = event.agent_name
    _record(chat).agent_typing = False


def note_typing(chat: Chat, event: Any, step: Step) -> None:
    _record(chat).agent_typing = event.typing


def say_agent_text(chat: Chat, event: Any, step: Step) -> None:
    _record(chat).agent_typing = False
    _say(chat, step, event.text)


def say_file(chat: Chat, event: Any, step: Step) -> None:
    _say(chat, step, chat.policy.words.file_from_agent)


def say_agent_left(chat: Chat, event: Any, step: Step) -> None:
    _say(chat, step, chat.policy.words.agent_left)


def say_transfer_began(chat: Chat, event: Any, step: Step) -> None:
    _say(chat, step, chat.policy.words.transfer_began)


def say_transferred(chat: Chat, event: Any, step: Step) -> None:
    _say(chat, step, chat.policy.words.transferred(event.agent_name))


def _say(chat: Chat, step: Step, text: str) -> None:
    record = _record(chat)
    for part in chat.policy.words.parts(record.request.provider, text):
        record.to_user.append(_delivery(record, "u", part, step.now_ms))


# --- deliveries that ended ------------------------------------------------------------------------------------------


def remove_delivered_to_agent(chat: Chat, event: Any, step: Step) -> None:
    if _remove(_record(chat).to_agent, event.delivery_id) is not None:
        note_stepped(chat, event, step)


def remove_delivered_to_user(chat: Chat, event: Any, step: Step) -> None:
    _remove(_record(chat).to_user, event.delivery_id)


def remove_found(chat: Chat, event: Any, step: Step) -> None:
    """The text that was under way when the session broke has arrived; any other text at the desk is none of ours."""
    owed = _record(chat).to_agent
    if owed and owed[0].media is None and owed[0].text.strip() == event.text.strip():
        del owed[0]


def dead_letter_to_agent(chat: Chat, event: Any, step: Step) -> None:
    delivery = _dead_letter(chat, event, step, "to_agent")
    if delivery is not None and delivery.message is not None:
        _say(chat, step, chat.policy.words.undelivered)


def dead_letter_to_user(chat: Chat, event: Any, step: Step) -> None:
    _dead_letter(chat, event, step, "to_user")


def announce_file(chat: Chat, event: Any, step: Step) -> None:
    """The file gives way to the words about it, at its own place in the order."""
    record = _record(chat)
    delivery = _remove(record.to_agent, event.delivery_id)
    if delivery is None or delivery.media is None:
        return
    notice = chat.policy.words.file_sent(delivery.media, event.name)
    texts = [text for text in (notice, delivery.media.caption) if text]
    # What the user sent stands by the last of the words: until that is said, all of it may have to be salvaged.
    announced = [_delivery(record, "a", text, step.now_ms) for text in texts[:-1]]
    announced += [_delivery(record, "a", text, step.now_ms, message=delivery.message) for text in texts[-1:]]
    record.to_agent[:0] = announced


def reject_file(chat: Chat, event: Any, step: Step) -> None:
    delivery = _dead_letter(chat, event, step, "to_agent")
    if delivery is not None and delivery.media is not None:
        _say(chat, step, chat.policy.words.file_failed(delivery.media))


def _remove(owed: list[Delivery], delivery_id: str) -> Delivery | None:
    for index, delivery in enumerate(owed):
        if delivery.id == delivery_id:
            return owed.pop(index)
    return None


def _dead_letter(chat: Chat, event: Any, step: Step, direction: str) -> Delivery | None:
    record = _record(chat)
    delivery = _remove(getattr(record, direction), event.delivery_id)
    if delivery is not None:
        step.dead_letters.append(
            DeadLetter(
                chat_id=record.chat_id,
                user_id=record.request.user_id,
                provider=record.request.provider,
                direction=direction,
                at_ms=step.now_ms,
                reason=event.reason,
                delivery=delivery,
                attempts=event.attempts,
            )
        )
    return delivery


# --- ending ---------------------------------------------------------------------------------------------------------


def leave(chat: Chat, event: Any, step: Step) -> None:
    """Owes the desk our leaving; the bot is told nothing unless another action says so."""
    _record(chat).leaving = True
    _record(chat).reason = type(event).__name__


def give_up_chat(chat: Chat, event: Any, step: Step) -> None:
    """Ends what cannot be ended in order: what is still owed to a side is set aside, and only the bot is told."""
    record = _record(chat)
    for direction in ("to_agent", "to_user"):
        for delivery in list(getattr(record, direction)):
            _dead_letter(chat, UndeliverableToUser(delivery.id, event.reason), step, direction)
    record.leaving = False


def stop_polling(chat: Chat, event: Any, step: Step) -> None:
    """The desk will not be polled for this chat any more, whatever else is still owed to it."""
    _record(chat).listening = False


def end_finished(chat: Chat, event: Any, step: Step) -> None:
    answer_finished(chat, event, step)
    _end(chat, step, bot_state="success", reason="finished by the API")


def end_as_told(chat: Chat, event: Any, step: Step) -> None:
    if event.served:
        _end(chat, step, bot_state="success", reason=f"ChatEnded: {event.reason}")
    else:
        refuse_connect(chat, event, step)
        _end(chat, step, bot_state="timeout", reason=f"ChatEnded: {event.reason}")


def end_unserved(chat: Chat, event: Any, step: Step) -> None:
    reason = getattr(event, "sentence", "") or getattr(event, "reason", "") or "the wait took too long"
    _end(chat, step, bot_state="timeout", reason=f"{type(event).__name__}: {reason}")


def _end(chat: Chat, step: Step, *, bot_state: BotState, reason: str) -> None:
    record = _record(chat)
    record.reason = reason
    record.end = ChatState.CLOSED if bot_state == "success" else ChatState.FAILED
    record.to_bot = OwedBotState(
        state=bot_state, due_at_ms=step.now_ms + int(chat.policy.bot_delay_s[bot_state] * 1000)
    )


def note_left(chat: Chat, event: Any, step: Step) -> None:
    _record(chat).leaving = False


def note_bot_told(chat: Chat, event: Any, step: Step) -> None:
    _record(chat).to_bot = None


def note_bot_untold(chat: Chat, event: Any, step: Step) -> None:
    """The bot cannot be told: that is on record, and the chat does not wait for ever."""
    record = _record(chat)
    record.to_bot = None
    record.end = ChatState.FAILED
    record.reason = f"{record.reason}; the bot was not told: {event.reason}"
