"""Renews the Salesforce token by the operator's schedule, before Salesforce ends it because it was not used."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import gevent

from bridge.actors.outbound.salesforce import TokenKeeper
from bridge.errors import RemoteError
from bridge.settings.schedule import parse_schedule

log = logging.getLogger("bridge.salesforce")


class TokenRefresher:
    """One greenlet a worker."""

    def __init__(self, tokens: TokenKeeper, schedule: str) -> None:
        self._tokens = tokens
        self._schedule = parse_schedule(schedule)
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> None:
        """Starts the greenlet that renews."""
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """Ends it."""
        if self._greenlet is not None:
            self._greenlet.kill(block=False)

    def _run(self) -> None:
        while True:
            gevent.sleep(self._schedule.seconds_to_next(datetime.now(UTC)))
            try:
                self._tokens.renew()
            except RemoteError as error:
                log.error("Salesforce token not renewed: %s", error)
