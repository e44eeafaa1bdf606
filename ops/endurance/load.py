"""A load: many chats with texts in both directions at a steady rate. A webhook is repeated until it is answered 200."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Sequence
from typing import Any, Literal

import gevent
import gevent.pool
import requests
import requests.adapters

from bridge.ops.simulator import Simulator

PATIENCE_S = 60.0
LARGE = 1_500
_PAGE = "233726951928054"

Provider = Literal["whatsapp", "facebook"]


class Caller:
    """The bot and the channel, as seen by the service: one HTTP client for all its users."""

    def __init__(self, urls: Sequence[str], *, connections: int = 200) -> None:
        self.urls = list(urls)
        self._session = requests.Session()
        self._session.trust_env = False
        adapter = requests.adapters.HTTPAdapter(pool_connections=16, pool_maxsize=connections, max_retries=0)
        self._session.mount("http://", adapter)
        self._token = ""

    def log_in(self) -> None:
        """Gets the token that connect needs."""
        answer = self._until_accepted("POST", "/v1/authenticate", {"username": "yaloUser", "password": "yalo-password"})
        self._token = answer.json()["token"]

    def connect(self, user: str, *, provider: Provider = "whatsapp") -> int:
        """Asks for a chat, once; gives the status, 0 when there was no answer."""
        body = {
            "userID": user,
            "botSlug": "proving",
            "botId": "521554578545",
            "name": user,
            "provider": provider,
            "email": f"{user}@example.com",
        }
        try:
            return self._send("POST", "/v1/chats/connect", body, timeout_s=30.0).status_code
        except requests.RequestException:
            return 0

    def finish(self, user: str) -> int:
        """Ends the user's chat, once; gives the status, 0 when there was no answer."""
        try:
            return self._send("DELETE", f"/v1/chat/finish/{user}", None, timeout_s=30.0).status_code
        except requests.RequestException:
            return 0

    def write(self, user: str, message_id: str, text: str, *, provider: Provider = "whatsapp") -> None:
        """Posts the webhook for a text again and again until it is answered 200, as the Integrations API does."""
        body = (whatsapp_body if provider == "whatsapp" else messenger_body)(user, message_id, text)
        self._until_accepted("POST", f"/v1/integrations/{provider}/webhook", body)

    def _until_accepted(self, method: str, path: str, body: object) -> requests.Response:
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            try:
                response = self._send(method, path, body, timeout_s=10.0)
                if response.status_code == 200:
                    return response
            except requests.RequestException:
                pass
            gevent.sleep(0.1)
        raise RuntimeError(f"{path} was not answered 200 within {PATIENCE_S:g} s")

    def _send(self, method: str, path: str, body: object, *, timeout_s: float) -> requests.Response:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        url = random.choice(self.urls) + path
        return self._session.request(method, url, json=body, headers=headers, timeout=timeout_s)


def whatsapp_body(user: str, message_id: str, text: str) -> dict[str, Any]:
    """A WhatsApp webhook. Its time has whole seconds, as the channel's."""
    timestamp = str(int(time.time()) * 1000)
    return {"from": user, "id": message_id, "type": "text", "text": {"body": text}, "timestamp": timestamp}


def messenger_body(user: str, message_id: str, text: str) -> dict[str, Any]:
    """A Messenger webhook."""
    now_ms = int(time.time()) * 1000
    people = {"sender": {"id": user}, "recipient": {"id": _PAGE}}
    event = people | {"message": {"mid": message_id, "text": text}, "timestamp": now_ms}
    entry = {"id": _PAGE, "messaging": [event], "time": now_ms}
    return {
        "authorRole": "user",
        "botId": "messenger-bot",
        "message": {"entry": [entry], "object": "page"},
        "msgTracking": {},
        "provider": "facebook",
        "timestamp": now_ms,
    }


class Talk:
    """One user and the texts of both sides, numbered, in the order in which each was sent; and when each was sent."""

    def __init__(self, user: str, provider: Provider = "whatsapp") -> None:
        self.user = user
        self.provider = provider
        self.written: list[str] = []
        self.said: list[str] = []
        self.sent_ms: dict[str, int] = {}

    def next_written(self, *, length: int = 0) -> str:
        """What the user writes next."""
        return self._sent(f"written {len(self.written) + 1} by {self.user}", length)

    def next_said(self, *, length: int = 0) -> str:
        """What the agent says next."""
        return self._sent(f"said {len(self.said) + 1} to {self.user}", length)

    def _sent(self, text: str, length: int) -> str:
        text = f"{text} {'x' * length}" if length else text
        self.sent_ms[text] = time.time_ns() // 1_000_000
        return text


class Load:
    """All chats. `open` brings them to an agent; between `start` and `stop` both sides talk.

    `providers` take turns. A share of `large` texts is `LARGE` characters longer than the others.
    """

    def __init__(
        self,
        simulator: Simulator,
        caller: Caller,
        *,
        chats: int,
        first_user: int = 5_215_500_000_000,
        providers: Sequence[Provider] = ("whatsapp",),
        large: float = 0.0,
    ) -> None:
        self._simulator = simulator
        self._caller = caller
        self._large = large
        turns = itertools.cycle(providers)
        self.talks = [Talk(str(first_user + number), next(turns)) for number in range(chats)]
        self._talking = gevent.pool.Group()
        self._stopped = False

    @property
    def messages(self) -> int:
        """How many texts were sent, both ways."""
        return sum(len(talk.written) + len(talk.said) for talk in self.talks)

    def open(self, *, at_once: int = 50, timeout_s: float = 60.0) -> None:
        """Connects every user and waits until each has an agent."""
        statuses = gevent.pool.Pool(at_once).map(self._connect_again, self.talks)
        refused = [status for status in statuses if status != 200]
        if refused:
            raise RuntimeError(f"{len(refused)} of {len(statuses)} connects failed: {sorted(set(refused))}")
        self._simulator.wait_for(lambda: all(self._has_agent(talk) for talk in self.talks), timeout_s)

    def start(self, *, each_s: float) -> None:
        """Both sides of every chat send a text every `each_s` seconds, on average."""
        for talk in self.talks:
            self._talking.spawn(self._keep_writing, talk, each_s)
            self._talking.spawn(self._keep_saying, talk, each_s)

    def stop(self) -> None:
        """Ends the sending and waits until every request under way is answered."""
        self._stopped = True
        self._talking.join()

    def _connect(self, talk: Talk) -> int:
        return self._caller.connect(talk.user, provider=talk.provider)

    def _connect_again(self, talk: Talk) -> int:
        """A connect without an answer is sent once more: it joins the chat that the first one may have opened."""
        return self._connect(talk) or self._connect(talk)

    def _has_agent(self, talk: Talk) -> bool:
        return bool(self._simulator.ledger.entries("agent_text", talk.user))

    def _keep_writing(self, talk: Talk, each_s: float) -> None:
        while not self._stopped:
            gevent.sleep(random.uniform(0, 2 * each_s))
            self._write(talk)

    def _keep_saying(self, talk: Talk, each_s: float) -> None:
        while not self._stopped:
            gevent.sleep(random.uniform(0, 2 * each_s))
            self._say(talk)

    def _write(self, talk: Talk) -> None:
        text = talk.next_written(length=LARGE if random.random() < self._large else 0)
        self._caller.write(talk.user, f"{talk.user}-{len(talk.written) + 1}", text, provider=talk.provider)
        talk.written.append(text)

    def _say(self, talk: Talk) -> None:
        text = talk.next_said(length=LARGE if random.random() < self._large else 0)
        self._simulator.say(talk.user, text)
        talk.said.append(text)
