"""Users and keys for tests of the bastion's accounts."""

from __future__ import annotations

import base64
from typing import Any


def key(seed: int, kind: str = "ssh-ed25519") -> str:
    """A well-formed key line; nobody has its private half."""
    parts = [kind.encode(), seed.to_bytes(32, "big")]
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return f"{kind} {base64.b64encode(blob).decode()}"


def person(name: Any, uid: Any = 20000, **spec: Any) -> dict[str, Any]:
    """A DevServerUser."""
    return {
        "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"username": name, "sshPublicKeys": [key(1)], **spec},
        "status": {"uid": uid},
    }
