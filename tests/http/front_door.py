"""What the tests of the front door stand on: settings, a door that records, a client."""

from __future__ import annotations

from collections import Counter
from typing import Any

import falcon.testing

from bridge.door import Failures, Health, Posted
from bridge.errors import MailboxFull
from bridge.http.app import create_app
from bridge.messages import Answer, ConnectRequest, Provider, UserMessage
from bridge.records import ContextEntry
from bridge.settings.load import Settings

KEY = "k" * 40
YALO = {"username": "yaloUser", "password": "contraseña-del-bot"}
SALESFORCE = {"username": "salesforceUser", "password": "the-other-password"}
FLOW = 'default={"subject":"Chat","providers":{"whatsapp":{"button_id":"573"},"facebook":{"button_id":"573"}}}'


def settings(**changes: Any) -> Settings:
    """Settings that suffice, with changes."""
    given: dict[str, Any] = {
        "secret_key": KEY,
        "yalo_password": YALO["password"],
        "salesforce_password": SALESFORCE["password"],
        "sfc_login_url": "https://login.example",
        "sfc_base_url": "https://org.example",
        "sfc_chat_url": "https://chat.example",
        "sfc_client_id": "client",
        "sfc_organization_id": "00D000000000001",
        "sfc_deployment_id": "572000000000001",
        "sfc_source_flow_bot": FLOW,
    }
    return Settings(**{**given, **changes})


class RecordingDoor:
    """A door that keeps what it is told, drops repeats, and gives the answers that it was prepared with."""

    def __init__(self) -> None:
        self.posted: list[UserMessage] = []
        self.leaving: list[str] = []
        self.asked: list[object] = []
        self.answer = Answer("ok")
        self.entries: list[ContextEntry] = []
        self.state = Health(ready=True, durability="embedded", open_chats=3)
        self.failures = Counter[str]()
        self.failure: Exception | None = None
        self.fails_after = 0
        self.full_for: set[str] = set()
        self.empties_after = 0

    def fail(self, error: Exception, *, after: int = 0) -> None:
        """From now on every call raises the error, but for the next `after`."""
        self.failure, self.fails_after = error, after

    def post(self, message: UserMessage, *, leave: bool = False) -> Posted:
        self._maybe_fail()
        self._maybe_full(message.user_id)
        if message.message_id in [earlier.message_id for earlier in self.posted]:
            return "repeat"
        self.posted.append(message)
        self.leaving += [message.text] if leave else []
        return "context"

    def connect(self, request: ConnectRequest) -> Answer:
        return self._asked(request)

    def finish(self, user_id: str) -> Answer:
        return self._asked(("finish", user_id))

    def context(self, user_id: str) -> list[ContextEntry]:
        self._maybe_fail()
        return [entry for entry in self.entries if entry.user_id == user_id]

    def count_failure(self, name: str, *, window_s: float) -> Failures:
        self._maybe_fail()
        self.failures[name] += 1
        return Failures(self.failures[name], window_s)

    def register_webhook(self, provider: Provider) -> None:
        self._asked(("register", provider))

    def remove_webhook(self, provider: Provider) -> None:
        self._asked(("remove", provider))

    def health(self) -> Health:
        return self.state

    def _asked(self, what: object) -> Answer:
        self._maybe_fail()
        self.asked.append(what)
        return self.answer

    def _maybe_full(self, user_id: str) -> None:
        if user_id in self.full_for and self.empties_after:
            self.empties_after -= 1
            raise MailboxFull("full")

    def _maybe_fail(self) -> None:
        if self.failure is not None:
            if self.fails_after == 0:
                raise self.failure
            self.fails_after -= 1


class FrontDoorClient(falcon.testing.TestClient):
    """A client of the whole application, with the door behind it in reach."""

    def __init__(self, door: RecordingDoor, **changes: Any) -> None:
        super().__init__(create_app(door, settings(**changes)))
        self.door = door

    def log_in(self, login: dict[str, str] = YALO) -> str:
        """A token for the login."""
        token: str = self.simulate_post("/v1/authenticate", json=login).json["token"]
        return token

    def bearer(self, login: dict[str, str] = YALO) -> dict[str, str]:
        """The header with such a token."""
        return {"Authorization": f"Bearer {self.log_in(login)}"}


def refusal(result: falcon.testing.Result) -> tuple[int, str]:
    """Status and sentence of a refusal, which is JSON with that one key."""
    assert result.headers["content-type"] == "application/json"
    assert list(result.json) == ["ErrorDescription"]
    return result.status_code, result.json["ErrorDescription"]
