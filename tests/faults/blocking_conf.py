"""Gunicorn's configuration of the service, with two signals that block a worker's loop for a test."""

import signal
from pathlib import Path

from gevent import monkey

import bridge.ops

_path = Path(bridge.ops.__file__).with_name("gunicorn_conf.py")
exec(compile(_path.read_text("utf-8"), _path, "exec"))

_sleep = monkey.get_original("time", "sleep")
_start = globals()["post_worker_init"]


def _block_in_c(*_: object) -> None:
    _sleep(60)


def _block_in_python(*_: object) -> None:
    while True:
        pass


def post_worker_init(worker: object) -> None:
    """Starts the worker as ever, and listens for the two signals."""
    _start(worker)
    signal.signal(signal.SIGUSR2, _block_in_c)
    signal.signal(signal.SIGURG, _block_in_python)
