"""The composition root: settings → actors → front door, in one worker of Gunicorn."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import gevent

from bridge.errors import SettingsError, StoreUnavailable
from bridge.http.middleware import SAFE_HEADERS
from bridge.ops.ops_socket import OpsSocket, remove_stale
from bridge.settings.load import Settings, load_settings

if TYPE_CHECKING:
    from bridge.actors.system import System

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

# Longer than the longest call of a chat (15 s), so that a stop cuts no call that the next owner would repeat.
# Gunicorn's graceful_timeout of 26 s covers this and the requests, which may wait MAIN_CONTEXT_TIME_OUT (10 s).
STOP_DEADLINE_S = 16.0
BETWEEN_STARTS_S = 1.0
_GC_THRESHOLDS = (2_000, 10, 10)  # a chat leaves only a small reference cycle, so collecting it is not urgent
_BOOT_ERROR = 3  # Gunicorn's WORKER_BOOT_ERROR: the master does not start the worker again

_log = logging.getLogger(__name__)
_ALIVE = ("200 OK", b'{"Message": "alive"}')
_NOT_STARTED = ("503 Service Unavailable", b'{"ErrorDescription": "The service is starting."}')


class Service:
    """Everything that runs in one worker: the system of actors, the WSGI application, the ops socket."""

    def __init__(self, settings: Settings, *, port: int) -> None:
        from bridge.actors import system
        from bridge.http.app import create_app

        self.system: System = system.start(settings)
        self.app: WsgiApp = create_app(self.system.door, settings)
        self._socket = OpsSocket(settings.ops_socket_dir, port, self.system.snapshot)
        self._open_socket()

    def _open_socket(self) -> None:
        # Without the socket `bridge dump` misses this worker; its chats work all the same.
        try:
            self._socket.start()
        except OSError as error:
            _log.error("no socket for `bridge dump`: %s", error)

    def hand_over(self) -> None:
        """Hands every chat over, so that other workers take them at once; requests under way are still answered."""
        self.system.hand_over(STOP_DEADLINE_S)

    def stop(self) -> None:
        """Hands over what is left, and stops."""
        self._socket.stop()
        self.system.stop(STOP_DEADLINE_S)


class Start:
    """Starts the service, and tries until the store answers: Gunicorn stops all workers when one fails to start."""

    def __init__(self, settings: Settings, *, port: int) -> None:
        self.service: Service | None = None
        self._settings = settings
        self._port = port
        self._again: gevent.Greenlet | None = None
        if not self._try():
            self._again = gevent.spawn(self._try_again)

    def _try(self) -> bool:
        try:
            self.service = Service(self._settings, port=self._port)
        except StoreUnavailable as error:
            _log.error("the store is out of reach, so this worker answers 503 and tries again: %s", error)
        return self.service is not None

    def _try_again(self) -> None:
        try:
            while not self._try():
                gevent.sleep(BETWEEN_STARTS_S)
        except Exception:
            # A worker that answers 503 for ever looks alive to the master, so it ends with an error.
            _log.critical("bridge cannot start", exc_info=True)
            os._exit(_BOOT_ERROR)

    def stop(self) -> None:
        """Stops the service, or the attempts to start it."""
        if self._again is not None:
            self._again.kill()
        if self.service is not None:
            self.service.stop()


_start: Start | None = None


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The WSGI callable. Gunicorn loads it before actors may start, so it only forwards to the application."""
    if _start is not None and _start.service is not None:
        return _start.service.app(environ, start_response)
    status, body = _ALIVE if environ.get("PATH_INFO") == "/v1/live" else _NOT_STARTED
    start_response(status, [("Content-Type", "application/json"), ("Retry-After", "1"), *SAFE_HEADERS.items()])
    return [body]


def start(worker: Any) -> None:
    """Starts this worker's service (Gunicorn's post_worker_init). Ends the process when a setting forbids it."""
    global _start
    settings = load_settings()
    try:
        _start = Start(settings, port=worker.sockets[0].getsockname()[1])
    except SettingsError as error:
        _log.critical("bridge cannot start: %s", error)
        sys.exit(_BOOT_ERROR)
    # Imported modules are never freed. Without `freeze` each full collection visited them and took 60 ms.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def hand_over() -> None:
    """Gunicorn has told the worker to stop."""
    if _start is not None and _start.service is not None:
        _start.service.hand_over()


def stop() -> None:
    """Stops it (Gunicorn's worker_exit)."""
    global _start
    started, _start = _start, None
    if started is not None:
        started.stop()


def begin() -> None:
    """Frees what a killed master's workers left (Gunicorn's when_ready, in the new master)."""
    from bridge.actors.inbox.dead_workers import free_leases_of_the_dead

    free_leases_of_the_dead(load_settings())


def worker_died(pid: int) -> None:
    """Frees the leases of a dead worker (Gunicorn's child_exit, in the master), so that others take its chats."""
    from bridge.actors.inbox.dead_workers import free_leases_of

    settings = load_settings()
    free_leases_of(settings, pid)
    try:
        remove_stale(settings.ops_socket_dir)
    except OSError as error:
        _log.debug("no sockets of dead workers are removed: %s", error)
