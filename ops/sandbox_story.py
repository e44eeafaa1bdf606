"""The sandbox's story: one whole conversation a channel, through the real API, each step waited for and told."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any, NamedTuple, TypeVar

import requests

from bridge.messages import Provider
from bridge.ops.dump import documents, socket_folder
from bridge.ops.ops_socket import mask_user
from bridge.ops.sandbox_narrator import Narrator
from bridge.ops.service_process import ServiceProcess
from bridge.ops.simulator.ledger import Entry
from bridge.ops.simulator.server import Simulator

STEP_S = 10.0

Found = TypeVar("Found")


class Missed(Exception):
    """A step of the story did not come about; the sentence says which."""


class Person(NamedTuple):
    """A bot user, and the bot that they talk to."""

    provider: Provider
    channel: str
    user_id: str
    name: str
    email: str
    bot_slug: str
    bot_id: str

    @property
    def first_name(self) -> str:
        """What the story calls them."""
        return self.name.split()[0]


class Lines(NamedTuple):
    """What is said, in this order: with the bot, on hold, with the agent, and when the bot is back."""

    to_bot: tuple[tuple[str, str], ...]
    on_hold: str
    greeting: str
    reply: str
    photo_caption: str
    goodbye: str
    afterwards: str


EDUARDO = Person(
    "whatsapp", "WhatsApp", "5217331175599", "Eduardo Ochoa", "ochoa@example.com", "coppel-bot", "521554578545"
)
EDUARDO_SAYS = Lines(
    to_bot=(
        ("bot", "¡Hola! ¿En qué puedo ayudarte?"),
        ("user", "Mi pedido llegó dañado"),
        ("bot", "Te comunico con un asesor."),
    ),
    on_hold="¿Hay alguien ahí?",
    greeting="Hola Eduardo, soy Ana. ¿Me mandas una foto, por favor?",
    reply="Claro, aquí está:",
    photo_caption="la caja abierta",
    goodbye="Gracias. Mañana te llega uno nuevo.",
    afterwards="¡Gracias!",
)
LUCIA = Person(
    "facebook",
    "Messenger",
    "6199190013487246",
    "Lucía Prado",
    "lucia@example.com",
    "coppel-msn-staging",
    "233726951928154",
)
LUCIA_SAYS = Lines(
    to_bot=(("user", "Quiero hablar con una persona"), ("bot", "Con gusto. Un momento, por favor.")),
    on_hold="Es sobre mi cuenta",
    greeting="Buenas tardes, Lucía. ¿En qué te ayudo?",
    reply="¿Cuál es mi saldo?",
    photo_caption="",
    goodbye="Te lo envié por correo. ¡Hasta luego!",
    afterwards="Perfecto",
)


class Api:
    """The service's API, as the bot and the Integrations API call it."""

    def __init__(self, service: ServiceProcess, username: str, password: str) -> None:
        self._url = service.url
        self._session = requests.Session()
        self._session.trust_env = False
        answer = self.call("POST", "/v1/authenticate", {"username": username, "password": password})
        self._session.headers["Authorization"] = f"Bearer {answer['token']}"

    def call(self, method: str, path: str, body: object = None) -> Any:
        """What is answered. Raises Missed for anything but 200."""
        try:
            reply = self._session.request(method, self._url + path, json=body, timeout=STEP_S + 5)
        except requests.RequestException as error:
            raise Missed(f"the service gave no answer to {method} {path} ({type(error).__name__})") from error
        if reply.status_code != 200:
            raise Missed(f"the service answered {method} {path} with {reply.status_code}: {reply.text[:300]}")
        return reply.json()

    def close(self) -> None:
        """Closes the connection."""
        self._session.close()


class Conversation:
    """One person's way from the bot to an agent and back."""

    def __init__(self, person: Person, *, api: Api, simulator: Simulator, service: ServiceProcess) -> None:
        self.person = person
        self._api = api
        self._simulator = simulator
        self._sockets = socket_folder(service.environ)
        self._numbers = count(1)
        self._seen = simulator.ledger.last_number()
        self._chat = ""
        self._shown_to = {"agent_text": 0, "user_text": 0}

    # --- what people do -----------------------------------------------------------------------------------------------

    def deliver(self, text: str, *, by_bot: bool = False, photo: str = "") -> None:
        """Has the Integrations API call the webhook."""
        body = _BODIES[self.person.provider](self.person, self._message_id(), text, photo, by_bot)
        self._api.call("POST", f"/v1/integrations/{self.person.provider}/webhook", body)

    def connect(self) -> tuple[str, float]:
        """Has the bot ask for an agent; the answer's sentence, and how long it took in seconds."""
        person, began_s = self.person, time.monotonic()
        answer = self._api.call("POST", "/v1/chats/connect", {
            "userID": person.user_id, "botSlug": person.bot_slug, "botId": person.bot_id, "name": person.name,
            "provider": person.provider, "email": person.email, "phoneNumber": person.user_id,
            "extraData": {"source_flow_bot": "default"},
        })  # fmt: skip
        self._chat = self.wait("the chat at the agents' desk", lambda: self._simulator.wait_for_chat(person.name))
        return answer["Message"], time.monotonic() - began_s

    def accept(self) -> None:
        """An agent takes the chat."""
        self._simulator.accept(self._chat)

    def agent_says(self, text: str) -> None:
        """The agent writes."""
        self._simulator.say(self._chat, text)

    def agent_ends(self) -> None:
        """The agent ends the chat."""
        self._simulator.end(self._chat)

    def _message_id(self) -> str:
        return f"sandbox-{self.person.provider}-{next(self._numbers)}-{uuid.uuid4().hex[:8]}"

    # --- what can be seen ---------------------------------------------------------------------------------------------

    def at_user(self, what: str, how_many: int = 1) -> list[str]:
        """The next texts that the user is shown."""
        return self._texts("user_text", self.person.user_id, what, how_many)

    def at_agent(self, what: str, how_many: int = 1) -> list[str]:
        """The next texts that the agent is shown."""
        return self._texts("agent_text", self._chat, what, how_many)

    def _texts(self, kind: str, name: str, what: str, how_many: int) -> list[str]:
        first = self._shown_to[kind]
        last = self._shown_to[kind] = first + how_many
        shown = self.wait(what, lambda: self._simulator.entries(kind, name)[first:last][how_many - 1 :])
        assert shown
        return [entry.text for entry in self._simulator.entries(kind, name)[first:last]]

    def events(self) -> Iterator[Entry]:
        """What the neighbours took in since this was asked last."""
        for entry in self._simulator.ledger.since(self._seen):
            self._seen = entry.number
            yield entry

    def bot_state(self) -> str:
        """The state that the bot is put into after the chat."""
        user = self.person.user_id
        return self.wait("the bot's next state", lambda: self._simulator.bot_states(user))[-1]

    def context(self) -> list[dict[str, Any]]:
        """What the service remembers from outside the chat."""
        entries: list[dict[str, Any]] = self._api.call("GET", f"/v1/context/{self.person.user_id}")
        return entries

    def reach(self, state: str) -> None:
        """Waits until the chat is in that state, `over` when it is to be gone, by what `bridge dump` shows."""
        deadline_s = time.monotonic() + STEP_S
        while (found := self._state()) != state:
            if time.monotonic() > deadline_s:
                raise Missed(f"the chat should be {state} by now; after {STEP_S:g} s it is {found}")
            time.sleep(0.02)

    def _state(self) -> str:
        rows = [row for document in documents(self._sockets) for row in document.get("interconnections", ())]
        masked = mask_user(self.person.user_id)
        # An interconnection that ended its chat is `new` for the moment that it still exists.
        states = [row["state"] for row in rows if row["user"] == masked and row["state"] != "new"]
        return str(states[0]) if states else "over"

    def wait(self, what: str, look: Callable[[], Found]) -> Found:
        """What `look` finds. Raises Missed when it finds nothing in time."""
        try:
            return self._simulator.wait_for(look, STEP_S)
        except TimeoutError as error:
            raise Missed(f"{what} did not come within {STEP_S:g} s") from error


def play(conversation: Conversation, lines: Lines, narrator: Narrator) -> None:
    """The whole of it. Raises Missed at the first step that does not come about."""
    narrator.title(f"{conversation.person.channel}: {conversation.person.name}, {conversation.person.user_id}")
    _talk_to_bot(conversation, lines, narrator)
    _ask_for_agent(conversation, narrator)
    _wait_on_hold(conversation, lines, narrator)
    _talk_to_agent(conversation, lines, narrator)
    if lines.photo_caption:
        _send_photo(conversation, lines, narrator)
    _say_goodbye(conversation, lines, narrator)


def _talk_to_bot(conversation: Conversation, lines: Lines, narrator: Narrator) -> None:
    user = conversation.person.first_name
    for sender, text in lines.to_bot:
        conversation.deliver(text, by_bot=sender == "bot")
        narrator.said(*(("Bot", user) if sender == "bot" else (user, "Bot")), text)
    kept = [entry["text"] for entry in conversation.context()]
    if kept != [text for _, text in lines.to_bot]:
        raise Missed(f"the context should hold the talk with the bot, but it holds {kept}")
    narrator.did(f"kept as context, for the agent who may come: {len(kept)} entries")


def _ask_for_agent(conversation: Conversation, narrator: Narrator) -> None:
    narrator.said("Bot", "bridge", "POST /v1/chats/connect: this user wants an agent")
    sentence, took_s = conversation.connect()
    events = list(conversation.events())
    if not any(entry.kind == "contact_created" for entry in events):
        narrator.did("Salesforce: contact found by e-mail or phone")
    _tell_events(events, narrator)
    narrator.said("bridge", "Bot", f"200 {sentence} (after {took_s:.2f} s)")


def _wait_on_hold(conversation: Conversation, lines: Lines, narrator: Narrator) -> None:
    user = conversation.person.first_name
    for text in conversation.at_user("the text that says that an agent is coming"):
        narrator.said("bridge", user, text)
    _tell_state(conversation, "on_hold", narrator)
    conversation.deliver(lines.on_hold)
    narrator.said(user, "bridge", lines.on_hold)
    narrator.did("kept in the chat until an agent is there")


def _talk_to_agent(conversation: Conversation, lines: Lines, narrator: Narrator) -> None:
    user = conversation.person.first_name
    conversation.accept()
    context, welcome, on_hold = conversation.at_agent("the context, the welcome and the text written on hold", 3)
    _tell_events(conversation.events(), narrator)
    _tell_state(conversation, "active", narrator)
    narrator.said("bridge", "Ana", context)
    narrator.said(user, "Ana", welcome)
    narrator.said(user, "Ana", on_hold)
    if on_hold != lines.on_hold:
        raise Missed(f"the agent should read {lines.on_hold!r} after the welcome, but read {on_hold!r}")
    _agent_says(conversation, lines.greeting, narrator)
    _user_says(conversation, lines.reply, narrator)


def _send_photo(conversation: Conversation, lines: Lines, narrator: Narrator) -> None:
    conversation.deliver(lines.photo_caption, photo="photo.png")
    user = conversation.person.first_name
    narrator.said(user, "bridge", f"[image photo.png] {lines.photo_caption}")
    shown = conversation.at_agent("the word to the agent that there is an image", 2)
    _tell_events(conversation.events(), narrator)
    for text in shown:
        narrator.said(user, "Ana", text)


def _say_goodbye(conversation: Conversation, lines: Lines, narrator: Narrator) -> None:
    user = conversation.person.first_name
    _agent_says(conversation, lines.goodbye, narrator)
    conversation.agent_ends()
    state = conversation.bot_state()
    if not state.endswith("success"):
        raise Missed(f"the bot should be in its state for success, but it is in {state}")
    _tell_events(conversation.events(), narrator)
    _tell_state(conversation, "over", narrator)
    conversation.deliver(lines.afterwards)
    narrator.said(user, "Bot", lines.afterwards)
    kept = conversation.context()
    if not kept or kept[-1]["text"] != lines.afterwards:
        raise Missed(f"{lines.afterwards!r} should be context again, but the context ends otherwise")
    narrator.did(f"context again: GET /v1/context holds {len(kept)} entries, none from the chat")


def _agent_says(conversation: Conversation, text: str, narrator: Narrator) -> None:
    conversation.agent_says(text)
    for shown in conversation.at_user(f"the agent's {text!r} at the user"):
        narrator.said("Ana", conversation.person.first_name, shown)


def _user_says(conversation: Conversation, text: str, narrator: Narrator) -> None:
    conversation.deliver(text)
    for shown in conversation.at_agent(f"the user's {text!r} at the agent"):
        narrator.said(conversation.person.first_name, "Ana", shown)


def _tell_state(conversation: Conversation, state: str, narrator: Narrator) -> None:
    conversation.reach(state)
    narrator.did(f"the chat is {state.replace('_', ' ')}")


# --- the neighbours' side, in words -----------------------------------------------------------------------------------

_TOLD: Mapping[str, Callable[[Entry], str]] = {
    "login": lambda entry: f"Salesforce: logged in ({entry.text} flow)",
    "contact_created": lambda entry: f"Salesforce: contact created: {' '.join(entry.text.split())}",
    "case_created": lambda entry: f"Salesforce: case {entry.details.get('CaseNumber', entry.id)} opened: {entry.text}",
    "session_opened": lambda entry: "Live Agent: session opened",
    "chat_requested": lambda entry: f"Live Agent: chat requested for {entry.user}",
    "chat_queued": lambda entry: "Live Agent: the chat waits in the queue",
    "chat_established": lambda entry: f"Live Agent: {entry.text} takes the chat",
    "media_fetched": lambda entry: f"{entry.text} fetched from its host",
    "file_stored": lambda entry: f"Salesforce: file stored as {entry.text}",
    "file_linked": lambda entry: "Salesforce: file attached to the case",
    "chat_ended": lambda entry: f"Live Agent: the chat was ended by the {entry.text}",
    "bot_state": lambda entry: f"bot flow: on to the state {entry.text}",
}


def _tell_events(entries: Iterator[Entry] | list[Entry], narrator: Narrator) -> None:
    for entry in entries:
        if entry.kind in _TOLD:
            narrator.did(_TOLD[entry.kind](entry))


# --- the channels' bodies (seeds/003) ---------------------------------------------------------------------------------


def _whatsapp_body(person: Person, message_id: str, text: str, photo: str, by_bot: bool) -> dict[str, Any]:
    kind = "image" if photo else "text"
    content = {"url": photo, "caption": text, "mimeType": "image/png"} if photo else {"body": text}
    parties = {"from": person.bot_id, "to": person.user_id} if by_bot else {"from": person.user_id}
    return {**parties, "id": message_id, "type": kind, kind: content, "timestamp": str(_now_ms())}


def _messenger_body(person: Person, message_id: str, text: str, photo: str, by_bot: bool) -> dict[str, Any]:
    user, page = {"id": person.user_id}, {"id": person.bot_id}
    sender, recipient = (page, user) if by_bot else (user, page)
    said = {"message": {"mid": message_id, "text": text}, "sender": sender, "recipient": recipient}
    return {
        "authorRole": "bot" if by_bot else "user",
        "provider": "facebook",
        "message": {"object": "page", "entry": [{"id": person.bot_id, "messaging": [{**said, "timestamp": _now_ms()}]}]},
    }


_BODIES: Mapping[Provider, Callable[[Person, str, str, str, bool], dict[str, Any]]] = {
    "whatsapp": _whatsapp_body,
    "facebook": _messenger_body,
}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
