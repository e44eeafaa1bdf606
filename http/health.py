"""/v1/welcome, /v1/live and /v1/ready: name and version, the liveness probe, the readiness probe."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import falcon

from bridge.door import Door
from bridge.http.answers import Done, Ready, Refusal, Welcome, say


def bridge_version() -> str:
    """The installed version; 0 for a checkout that is not installed."""
    try:
        return version("bridge")
    except PackageNotFoundError:
        return "0"


class WelcomeResource:
    """Greets, as callers of the replaced service expect."""

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
    """For the readiness probe: this worker can store messages and hold chats."""

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
