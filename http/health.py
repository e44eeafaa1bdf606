"""/v1/welcome, /v1/live and /v1/ready: which service this is, whether it runs, whether it may be given work."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import falcon

from bridge.door import Door
from bridge.http.answers import Done, Ready, Refusal, Welcome, say


def bridge_version() -> str:
    """The version that is installed; 0 for a checkout that is not."""
    try:
        return version("bridge")
    except PackageNotFoundError:
        return "0"


class WelcomeResource:
    """Says hello."""

    def __init__(self, app_name: str) -> None:
        installed = bridge_version()
        self._welcome = Welcome(f"Welcome to {app_name} {installed}", app_name, installed)

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """200 with the name and the version."""
        say(resp, self._welcome)


class LiveResource:
    """For the liveness probe: this process answers."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """200, always."""
        say(resp, Done("alive"))


class ReadyResource:
    """For the readiness probe: this worker can store what it is told and carry a chat."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """200, or 503 with every fault."""
        health = self._door.health()
        if health.ready:
            say(resp, Ready("ready", health.durability, health.open_chats))
        else:
            resp.status = 503
            say(resp, Refusal("\n".join(health.faults) or "not ready"))
