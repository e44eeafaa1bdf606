"""The names of workers, and freeing the leases of those that died."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import uuid
from collections.abc import Callable
from pathlib import Path

from bridge.actors.inbox.redis import RedisInbox
from bridge.actors.store.connections import Connections, is_embedded
from bridge.actors.store.store import Store
from bridge.errors import StoreUnavailable
from bridge.keys import Keys
from bridge.settings.load import Settings

log = logging.getLogger("bridge.workers")


def worker_name() -> str:
    """This process's name as an owner: its host, its process id, and a part that no earlier process of that id had."""
    return f"{_here()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"


def free_leases_of(settings: Settings, pid: int) -> None:
    """In Gunicorn's master: a worker of this host died, so what it owned is free. Never raises."""
    _free(settings, lambda name: name.startswith(f"{_here()}/{pid}/"), f"worker {pid} is gone")


def free_leases_of_the_dead(settings: Settings) -> None:
    """In Gunicorn's master, before its workers start: frees leases of workers killed here earlier. Never raises."""
    _free(settings, _is_dead, "starting")


def _free(settings: Settings, theirs: Callable[[str], bool], why: str) -> None:
    if is_embedded(settings):
        return
    keys = Keys(settings.client, settings.partitions)
    try:
        store = Store(
            Connections(settings),
            keys,
            client=settings.client,
            mailbox_limit=settings.mailbox_limit,
            engine=RedisInbox.scripts,
        )
        freed = store.release_all(theirs)
    except StoreUnavailable as error:
        log.warning("%s; its leases run out by themselves: %s", why, error)
    else:
        log.log(logging.WARNING if freed else logging.INFO, "%s; %d partitions are free again", why, freed)


def _here() -> str:
    """This host and process id space. The boot id tells hosts of one name apart: cloned machines share the rest."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(str(os.stat("/proc/self/ns/pid").st_ino))
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
    return ".".join(parts)


def _is_dead(name: str) -> bool:
    here, _, rest = name.rpartition("/")[0].rpartition("/")
    if here != _here() or not rest.isdigit():
        return False
    try:
        state = Path(f"/proc/{rest}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return Path("/proc/self").exists()
    except OSError:
        return False
    # Z or X: it has exited, but its parent has not reaped it.
    return state in ("Z", "X")
