"""Actions while the user waits and while an agent is there: what each side is told."""

from __future__ import annotations

import msgspec

from bridge.chat.actions.deliveries import keep_gap, owe_agent, say, to_agent
from bridge.chat.step import Step
from bridge.events import (
    AgentTyped,
    AgentWrote,
    ChatEstablished,
    ChatQueued,
    ChatTransferred,
    Event,
    QueueMoved,
)


def note_queue(step: Step, event: ChatQueued | QueueMoved) -> None:
    step.record.queue_position = event.position
    step.record.queue_wait_s = event.wait_s


def hold(step: Step, event: Event) -> None:
    step.record.held_since_ms = step.now_ms
    step.record.queue_told_ms = step.now_ms
    say(step, step.policy.texts.wait)


def say_queue(step: Step, event: Event) -> None:
    """Tells the user the new place in the queue, not more often than QUEUE_UPDATE_INTERVAL allows."""
    record, interval_s = step.record, step.policy.queue_update_interval_s
    text = step.policy.texts.queue(record.queue_position, record.queue_wait_s)
    if text and text != record.queue_told and interval_s and step.now_ms - record.queue_told_ms >= interval_s * 1000:
        record.queue_told, record.queue_told_ms = text, step.now_ms
        say(step, text)


# --- talking ---------------------------------------------------------------------------------------------------------


def brief_agent(step: Step, event: ChatEstablished) -> None:
    """Puts context and welcome before what the user wrote on hold (settings.md, "What the agent reads first")."""
    note_agent(step, event)
    record, texts = step.record, step.policy.texts
    written_on_hold, record.to_agent = record.to_agent, []
    keep_gap(step)
    if event.context:
        context = to_agent(step, texts.context(event.context))
        record.to_agent += [msgspec.structs.replace(piece, context=True) for piece in context]
    if welcome := texts.welcome(record.request.name):
        owe_agent(step, welcome)
    record.to_agent += written_on_hold


def note_agent(step: Step, event: ChatEstablished | ChatTransferred) -> None:
    step.record.agent_name = event.agent_name
    step.record.agent_typing = False


def note_typing(step: Step, event: AgentTyped) -> None:
    step.record.agent_typing = event.typing


def say_agent_text(step: Step, event: AgentWrote) -> None:
    step.record.agent_typing = False
    say(step, event.text)


def say_file(step: Step, event: Event) -> None:
    say(step, step.policy.texts.file_from_agent)


def say_unreadable(step: Step, event: Event) -> None:
    say(step, step.policy.texts.unreadable)


def say_agent_left(step: Step, event: Event) -> None:
    say(step, step.policy.texts.agent_left)


def say_transfer_began(step: Step, event: Event) -> None:
    say(step, step.policy.texts.transfer_began)


def say_transferred(step: Step, event: ChatTransferred) -> None:
    say(step, step.policy.texts.transferred(event.agent_name))
