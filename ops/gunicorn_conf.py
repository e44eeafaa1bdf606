"""Gunicorn's configuration. Its variables come from the settings; GUNICORN_CMD_ARGS is not read."""

from gevent import monkey

monkey.patch_all()

import os
import resource
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger

from bridge.ops.logs import logging_config
from bridge.ops.settings_check import settings_or_exit
from bridge.settings.load import warnings_about


class NoAccessLog(Logger):  # type: ignore[misc]
    """Gunicorn's logger without the access log, whose lines would hold the query string and so perhaps a token."""

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Writes nothing."""


def connections_within(open_files: int) -> int:
    """How many clients a worker accepts: half of its open files; the other half is for chats, Redis and transfers."""
    return min(4000, open_files // 2)


_settings = settings_or_exit()
_host = f"[{_settings.host}]" if ":" in _settings.host else _settings.host

wsgi_app = "bridge.ops.wsgi:application"
bind = [f"{_host}:{_settings.port}"]
workers = _settings.workers
worker_class = "bridge.ops.worker.BridgeWorker"
worker_connections = connections_within(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
forwarder_headers = ""  # SCRIPT_NAME from a proxy on the same host would change the path
forwarded_allow_ips = ""
preload_app = False  # an actor that is started before the fork runs in the master only
timeout = 5  # a frozen worker must die before its leases run out
graceful_timeout = 26
keepalive = 65  # longer than a load balancer keeps an idle connection
control_socket_disable = True
logger_class = NoAccessLog
logconfig_dict = logging_config(_settings)
if Path("/dev/shm").is_dir():
    worker_tmp_dir = "/dev/shm"  # a slow disk must not look like a frozen worker


def when_ready(server: Any) -> None:
    """Logs where the service listens and where the chats are stored."""
    from bridge.ops import wsgi

    wsgi.begin()
    for sentence in warnings_about():
        server.log.warning(sentence)
    kept = "inside this process: nothing survives a stop" if _settings.embedded else "in Redis"
    server.log.info("bridge is up on %s; chats are kept %s", bind[0], kept)


def post_worker_init(worker: Any) -> None:
    """The worker is patched and has the app: actors may start."""
    from bridge.ops import wsgi

    wsgi.start(worker)


def worker_exit(_: Any, worker: Any) -> None:
    """The worker stops. The master may call this, too, for a worker that is gone."""
    from bridge.ops import wsgi

    if worker.pid == os.getpid():
        wsgi.stop()


def child_exit(_: Any, worker: Any) -> None:
    """A worker is gone; this runs in the master."""
    from bridge.ops import wsgi

    wsgi.worker_died(worker.pid)
