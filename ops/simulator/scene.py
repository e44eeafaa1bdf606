"""The scene: the state of every simulated service, the scripted agent, and the ledger that tests read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from bridge.ops.simulator.agent import ScriptedAgent
from bridge.ops.simulator.desk import Desk
from bridge.ops.simulator.faults import Fault, Faults
from bridge.ops.simulator.ledger import Entry, Ledger
from bridge.ops.simulator.org import Org, Record
from bridge.ops.simulator.salesforce import Tokens
from bridge.ops.simulator.schema import OBJECTS
from bridge.ops.simulator.settings import SimulatorSettings

Found = TypeVar("Found")


class Scene(ScriptedAgent):
    """Everything that the simulated services know. No server, no socket."""

    def __init__(self, **settings: Any) -> None:
        self.settings = SimulatorSettings()
        self.settings.change(settings)
        self.ledger = Ledger(self.settings.ledger_limit)
        self.faults = Faults()
        self.tokens = Tokens(self.settings)
        self.org = Org(self.settings, self.ledger)
        self.desk = Desk(self.settings, self.ledger, aliases=self._aliases)
        super().__init__(self.desk)

    # --- arranging --------------------------------------------------------------------------------------------------

    def configure(self, **changes: Any) -> None:
        """Changes settings while it runs. Raises msgspec.ValidationError and changes nothing."""
        self.settings.change(changes)

    def add_fault(self, path: str, **fault: Any) -> Fault:
        """Arms a fault (see Fault); `hits` of what it returns counts how often it struck."""
        return self.faults.add(Fault(path=path, **fault))

    def seed_contact(self, *, blocked: bool = False, **fields: Any) -> str:
        """A contact that exists already: `LastName`, `Email`, `MobilePhone`, …; its id."""
        body = {"LastName": "Known", "CP_BlockedChatYalo__c": blocked, **fields}
        return self.org.insert(OBJECTS["contact"], body)

    def expire_tokens(self) -> None:
        """Every access token that was given is bad from now on: 401 INVALID_SESSION_ID."""
        self.tokens.expire()

    # --- witnessing -------------------------------------------------------------------------------------------------

    def wait_for(self, predicate: Callable[[], Found], timeout_s: float = 20.0) -> Found:
        """What the predicate gives as soon as it is true. Raises TimeoutError."""
        return self.ledger.wait_for(predicate, timeout_s)

    def wait_for_chat(self, who: str = "last", status: str = "queued", timeout_s: float = 20.0) -> str:
        """The session id of the chat as soon as it is in that state. Raises TimeoutError."""
        return self.wait_for(lambda: self._in_state(who, status), timeout_s)

    def agent_texts(self, who: str = "") -> list[str]:
        """What agents were shown, in order: of one chat (see ScriptedAgent), or of all."""
        return self.ledger.agent_texts(self.chat(who).id if who else "")

    def user_texts(self, user: str = "", *, repeats: bool = False) -> list[str]:
        """What a user was shown, in order; repeats of a delivery only when asked for."""
        return self.ledger.user_texts(user, repeats=repeats)

    def bot_states(self, user: str = "") -> list[str]:
        """The states that the bot was put into for a user, in order."""
        return self.ledger.bot_states(user)

    def overlapping_polls(self, who: str = "") -> int:
        """How many polls came while another of their session was held."""
        return self.ledger.overlapping_polls(self.chat(who).id if who else "")

    def entries(self, kind: str, name: str = "") -> list[Entry]:
        """The ledger's entries of a kind, of one session or user, or all."""
        return self.ledger.entries(kind, name)

    def requests(self, path: str = "", *, method: str = "", status: int | None = None) -> int:
        """How many requests were answered, by the end of their path; status 0 is one that was dropped."""
        return self.ledger.requests(path, method=method, status=status)

    def records(self, kind: str) -> list[Record]:
        """Every record of an object of the org: `records("Case")`."""
        return self.org.records(kind)

    def _in_state(self, who: str, status: str) -> str:
        chat = self.desk.named(who)
        return chat.id if chat is not None and chat.status == status else ""

    def _aliases(self, details: list[dict[str, Any]]) -> list[str]:
        """The further names of a chat: its case, its contact, and the contact's e-mail and phone."""
        ids = [detail["value"] for detail in details if detail["label"] in ("CaseId", "ContactId")]
        contact_ids = [detail["value"] for detail in details if detail["label"] == "ContactId"]
        contacts = [record for id_ in contact_ids if (record := self.org.known("Contact", id_))]
        told = [contact.get(name) for contact in contacts for name in ("Email", "MobilePhone")]
        return [*ids, *(name for name in told if name)]
