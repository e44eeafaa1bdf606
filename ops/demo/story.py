"""The sandbox's story: from the bot to an agent and back; each step is made, waited for and printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from bridge.ops.demo.conversation import Conversation, Missed
from bridge.ops.demo.narrator import Narrator
from bridge.ops.demo.people import AGENT, Lines
from bridge.ops.simulator.ledger import Entry


class Story:
    """Plays one conversation and prints it. Raises Missed at the first step without its result."""

    def __init__(self, conversation: Conversation, lines: Lines, narrator: Narrator) -> None:
        self._conversation = conversation
        self._lines = lines
        self._narrator = narrator
        self._user = conversation.person.first_name

    def play(self) -> None:
        """From the first word to the last."""
        person = self._conversation.person
        self._narrator.title(f"{person.channel}: {person.name}, {person.user_id}")
        self._talk_to_bot()
        self._ask_for_agent()
        self._wait_on_hold()
        self._meet_agent()
        if self._lines.photo_caption:
            self._send_photo()
        self._part()
        self._return_to_bot()

    def _talk_to_bot(self) -> None:
        for sender, text in self._lines.to_bot:
            by_bot = sender == "bot"
            self._conversation.deliver(text, by_bot=by_bot)
            self._narrator.said(*(("Bot", self._user) if by_bot else (self._user, "Bot")), text)
        kept = self._conversation.context()
        _require(kept == [text for _, text in self._lines.to_bot], f"the talk with the bot became the context {kept}")
        self._narrator.did(f"kept as context, for the agent who may come: {len(kept)} entries")

    def _ask_for_agent(self) -> None:
        self._narrator.said("Bot", "Bridge", "POST /v1/chats/connect: this user wants a person")
        sentence, took_s = self._conversation.connect()
        events = self._conversation.events()
        if not any(entry.kind == "contact_created" for entry in events):
            self._narrator.did("Salesforce: contact found")
        self._tell(events)
        self._narrator.said("Bridge", "Bot", f"200 {sentence}")
        self._narrator.did(f"answered after {took_s:.2f} s")

    def _wait_on_hold(self) -> None:
        for text in self._conversation.at_user("the text that asks the user to wait"):
            self._narrator.said("Bridge", self._user, text)
        self._tell_state("on_hold")
        self._conversation.deliver(self._lines.on_hold)
        self._narrator.said(self._user, "Bridge", self._lines.on_hold)
        self._narrator.did("kept in the chat until an agent is there")

    def _meet_agent(self) -> None:
        self._conversation.accept(AGENT)
        context, welcome, on_hold = self._conversation.at_agent("what an agent is shown at the start", 3)
        self._tell(self._conversation.events())
        self._tell_state("active")
        self._narrator.said("Bridge", AGENT, context)
        self._narrator.said(self._user, AGENT, welcome)
        self._narrator.said(self._user, AGENT, on_hold)
        _require(all(text in context for _, text in self._lines.to_bot), f"the agent was shown the context {context!r}")
        _require(on_hold == self._lines.on_hold, f"the agent was shown {on_hold!r} instead of {self._lines.on_hold!r}")
        self._agent_says(self._lines.greeting)
        self._user_says(self._lines.reply)

    def _send_photo(self) -> None:
        self._conversation.deliver(self._lines.photo_caption, photo="photo.png")
        self._narrator.said(self._user, "Bridge", f"photo.png, with the caption: {self._lines.photo_caption}")
        shown = self._conversation.at_agent("the word that there is an image", 2)
        self._tell(self._conversation.events())
        for text in shown:
            self._narrator.said(self._user, AGENT, text)

    def _part(self) -> None:
        self._agent_says(self._lines.goodbye)
        self._conversation.agent_ends()
        state = self._conversation.bot_state()
        self._tell(self._conversation.events())
        _require(state.endswith("success"), f"the bot was put into the state {state}")
        self._tell_state("over")

    def _return_to_bot(self) -> None:
        self._conversation.deliver(self._lines.afterwards)
        self._narrator.said(self._user, "Bot", self._lines.afterwards)
        kept = self._conversation.context()
        expected = [*(text for _, text in self._lines.to_bot), self._lines.afterwards]
        _require(kept == expected, f"after the chat the context is {kept}")
        self._narrator.did(f"context again: GET /v1/context gives {len(kept)} entries, none of them from the chat")

    def _agent_says(self, text: str) -> None:
        self._conversation.agent_says(text)
        for shown in self._conversation.at_user(f"the agent's {text!r}"):
            self._narrator.said(AGENT, self._user, shown)

    def _user_says(self, text: str) -> None:
        self._conversation.deliver(text)
        for shown in self._conversation.at_agent(f"the user's {text!r}"):
            self._narrator.said(self._user, AGENT, shown)

    def _tell_state(self, state: str) -> None:
        self._conversation.reach(state)
        self._narrator.did(f"the chat is {state.replace('_', ' ')}")

    def _tell(self, events: Iterable[Entry]) -> None:
        for entry in events:
            if entry.kind in _IN_WORDS:
                self._narrator.did(_IN_WORDS[entry.kind](entry))


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Missed(otherwise)


_IN_WORDS: Mapping[str, Callable[[Entry], str]] = {
    "login": lambda entry: f"Salesforce: logged in by the {entry.text} flow",
    "contact_created": lambda entry: f"Salesforce: contact created: {' '.join(entry.text.split())}",
    "case_created": lambda entry: f"Salesforce: case {entry.details['CaseNumber']} opened: {entry.text}",
    "session_opened": lambda _: "Live Agent: session opened",
    "chat_requested": lambda entry: f"Live Agent: chat requested for {entry.user}",
    "chat_queued": lambda _: "Live Agent: the chat waits in the queue",
    "chat_established": lambda entry: f"Live Agent: {entry.text} takes the chat",
    "media_fetched": lambda entry: f"Media host: {entry.text} fetched",
    "file_stored": lambda entry: f"Salesforce: file stored as {entry.text}",
    "file_linked": lambda _: "Salesforce: file attached to the case",
    "chat_ended": lambda entry: f"Live Agent: the chat is ended by the {entry.text}",
    "bot_state": lambda entry: f"Bot flow: put into the state {entry.text}",
}
