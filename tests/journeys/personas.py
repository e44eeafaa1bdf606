"""Who takes part in a journey: the bot, its users, and the agent who serves one of them."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

import gevent
import requests

from bridge.ops.simulator import Simulator
from bridge.ops.simulator.ledger import Entry
from bridge.ops.simulator.org import Record

WAIT = "Esperando un agente"
CONNECTED = {"Message": "Chat created succefully"}
TIMEOUT_S = 30.0

Json = dict[str, Any]

_numbers = itertools.count(1)


def welcome(user: BotUser) -> str:
    """The first words in the user's name."""
    return f"Hola soy {user.name} y necesito ayuda"


def await_equal(simulator: Simulator, look: Callable[[], Any], expected: Any, *, timeout_s: float = TIMEOUT_S) -> None:
    """Waits until `look` gives what is expected; fails with the difference."""
    try:
        simulator.wait_for(lambda: look() == expected, timeout_s)
    except TimeoutError:
        assert look() == expected


def together(journeys: Mapping[str, Callable[[], Any]]) -> None:
    """Makes several journeys at the same time, because most of each is waiting; fails as the first that fails."""
    under_way = {name: gevent.spawn(journey) for name, journey in journeys.items()}
    gevent.joinall(list(under_way.values()))
    for name, greenlet in under_way.items():
        if greenlet.exception is not None:
            greenlet.exception.add_note(f"the journey that failed: {name}")
            raise greenlet.exception


class Bot:
    """Yalo's bot and channels, as they call the bridge: with a token, and with what its users and it itself say."""

    def __init__(self, url: str, simulator: Simulator) -> None:
        self.url = url
        self.simulator = simulator
        self.users: list[BotUser] = []
        self._token = ""

    # --- the API ----------------------------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> requests.Response:
        """One request with a token: the bot's own, another, or none when it is empty."""
        token = self.token if token is None else token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return requests.request(method, self.url + path, json=body, headers=headers, timeout=30)

    @property
    def token(self) -> str:
        """The bot's token, asked for once."""
        self._token = self._token or self.log_in("yaloUser", "yalo-password").json()["token"]
        return self._token

    def log_in(self, username: str, password: str) -> requests.Response:
        """POST /v1/authenticate."""
        return self.call("POST", "/v1/authenticate", {"username": username, "password": password}, token="")

    def connect(self, user: BotUser, **extra_data: Any) -> requests.Response:
        """POST /v1/chats/connect."""
        return self.call("POST", "/v1/chats/connect", user.connect_body(**extra_data))

    def finish(self, user: BotUser) -> requests.Response:
        """DELETE /v1/chat/finish/{user}."""
        return self.call("DELETE", f"/v1/chat/finish/{user.id}")

    def context(self, user: BotUser) -> list[Json]:
        """GET /v1/context/{user}."""
        answer = self.call("GET", f"/v1/context/{user.id}")
        assert answer.status_code == 200, answer.text
        entries: list[Json] = answer.json()
        return entries

    def webhook(self, provider: str, body: Any, headers: Mapping[str, str] | None = None) -> requests.Response:
        """What the Integrations API posts."""
        url = f"{self.url}/v1/integrations/{provider}/webhook"
        return requests.post(url, json=body, headers=headers, timeout=30)

    # --- people -----------------------------------------------------------------------------------------------------

    def new_user(self, **fields: str) -> BotUser:
        """A WhatsApp user whom nobody has met."""
        user = BotUser(self, next(_numbers), **fields)
        self.users.append(user)
        return user

    def new_messenger_user(self, **fields: str) -> MessengerUser:
        """A Messenger user whom nobody has met."""
        user = MessengerUser(self, next(_numbers), **fields)
        self.users.append(user)
        return user

    def say(self, user: BotUser, text: str) -> None:
        """The bot itself speaks to the user."""
        user.hook(user.text_body(text) | {"to": user.id, "from": "5215500000000"})


class BotUser:
    """A person on WhatsApp.

    As with the real channel, ids have no order, and times are whole seconds: quick messages have the same time.
    """

    provider = "whatsapp"

    def __init__(self, bot: Bot, number: int, **fields: str) -> None:
        self.bot = bot
        self.simulator = bot.simulator
        self.phone = f"52155{number:08d}"
        self.id = self._own_id(number)
        self.name = f"Persona {number}"
        self.email = f"persona{number}@example.com"
        vars(self).update(fields)
        self.agent = Agent(self)
        self._said = 0

    def _own_id(self, number: int) -> str:
        return self.phone

    # --- doing ------------------------------------------------------------------------------------------------------

    def connect_body(self, **extra_data: Any) -> Json:
        """What the bot sends to open a chat for this user."""
        return {
            "userID": self.id,
            "botSlug": "coppel-bot",
            "botId": "521554578545",
            "name": self.name,
            "provider": self.provider,
            "email": self.email,
            "phoneNumber": self.phone,
            "extraData": extra_data,
        }

    def connect(self, **extra_data: Any) -> BotUser:
        """Has the bot open a chat, which must go well."""
        answer = self.bot.connect(self, **extra_data)
        assert (answer.status_code, answer.json()) == (200, CONNECTED), answer.text
        return self

    def wait_on_hold(self, **extra_data: Any) -> BotUser:
        """Opens a chat and waits until the user was told to wait."""
        told = len(self.simulator.user_texts(self.id))
        self.connect(**extra_data)
        self.simulator.wait_for(lambda: self.read()[told:] == [WAIT], TIMEOUT_S)
        return self

    def talk(self, **extra_data: Any) -> BotUser:
        """Opens a chat, has an agent take it, and waits until the agent was greeted."""
        self.wait_on_hold(**extra_data)
        self.agent.accept()
        self.simulator.wait_for(lambda: welcome(self) in self.agent.read(), TIMEOUT_S)
        return self

    def say(self, text: str) -> Json:
        """Writes a text; gives the webhook's body, to be repeated."""
        return self.hook(self.text_body(text))

    def send(self, kind: str, content: Any) -> Json:
        """Sends anything that is no text."""
        return self.hook(self._body(kind, content))

    def send_file(self, kind: str, url: str, **said: str) -> Json:
        """Sends a file that lies at that URL, with a caption and a mimeType if they are given."""
        return self.send(kind, {"url": url, **said})

    def hook(self, body: Json) -> Json:
        """Has the channel deliver it, which must go well."""
        answer = self.bot.webhook(self.provider, body)
        assert (answer.status_code, answer.json()) == (200, {"Message": "insert success"}), answer.text
        return body

    def finish(self) -> None:
        """Has a caller of the API end the chat, which must go well."""
        assert self.bot.finish(self).status_code == 200

    # --- bodies -----------------------------------------------------------------------------------------------------

    def text_body(self, text: str, *, at_ms: int | None = None) -> Json:
        """What the channel posts when the user writes."""
        return self._body("text", {"body": text}, at_ms=at_ms)

    def _body(self, kind: str, content: Any, *, at_ms: int | None = None) -> Json:
        timestamp = str(at_ms or self._second_ms())
        return {"from": self.id, "id": self._next_id(), "timestamp": timestamp, "type": kind, kind: content}

    def _next_id(self) -> str:
        self._said += 1
        return f"wamid.{hashlib.sha1(f'{self.id}.{self._said}'.encode()).hexdigest()}"

    @staticmethod
    def _second_ms() -> int:
        return int(time.time()) * 1000

    # --- seeing -----------------------------------------------------------------------------------------------------

    def read(self) -> list[str]:
        """Everything that reached the user, repeats of one delivery shown once."""
        return self.simulator.user_texts(self.id)

    def must_read(self, *texts: str, timeout_s: float = TIMEOUT_S) -> None:
        """Waits until exactly this reached the user, in this order."""
        await_equal(self.simulator, self.read, list(texts), timeout_s=timeout_s)

    @property
    def states(self) -> list[str]:
        """The states that the bot was put into for this user."""
        return self.simulator.bot_states(self.id)

    def must_go_back(self, state: str, *, timeout_s: float = TIMEOUT_S) -> None:
        """Waits until the bot was put into this state, and no other, and until the chat is no more."""
        await_equal(self.simulator, lambda: self.states, [state], timeout_s=timeout_s)
        self.must_be_free()

    def must_be_free(self) -> None:
        """Waits until the user has no chat."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while (answer := self.bot.finish(self)).status_code != 404:
            assert time.monotonic() < deadline_s, f"{self.id} still has a chat: {answer.text}"

    def context(self) -> list[str]:
        """The texts that are kept as this user's context."""
        return [entry.get("text", "") for entry in self.bot.context(self)]


class MessengerUser(BotUser):
    """A person on Messenger."""

    provider = "facebook"
    page = "233726951928054"

    def _own_id(self, number: int) -> str:
        return f"50188{number:011d}"

    def text_body(self, text: str, *, at_ms: int | None = None) -> Json:
        """What the channel posts when the user writes."""
        return self.delivery([{"mid": self._next_id(), "text": text}], at_ms=at_ms)

    def attach(self, *attachments: Json, text: str = "") -> Json:
        """Sends files in one message, with a text where there is one."""
        message: Json = {"mid": self._next_id(), "attachments": list(attachments)}
        return self.hook(self.delivery([message | ({"text": text} if text else {})]))

    def delivery(self, messages: list[Json], *, role: str = "user", at_ms: int | None = None) -> Json:
        """What the channel posts for messages of the user, or of the bot in any other role."""
        now_ms = at_ms or self._second_ms()
        people = [{"id": self.id}, {"id": self.page}]
        sender, recipient = people if role == "user" else reversed(people)
        events = [
            {"message": message, "sender": sender, "recipient": recipient, "timestamp": now_ms} for message in messages
        ]
        entry = {"id": self.page, "messaging": events, "time": now_ms}
        return {
            "authorRole": role,
            "botId": "messeger-staging-bot",
            "message": {"entry": [entry], "object": "page"},
            "msgTracking": {},
            "provider": "facebook",
            "timestamp": now_ms,
        }


class Agent:
    """Whoever serves one user at the desk; the user's newest chat is meant."""

    def __init__(self, user: BotUser) -> None:
        self._user = user
        self._simulator = user.simulator

    # --- doing ------------------------------------------------------------------------------------------------------

    def accept(self, **agent: str) -> None:
        """Takes the chat."""
        self._simulator.wait_for_chat(self.who, timeout_s=TIMEOUT_S)
        self._simulator.accept(self.who, **agent)

    def say(self, *texts: str) -> None:
        """Writes these, one after the other."""
        for text in texts:
            self._simulator.say(self.who, text)

    def end(self, reason: str = "agent") -> None:
        """Ends the chat."""
        self._simulator.end(self.who, reason=reason)

    # --- seeing -----------------------------------------------------------------------------------------------------

    @property
    def who(self) -> str:
        """How the simulator knows the user."""
        return self._user.name

    @property
    def session(self) -> str:
        """The session of the user's newest chat."""
        return self._simulator.chat(self.who).id

    @property
    def status(self) -> str:
        """How the chat stands at the desk; empty while the user has no chat."""
        chat = self._simulator.desk.named(self.who)
        return "" if chat is None else chat.status

    def read(self) -> list[str]:
        """What the agents of the user's newest chat were shown."""
        chat = self._simulator.desk.named(self.who)
        return [] if chat is None else self._simulator.ledger.agent_texts(chat.id)

    def must_read(self, *texts: str, timeout_s: float = TIMEOUT_S) -> None:
        """Waits until exactly this was shown after the greeting, in this order."""
        await_equal(self._simulator, self.read_of_user, list(texts), timeout_s=timeout_s)

    def read_of_user(self) -> list[str]:
        """What was shown after the greeting."""
        read, greeting = self.read(), welcome(self._user)
        return read[read.index(greeting) + 1 :] if greeting in read else []

    def numbers(self) -> list[int]:
        """The numbers of the POSTs that brought those texts."""
        return [entry.details["number"] for entry in self.entries("agent_text")]

    def entries(self, kind: str) -> list[Entry]:
        """The ledger's entries of the chat."""
        return self._simulator.entries(kind, self.session)

    # --- the records that came with the chat ------------------------------------------------------------------------

    @property
    def request(self) -> Json:
        """What the bridge asked the desk for."""
        return self.entries("chat_requested")[0].details

    @property
    def case(self) -> Record:
        """The chat's case."""
        return self._record("Case", "CaseId")

    @property
    def contact(self) -> Record:
        """The chat's contact."""
        return self._record("Contact", "ContactId")

    @property
    def cases(self) -> list[Record]:
        """Every case of that contact."""
        return [case for case in self._simulator.records("Case") if case.get("ContactId") == self.contact["Id"]]

    @property
    def files(self) -> list[Record]:
        """The files at the case, oldest first."""
        links = self._simulator.records("ContentDocumentLink")
        documents = [link["ContentDocumentId"] for link in links if link["LinkedEntityId"] == self.case["Id"]]
        versions = {version["ContentDocumentId"]: version for version in self._simulator.records("ContentVersion")}
        return [versions[document] for document in documents]

    def _record(self, kind: str, label: str) -> Record:
        id_ = next(detail["value"] for detail in self.request["prechatDetails"] if detail["label"] == label)
        record = self._simulator.org.known(kind, id_)
        assert record is not None, f"the desk was given a {label} that does not exist"
        return record
