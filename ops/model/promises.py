"""What must hold in the world of the model when everything has come to its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bridge.ops.model.world import World


def broken_promises(world: World) -> list[str]:
    """A sentence for each promise that was broken; call it after `World.settle`."""
    checks = (_lost, _twice, _out_of_order, _other_chat, _agents_texts, _wrong_ends, _left_open)
    return [sentence for check in checks for sentence in check(world)]


def _delivered(world: World) -> list[tuple[str, str]]:
    """(chat, text) of every user's text that an agent saw as a message of its own."""
    return [
        (chat.chat_id, text) for chat in world.remotes.chats.values() for text in chat.texts if text.startswith("text ")
    ]


def _briefings(world: World) -> str:
    """What agents were shown as context."""
    return "\n".join(text for chat in world.remotes.chats.values() for text in chat.texts if ":\n" in text)


def _lost(world: World) -> Iterator[str]:
    seen = {text for _, text in _delivered(world)}
    kept = seen | set(world.context()) | set(world.dead_letters())
    shown = _briefings(world)
    for posted in world.posted:
        if posted.text not in kept | world.excused and f":{posted.text}\n" not in shown:
            yield f"{posted.text!r} was answered 200 and is nowhere"


def _twice(world: World) -> Iterator[str]:
    for text, count in Counter(text for _, text in _delivered(world)).items():
        if count > 1 and text not in world.repeatable:
            yield f"an agent read {text!r} {count} times"


def _out_of_order(world: World) -> Iterator[str]:
    order = [posted.text for posted in world.posted]
    for chat in world.remotes.chats.values():
        seen = [order.index(text) for text in chat.texts if text in order]
        if seen != sorted(seen) and world.repeatable.isdisjoint(chat.texts):
            yield f"{chat.session_id} shows the user's texts out of order: {chat.texts}"


def _other_chat(world: World) -> Iterator[str]:
    home = {posted.text: posted.chat_id for posted in world.posted}
    for chat_id, text in _delivered(world):
        if text not in world.excused and home[text] and home[text] != chat_id:
            yield f"{text!r} was written in chat {home[text]} and delivered in chat {chat_id}"


def _agents_texts(world: World) -> Iterator[str]:
    read = [text for _, text in world.remotes.read_by_user if text.startswith("agent ")]
    for text, count in Counter(read).items():
        if count > 1:
            yield f"the user read {text!r} {count} times"
    for chat in world.remotes.chats.values():
        missing = [text for text in chat.said if text not in {*read, *world.dead_letters(), *world.excused}]
        if missing and chat.session_id not in world.orphans:
            yield f"the user never read {missing}"
        heard = [chat.said.index(text) for text in read if text in chat.said]
        if heard != sorted(heard):
            yield f"the user read the agent's texts out of order: {read}"


def _wrong_ends(world: World) -> Iterator[str]:
    # A finish that comes before its chat is on record ends the chat that begins next.
    if "" in world.finished:
        return
    for chat_id in world.remotes.left:
        if chat_id not in world.finished:
            yield f"chat {chat_id} was ended from our side, and nobody had finished it"


def _left_open(world: World) -> Iterator[str]:
    if world.open_chats():
        yield "a chat is still on record"
    # A store that lost the record of a session cannot end it: at the desk it expires.
    open_sessions = [chat.session_id for chat in world.remotes.chats.values() if chat.taken and not chat.ended]
    if open_sessions and not world.lost_writes:
        yield f"still open at the desk: {open_sessions}"
    served = sum(1 for chat in world.remotes.chats.values() if chat.taken)
    if len(world.remotes.bot_states) < served and not world.lost_writes:
        yield f"{served} chats, and the bot was told {world.remotes.bot_states}"
