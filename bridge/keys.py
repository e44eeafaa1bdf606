"""Where things lie in the store: a user's partition, and the key of everything that a partition holds."""

from __future__ import annotations

import hashlib

from bridge.messages import id_of_key


class Keys:
    """Names keys for one tenant. All keys of a partition share a hash tag, so that one script may touch them all."""

    def __init__(self, client: str, partitions: int) -> None:
        self._prefix = f"bridge:{client}"
        self.partitions = partitions

    def partition(self, user_id: str) -> int:
        """The partition of a user, by id or by key: the same for ever, in every process, and for every provider."""
        return int.from_bytes(hashlib.blake2b(id_of_key(user_id).encode(), digest_size=8).digest()) % self.partitions

    def of(self, partition: int, *parts: str) -> str:
        """The key of something that a partition holds: `inbox`, `chats`, `lease`, `context` with a user, ..."""
        return ":".join((f"{self._prefix}:{{p{partition:02d}}}", *parts))

    def seen(self, partition: int, user_id: str, provider: str, message_id: str) -> str:
        """The key that remembers a user's message id; hashed, because the id is a stranger's text."""
        parts = (user_id, provider, message_id)
        text = "".join(f"{len(part)}:{part}" for part in parts)
        digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        return self.of(partition, "seen", digest)

    def replies(self, worker: str) -> str:
        """The stream on which a worker hears the answers to its asks."""
        return f"{self._prefix}:replies:{worker}"

    def failures(self, name: str) -> str:
        """The key that counts failures of one kind; hashed, because the name may come from a stranger."""
        return f"{self._prefix}:failures:{hashlib.blake2b(name.encode(), digest_size=16).hexdigest()}"

    @property
    def layout(self) -> str:
        """The key that holds the number of partitions, written at the first start."""
        return f"{self._prefix}:partitions"

    @property
    def deployment(self) -> str:
        """The key that says which org, deployment and remote services the store is for, written at the first start."""
        return f"{self._prefix}:deployment"

    @property
    def workers(self) -> str:
        """The key of the living workers' heartbeats."""
        return f"{self._prefix}:workers"
