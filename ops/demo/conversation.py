"""One conversation in the sandbox: each step of the user, the bot and the agent, and waiting for its result."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import requests

from bridge.messages import mask_user
from bridge.ops.demo.people import Person, Utterance, webhook_body
from bridge.ops.dump import documents, socket_folder
from bridge.ops.service_process import ServiceProcess
from bridge.ops.simulator.ledger import Entry
from bridge.ops.simulator.server import Simulator

STEP_S = 10.0
ANSWER_S = 15.0

Found = TypeVar("Found")


class Missed(Exception):
    """A step of the story had no result in time; the sentence says which."""


class Api:
    """The service's API, as the bot and the Integrations API call it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False

    def log_in(self, username: str, password: str) -> None:
        """Calls with a token from now on."""
        answer = self.call("POST", "/v1/authenticate", {"username": username, "password": password})
        self._session.headers["Authorization"] = f"Bearer {answer['token']}"

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The answer. Raises Missed unless it is 200."""
        try:
            reply = self._session.request(method, self._url + path, json=body, timeout=ANSWER_S)
        except requests.RequestException as error:
            raise Missed(f"the service gave no answer to {method} {path} ({type(error).__name__})") from error
        if reply.status_code != 200:
            raise Missed(f"the service answered {method} {path} with {reply.status_code}: {reply.text[:300]}")
        return reply.json()


class Conversation:
    """One person's way from the bot to an agent and back. Every wait raises Missed after its time limit."""

    def __init__(self, person: Person, *, api: Api, simulator: Simulator, service: ServiceProcess) -> None:
        self.person = person
        self._api = api
        self._simulator = simulator
        self._sockets = socket_folder(service.environ)
        self._last_event = simulator.ledger.last_number()
        self._chat = ""
        self._shown = {"user_text": 0, "agent_text": 0}

    # --- what people and the bot do -----------------------------------------------------------------------------------

    def deliver(self, text: str, *, by_bot: bool = False, photo: str = "") -> None:
        """The Integrations API calls the webhook; `photo` is the name of one of the simulator's files."""
        address = f"{self._simulator.url}/media/{photo}" if photo else ""
        said = Utterance(f"sandbox-{uuid.uuid4().hex}", text, by_bot, address)
        self._api.call("POST", f"/v1/integrations/{self.person.provider}/webhook", webhook_body(self.person, said))

    def connect(self) -> tuple[str, float]:
        """The bot asks for an agent; the answer's sentence, and how long it took in seconds."""
        began_s = time.monotonic()
        answer = self._api.call("POST", "/v1/chats/connect", self.person.connect_body())
        took_s = time.monotonic() - began_s
        self._chat = self._wait("the chat at the agents' desk", self._waiting_chat)
        return answer["Message"], took_s

    def _waiting_chat(self) -> str:
        waiting = self._simulator.chats("queued")
        return next((chat.id for chat in waiting if chat.visitor == self.person.name), "")

    def accept(self, agent: str) -> None:
        """An agent takes the chat."""
        self._simulator.accept(self._chat, name=agent)

    def agent_says(self, text: str) -> None:
        """The agent writes."""
        self._simulator.say(self._chat, text)

    def agent_ends(self) -> None:
        """The agent ends the chat."""
        self._simulator.end(self._chat)

    # --- what can be seen ---------------------------------------------------------------------------------------------

    def at_user(self, what: str, how_many: int = 1) -> list[str]:
        """The next texts that the user sees; `what` names them in the error."""
        return self._next_texts("user_text", self.person.user_id, what=what, how_many=how_many)

    def at_agent(self, what: str, how_many: int = 1) -> list[str]:
        """The next texts that the agent is shown."""
        return self._next_texts("agent_text", self._chat, what=what, how_many=how_many)

    def _next_texts(self, kind: str, name: str, *, what: str, how_many: int) -> list[str]:
        wanted = self._shown[kind] + how_many
        self._wait(what, lambda: len(self._simulator.entries(kind, name)) >= wanted)
        self._shown[kind] = wanted
        return [entry.text for entry in self._simulator.entries(kind, name)[wanted - how_many : wanted]]

    def events(self) -> list[Entry]:
        """The ledger's entries since the last call."""
        entries = self._simulator.ledger.since(self._last_event)
        self._last_event = self._simulator.ledger.last_number()
        return entries

    def bot_state(self) -> str:
        """The state that the bot is put into after the chat."""
        return self._wait("the bot's next state", lambda: self._simulator.bot_states(self.person.user_id))[-1]

    def context(self) -> list[str]:
        """The texts that the service remembers from outside the chat."""
        return [entry["text"] for entry in self._api.call("GET", f"/v1/context/{self.person.user_id}")]

    def reach(self, state: str) -> None:
        """Waits until the chat is in a state, or is `over`, by what `bridge dump` shows."""
        deadline_s = time.monotonic() + STEP_S
        while (found := self._state()) != state:
            if time.monotonic() > deadline_s:
                raise Missed(f"the chat should be {state} by now, but after {STEP_S:g} s it is {found}")
            time.sleep(0.02)

    def _state(self) -> str:
        masked = mask_user(self.person.user_id)
        rows = [row for document in documents(self._sockets) for row in document.get("interconnections", ())]
        # After the end of its chat an interconnection is `new` until it stops.
        states = [row["state"] for row in rows if row["user"] == masked and row["state"] != "new"]
        return str(states[0]) if states else "over"

    def _wait(self, what: str, look: Callable[[], Found]) -> Found:
        try:
            return self._simulator.wait_for(look, STEP_S)
        except TimeoutError as error:
            raise Missed(f"{what} did not come within {STEP_S:g} s") from error
