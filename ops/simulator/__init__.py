"""Simulates every remote service of the bridge, strictly, on one port, with a scripted agent and a control API.

A request that the real service would refuse is refused. Each service has its own base URL:

| prefix          | service, and the setting with its URL           | paths                                       |
| --------------- | ----------------------------------------------- | ------------------------------------------- |
| `/salesforce`   | login (SFC_LOGIN_URL) and data (SFC_BASE_URL)   | `/services/{oauth2/token,data/vNN.N/...}`   |
| `/liveagent`    | Live Agent (SFC_CHAT_URL)                       | `/chat/rest/{System,Chasitor,Visitor}/...`  |
| `/integrations` | Integrations API (INTEGRATIONS_BASE_URL)        | `/api/{channel}/bots/{bot}/messages` etc.   |
| `/botrunner`    | Botrunner (BOTRUNNER_URL)                       | `/{bot slug}/send-to`                       |
| `/studio`       | Studio NG (STUDIO_NG_URL)                       | `/v1/triggers/{state}/webhook`              |
| `/media`        | the host of users' files                        | `/{name}`                                   |
| `/control`      | the control API                                 | `GET /control` lists it                     |

In a test (gevent has patched the process):

    with Simulator(hold_s=2) as simulator:
        ...                                    # the bridge asks for a chat
        simulator.wait_for(lambda: simulator.chats(state="queued"))
        simulator.accept("last")
        simulator.say("last", "Hola")
        simulator.wait_for(lambda: simulator.user_texts("5215573735001"))

As a process: `python -m bridge.ops.simulator --port 8090`. What the sources leave open
(liveagent.md, "What the simulator decides") is decided in
`chats.py` (reconnect, acks), `polls.py` (overlaps) and `chasitor.py` (sequence numbers), each where it is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.ops.simulator.server import Simulator as Simulator

__all__ = ["Simulator"]


def __getattr__(name: str) -> object:
    # Imported late: `python -m bridge.ops.simulator` comes through here before gevent has patched the process.
    if name == "Simulator":
        from bridge.ops.simulator.server import Simulator

        return Simulator
    raise AttributeError(name)
