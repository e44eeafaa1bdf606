"""What the cells of the chat's table do: small changes to the record and to the step."""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from bridge.chat.step import Step
from bridge.commands import Lane
from bridge.events import (
    AgentTyped,
    AgentWrote,
    BotUntold,
    CaseOpened,
    ChatEnded,
    ChatEstablished,
    ChatQuarantined,
    ChatQueued,
    ChatRequested,
    ChatTransferred,
    ContactBlocked,
    ContactReady,
    DeliveredToAgent,
    DeliveredToUser,
    DeliveryFailed,
    Ending,
    Event,
    FileAttached,
    QueueMoved,
    SessionOpened,
    SessionPolled,
    SessionStepped,
    TextFound,
)
from bridge.messages import (
    Answer,
    AnswerCode,
    Ask,
    BotState,
    ConnectRequested,
    FinishRequested,
    LeaveRequested,
    Media,
    UserMessage,
    UserMessageReceived,
)
from bridge.records import ChatRecord, ChatState, DeadLetter, Delivery, OwedBotState
from bridge.texts import split

RECENT = 32
MOST_JOINED = 8
BREAKS_WINDOW_MS = 600_000
NOT_CREATED = "could not create chat in salesforce"


# --- opening --------------------------------------------------------------------------------------------------------


def begin(step: Step, event: ConnectRequested) -> None:
    """Writes the request down before any remote is asked for anything.

    A chat that is over at the desk may still owe texts to the user: the new chat takes them over. The state that it
    owes to the bot is dropped: the bot has moved on, because it asks for a chat.
    """
    before = step.stored
    step.stored = ChatRecord(
        chat_id=step.new_id(),
        request=event.request,
        state=ChatState.CONNECTING,
        opened_at_ms=(event.ask.asked_at_ms if event.ask else 0) or step.now_ms,
        ask=event.ask,
        to_user=before.to_user if before else [],
    )
    step.cancel_bot = Lane.BOT in step.busy


def join(step: Step, event: ConnectRequested) -> None:
    """The same request again while the chat is being opened gets the answer of the first one."""
    record = step.record
    if event.request != record.request or len(record.joined) >= MOST_JOINED:
        answer_exists(step, event)
    elif record.requested:
        _answer(step, event.ask, Answer("ok"))
    elif event.ask is not None:
        record.joined = [*record.joined, event.ask]


def note_contact(step: Step, event: ContactReady | ContactBlocked) -> None:
    step.record.contact_id = event.contact_id


def note_case(step: Step, event: CaseOpened) -> None:
    step.record.case_id = event.case_id


def note_session(step: Step, event: SessionOpened | ChatRequested) -> None:
    step.record.session = event.session


def note_requested(step: Step, event: ChatRequested) -> None:
    step.record.session = event.session
    step.record.requested = True


# --- the session ----------------------------------------------------------------------------------------------------


def drop_session(step: Step, event: Event) -> None:
    """A session that expired before an agent was asked for is replaced while the caller still waits."""
    step.record.session = None


def note_polled(step: Step, event: SessionPolled) -> None:
    if step.record.session is not None:
        step.record.session = step.record.session.received(event.receiving, event.turn)


def note_stepped(step: Step, event: SessionStepped) -> None:
    if step.record.session is not None:
        step.record.session = step.record.session.sent(event.sending, event.turn)


def note_broken(step: Step, event: Event) -> None:
    """Counts the breaks of the last minutes: the more there were, the longer the next repair waits."""
    record = step.record
    if record.session is not None:
        record.session = record.session.broke()
        recent = [broke_ms for broke_ms in record.broke_ms if broke_ms > step.now_ms - BREAKS_WINDOW_MS]
        record.broke_ms = [*recent, step.now_ms]


# --- answering the caller -------------------------------------------------------------------------------------------


def _answer_connect(step: Step, code: AnswerCode, sentence: str = "") -> None:
    record = step.record
    asks = [*([record.ask] if record.ask else []), *record.joined]
    step.answers += [(ask, Answer(code, sentence)) for ask in asks]
    record.ask, record.joined = None, []


def answer_connected(step: Step, event: Event) -> None:
    _answer_connect(step, "ok")


def refuse_connect(step: Step, event: Ending) -> None:
    """Tells a caller who still waits why there will be no chat."""
    _answer_connect(step, event.code, f"{NOT_CREATED} : {event.reason}")


def refuse_withdrawn(step: Step, event: Event) -> None:
    """Tells a caller who still waits that the user or the API ended the chat meanwhile."""
    _answer_connect(step, "refused", f"{NOT_CREATED} : the chat was ended before it began")


def refuse_blocked(step: Step, event: Event) -> None:
    _answer_connect(step, "blocked", f"{NOT_CREATED}: this contact is blocked")
    _end(step, bot_state="blocked", reason="this contact is blocked")


def answer_exists(step: Step, event: ConnectRequested) -> None:
    _answer(step, event.ask, Answer("exists", f"session exists with userID : {event.user_id}"))


def answer_absent(step: Step, event: FinishRequested) -> None:
    _answer(step, event.ask, Answer("absent", f"session does not exist with userID : {event.user_id}"))


def answer_finished(step: Step, event: FinishRequested) -> None:
    _answer(step, event.ask, Answer("ok"))


def _answer(step: Step, ask: Ask | None, answer: Answer) -> None:
    if ask is not None:
        step.answers.append((ask, answer))


# --- what the user wrote --------------------------------------------------------------------------------------------


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
    _owe_agent(step, message.text, message=message, media=message.media)


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


def _owe_agent(step: Step, text: str, *, message: UserMessage | None = None, media: Media | None = None) -> None:
    if media is not None:
        step.record.to_agent.append(_delivery(step, "a", text, message=message, media=media))
    else:
        step.record.to_agent += _to_agent(step, text, message)


def _to_agent(step: Step, text: str, message: UserMessage | None = None) -> list[Delivery]:
    """The text in pieces that the desk takes.

    The user's message is attached to the last piece only: if the chat ends before that is sent, the whole message
    returns to context.
    """
    *first, last = split(text, step.policy.desk_longest_text) or [text]
    return [*(_delivery(step, "a", piece) for piece in first), _delivery(step, "a", last, message=message)]


def _keep_gap(step: Step) -> None:
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


# --- waiting --------------------------------------------------------------------------------------------------------


def note_queue(step: Step, event: ChatQueued | QueueMoved) -> None:
    step.record.queue_position = event.position
    step.record.queue_wait_s = event.wait_s


def hold(step: Step, event: Event) -> None:
    step.record.held_since_ms = step.now_ms
    step.record.queue_told_ms = step.now_ms
    _say(step, step.policy.texts.wait)


def say_queue(step: Step, event: Event) -> None:
    """Tells the user the new place in the queue, not more often than QUEUE_UPDATE_INTERVAL allows."""
    record, interval_s = step.record, step.policy.queue_update_interval_s
    text = step.policy.texts.queue(record.queue_position, record.queue_wait_s)
    if text and text != record.queue_told and interval_s and step.now_ms - record.queue_told_ms >= interval_s * 1000:
        record.queue_told, record.queue_told_ms = text, step.now_ms
        _say(step, text)


# --- talking --------------------------------------------------------------------------------------------------------


def brief_agent(step: Step, event: ChatEstablished) -> None:
    """Puts context and welcome before what the user wrote on hold (settings.md, "What the agent reads first")."""
    note_agent(step, event)
    record, texts = step.record, step.policy.texts
    written_on_hold, record.to_agent = record.to_agent, []
    _keep_gap(step)
    if event.context:
        context = _to_agent(step, texts.context(event.context))
        record.to_agent += [msgspec.structs.replace(piece, context=True) for piece in context]
    if welcome := texts.welcome(record.request.name):
        _owe_agent(step, welcome)
    record.to_agent += written_on_hold


def note_agent(step: Step, event: ChatEstablished | ChatTransferred) -> None:
    step.record.agent_name = event.agent_name
    step.record.agent_typing = False


def note_typing(step: Step, event: AgentTyped) -> None:
    step.record.agent_typing = event.typing


def say_agent_text(step: Step, event: AgentWrote) -> None:
    step.record.agent_typing = False
    _say(step, event.text)


def say_file(step: Step, event: Event) -> None:
    _say(step, step.policy.texts.file_from_agent)


def say_unreadable(step: Step, event: Event) -> None:
    _say(step, step.policy.texts.unreadable)


def say_agent_left(step: Step, event: Event) -> None:
    _say(step, step.policy.texts.agent_left)


def say_transfer_began(step: Step, event: Event) -> None:
    _say(step, step.policy.texts.transfer_began)


def say_transferred(step: Step, event: ChatTransferred) -> None:
    _say(step, step.policy.texts.transferred(event.agent_name))


def _say(step: Step, text: str) -> None:
    for part in step.policy.texts.parts(step.record.request.provider, text):
        step.record.to_user.append(_delivery(step, "u", part))


# --- deliveries that ended ------------------------------------------------------------------------------------------


def remove_delivered_to_agent(step: Step, event: DeliveredToAgent) -> None:
    record = step.record
    if _remove(record.to_agent, event.delivery_id) is not None and record.session is not None:
        record.session = record.session.sent(event.sending)
        _keep_gap(step)


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
    _dead_letter(step, delivery, "to_agent", event)
    notice = step.policy.texts.context_failed
    if delivery.message is not None:
        _say(step, step.policy.texts.undelivered)
    elif delivery.context and notice and all(owed.text != notice for owed in step.record.to_agent):
        # The agent would miss the context and not know.
        step.record.to_agent[:0] = _to_agent(step, notice)


def dead_letter_to_user(step: Step, event: DeliveryFailed) -> None:
    """The agent is told, who believes that the user has read the text."""
    record = step.record
    delivery = _remove(record.to_user, event.delivery_id)
    if delivery is None:
        return
    _dead_letter(step, delivery, "to_user", event)
    notice = step.policy.texts.not_received(delivery.text)
    if notice and record.state is ChatState.ACTIVE:
        _owe_agent(step, notice)


def announce_file(step: Step, event: FileAttached) -> None:
    """Replaces the file by the texts that tell the agent of it, at the same place in the order."""
    record = step.record
    delivery = _remove(record.to_agent, event.delivery_id)
    if delivery is None or delivery.media is None:
        return
    notice = step.policy.texts.file_sent(delivery.media, event.name)
    texts = [text for text in (notice, delivery.media.caption) if text]
    announced = [piece for text in texts[:-1] for piece in _to_agent(step, text)]
    announced += [piece for text in texts[-1:] for piece in _to_agent(step, text, delivery.message)]
    record.to_agent[:0] = announced


def reject_file(step: Step, event: DeliveryFailed) -> None:
    delivery = _remove(step.record.to_agent, event.delivery_id)
    if delivery is None:
        return
    _dead_letter(step, delivery, "to_agent", event)
    if delivery.media is not None:
        _say(step, step.policy.texts.file_failed(delivery.media))


def _remove(owed: list[Delivery], delivery_id: str) -> Delivery | None:
    for index, delivery in enumerate(owed):
        if delivery.id == delivery_id:
            return owed.pop(index)
    return None


def _dead_letter(step: Step, delivery: Delivery, direction: str, failed: DeliveryFailed) -> None:
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


# --- ending ---------------------------------------------------------------------------------------------------------


def leave(step: Step, event: Event) -> None:
    """Notes that the chat is still to be ended at the desk. It tells the bot nothing."""
    step.record.leaving = True
    step.record.reason = type(event).__name__


def give_up_chat(step: Step, event: ChatQuarantined) -> None:
    """Ends a chat that cannot be ended in order: what is owed to a side becomes dead letters; only the bot is told."""
    record = step.record
    for direction, owed in (("to_agent", record.to_agent), ("to_user", record.to_user)):
        for delivery in owed:
            _dead_letter(step, delivery, direction, DeliveryFailed(delivery.id, event.reason))
        owed.clear()
    record.leaving = False


def stop_polling(step: Step, event: Event) -> None:
    """The desk is not polled for this chat any more, whatever is still owed to it."""
    step.record.listening = False


def end_finished(step: Step, event: FinishRequested) -> None:
    answer_finished(step, event)
    _end(step, bot_state="success", reason="finished by the API")


def end_as_told(step: Step, event: ChatEnded) -> None:
    if event.served:
        _end(step, bot_state="success", reason=f"ChatEnded: {event.reason}")
    else:
        refuse_connect(step, event)
        _end(step, bot_state="timeout", reason=f"ChatEnded: {event.reason}")


def end_unserved(step: Step, event: Ending) -> None:
    _end(step, bot_state="timeout", reason=f"{type(event).__name__}: {event.reason}")


def _end(step: Step, *, bot_state: BotState, reason: str) -> None:
    record = step.record
    record.reason = reason
    record.end = ChatState.CLOSED if bot_state == "success" else ChatState.FAILED
    record.to_bot = OwedBotState(
        state=bot_state, due_at_ms=step.now_ms + int(step.policy.bot_delay_s[bot_state] * 1000)
    )


def note_left(step: Step, event: Event) -> None:
    """The desk ended the chat at our request. What the agent wrote before that is still to be polled."""
    record = step.record
    if record.session is not None and record.requested and record.listening:
        record.left_at_ms = record.left_at_ms or step.now_ms
    else:
        record.leaving = False


def note_over(step: Step, event: Event) -> None:
    """The desk has ended the chat and has nothing more for us."""
    step.record.leaving = False


def note_bot_told(step: Step, event: Event) -> None:
    step.record.to_bot = None


def note_bot_untold(step: Step, event: BotUntold) -> None:
    """The bot cannot be told: that goes on record, and the chat does not wait any longer."""
    record = step.record
    record.to_bot = None
    record.end = ChatState.FAILED
    record.reason = f"{record.reason}; the bot was not told: {event.reason}"
