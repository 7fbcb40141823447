"""The key pair by which the replicas of one distributed server log in to each other.

Invariant: it is mounted in the pods of its server only, and authorized in them only.
"""

from __future__ import annotations

from devservers.api.devserver import DevServer
from devservers.api.user import DevServerUser
from devservers.build.manifest import child_metadata
from devservers_core.types import Json

PRIVATE_FILE, PUBLIC_FILE = "key", "key.pub"
"""Entries of the Secret, and files in the pods."""
REPLICA_KEY_PATH = "/etc/devservers/replica-key"


def replica_key_name(server: str) -> str:
    """The Secret's name."""
    return f"{server}-replica-key"


def replica_key_secret(server: DevServer, user: DevServerUser, data: dict[str, str]) -> Json:
    """The Secret `<server>-replica-key`, to be created once and never applied over."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": child_metadata(replica_key_name(server.name), server, user),
        "type": "Opaque",
        "data": data,
    }
