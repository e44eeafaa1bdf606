"""A Live Agent visitor by hand, over real sockets: what the simulator's tests speak with."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import gevent
import requests

from bridge.ops.simulator.settings import SimulatorSettings

IDENTITIES = SimulatorSettings()


def detail(label: str, value: str) -> dict[str, Any]:
    return {"label": label, "value": value, "transcriptFields": [label], "displayToAgent": True, "entityMaps": []}


def entity(name: str, label: str) -> dict[str, Any]:
    by_id = {"fieldName": "Id", "label": label, "doFind": True, "isExactMatch": True, "doCreate": False}
    return {
        "entityName": name,
        "linkToEntityName": name,
        "linkToEntityField": "Id",
        "saveToTranscript": name,
        "showOnCreate": True,
        "entityFieldsMaps": [by_id],
    }


class Visitor:
    """One session: keeps key, affinity, POST number and ack as a client must."""

    def __init__(self, url: str, name: str = "Eduardo Ochoa") -> None:
        self.rest = f"{url}/liveagent/chat/rest"
        self.name = name
        self.http = requests.Session()
        self.http.trust_env = False
        self.number = 0
        self.ack = -1
        self.offset = 0
        opened = self.http.get(f"{self.rest}/System/SessionId", headers=self.version | {"X-LIVEAGENT-AFFINITY": "null"})
        self.session: dict[str, Any] = opened.json()
        self.id = self.session["id"]
        self.affinity = self.session["affinityToken"]

    @property
    def version(self) -> dict[str, str]:
        return {"X-LIVEAGENT-API-VERSION": "48"}

    @property
    def headers(self) -> dict[str, str]:
        key = {"X-LIVEAGENT-SESSION-KEY": self.session["key"], "X-LIVEAGENT-AFFINITY": self.affinity}
        return self.version | key

    def init_body(self, **changes: Any) -> dict[str, Any]:
        body = {
            "organizationId": IDENTITIES.organization_id,
            "deploymentId": IDENTITIES.deployment_id,
            "buttonId": IDENTITIES.button_id,
            "sessionId": self.id,
            "userAgent": "Yalo Bot",
            "language": "es-MX",
            "screenResolution": "1900x1080",
            "visitorName": self.name,
            "prechatDetails": [detail("CaseId", "5005K0000000001"), detail("ContactId", "0035K0000000001")],
            "prechatEntities": [entity("Case", "CaseId"), entity("Contact", "ContactId")],
            "receiveQueueUpdates": True,
            "isPost": True,
        }
        return {name: value for name, value in (body | changes).items() if value is not None}

    def post(self, noun: str, body: Any = None, *, number: int | None = None) -> requests.Response:
        """With the next number, which is used up by a 200; with another one where it is given."""
        sequence = {"X-LIVEAGENT-SEQUENCE": str(self.number + 1 if number is None else number)}
        answer = self.http.post(f"{self.rest}/{noun}", json=body or {}, headers=self.headers | sequence)
        self.number += answer.status_code == 200 and number is None
        return answer

    def init(self, **changes: Any) -> requests.Response:
        return self.post("Chasitor/ChasitorInit", self.init_body(**changes))

    def say(self, text: str, *, number: int | None = None) -> requests.Response:
        return self.post("Chasitor/ChatMessage", {"text": text}, number=number)

    def poll(self, ack: int | None = None, *, timeout_s: float = 10) -> requests.Response:
        """One poll; the ack moves on as a client's does."""
        params = {"ack": self.ack if ack is None else ack}
        # A connection of its own: while it is held, the session's other one must be free.
        url = f"{self.rest}/System/Messages"
        answer = requests.get(url, params=params, headers=self.headers, timeout=timeout_s)
        if answer.status_code == 200:
            self.ack, self.offset = answer.json()["sequence"], answer.json()["offset"]
        return answer

    def events(self) -> list[str]:
        """The types of one poll's events."""
        return [message["type"] for message in self.poll().json()["messages"]]

    def polling(self) -> gevent.Greenlet:
        """A poll in the background; `get(timeout=…)` gives its answer."""
        return gevent.spawn(self.poll)

    def reconnect(self, offset: int | None = None) -> requests.Response:
        headers = self.headers | {"X-LIVEAGENT-AFFINITY": "null"}
        params = {"ReconnectSession.offset": self.offset if offset is None else offset}
        answer = self.http.get(f"{self.rest}/System/ReconnectSession", params=params, headers=headers)
        if answer.status_code == 200:
            self.affinity, self.number = answer.json()["messages"][0]["message"]["affinityToken"], 0
        return answer

    def resync(self, **headers: str) -> requests.Response:
        body = {"organizationId": IDENTITIES.organization_id}
        return self.http.post(f"{self.rest}/Chasitor/ChasitorResyncState", json=body, headers=self.headers | headers)

    def delete(self) -> requests.Response:
        key = quote(self.session["key"], safe="")
        return self.http.delete(f"{self.rest}/System/SessionId/{key}", headers=self.headers)
