"""Dead letters, for an operator: look at them, send them again, drop them."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from bridge.actors.inbox.redis import RedisInbox
from bridge.actors.outbound.wiring import Remotes
from bridge.actors.store.commands import Commands
from bridge.actors.store.connections import Connections, is_embedded
from bridge.actors.store.letters import Letters
from bridge.commands import SendToUser
from bridge.errors import BridgeError
from bridge.keys import Keys
from bridge.messages import ConnectRequest, UserMessageReceived, mask_user
from bridge.ops.logs import escape
from bridge.ops.settings_check import settings_or_exit
from bridge.records import DeadLetter
from bridge.settings.load import Settings

TO_USER = "to_user"


class DeadLetterOffice:
    """Reaches the store that the service uses, from outside the service."""

    def __init__(self, settings: Settings) -> None:
        keys = Keys(settings.client, settings.partitions)
        self._settings = settings
        connections = Connections(settings)
        self._inbox = RedisInbox(connections, keys)
        self._letters = Letters(Commands(connections), keys)

    def letters(self, names: Iterable[str] = ()) -> list[tuple[str, DeadLetter]]:
        """All letters, or those that are named."""
        wanted = set(names)
        return [(name, letter) for name, letter in self._letters.all() if not wanted or name in wanted]

    def drop(self, name: str) -> None:
        """Removes a letter."""
        self._letters.remove(name)

    def send(self, name: str, letter: DeadLetter) -> None:
        """Sends a letter again. Raises BridgeError.

        Towards the agent, the commit of the chat that takes the message removes the letter; without a chat the message
        becomes context for the next one. Towards the user, the letter is removed once the channel has taken the text.
        """
        if not self._letters.exists(name):
            raise BridgeError("it was sent or dropped meanwhile")
        if letter.direction == TO_USER:
            self._send_to_user(letter)
            self._letters.remove(name)
        elif letter.delivery.message is not None:
            self._inbox.append(UserMessageReceived(letter.delivery.message, letter=name))
        else:
            raise BridgeError("it was written for a chat that is over; drop it")

    def _send_to_user(self, letter: DeadLetter) -> None:
        addressed = ConnectRequest(
            user_id=letter.user_id, bot_slug="", bot_id="", name="", provider=letter.provider, email=""
        )
        Remotes(self._settings).channel.serve(SendToUser(addressed, letter.delivery))


def office(environ: Mapping[str, str] | None = None) -> DeadLetterOffice:
    """The office of the service with these settings; ends the process where there is no store to reach."""
    settings = settings_or_exit(environ)
    if is_embedded(settings):
        print("Without Redis the dead letters are inside the service, and gone with it.", file=sys.stderr)
        raise SystemExit(1)
    return DeadLetterOffice(settings)


def line(name: str, letter: DeadLetter) -> str:
    """A letter on one line. Of the text only length and hash: an operator's terminal is no place for it."""
    text = letter.delivery.text or (letter.delivery.media.url if letter.delivery.media else "")
    when = datetime.fromtimestamp(letter.at_ms / 1000, UTC).isoformat(timespec="seconds")
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return escape(
        f"{name}  {when}  {mask_user(letter.user_id)}  {letter.direction}  chat {letter.chat_id[:8]}  "
        f"{len(text)} characters {digest}  {letter.attempts} attempts  {letter.reason}"
    )


def show(names: list[str], *, texts: bool) -> int:
    """Prints letters; how many there were."""
    found = office().letters(names)
    for name, letter in found:
        print(line(name, letter))
        if texts:
            print(f"    {escape(letter.delivery.text)}")
    return len(found)


def send_again(names: list[str]) -> int:
    """Sends letters again, one after the other; how many failed."""
    failed = 0
    here = office()
    for name, letter in here.letters(names):
        try:
            here.send(name, letter)
            print(f"{name}  sent")
        except BridgeError as error:
            failed += 1
            print(escape(f"{name}  not sent: {error}"))
    return failed


def drop(names: list[str]) -> int:
    """Forgets letters; how many."""
    here = office()
    found = here.letters(names)
    for name, _ in found:
        here.drop(name)
    return len(found)
