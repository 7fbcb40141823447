"""The Secret with a server's host key.

Invariant: the host key lives exactly as long as the home: its Secret is owned by the home's claim, or by the server
without one. So a server created again over a kept home has the same host key, and nobody's known_hosts complains;
deleting the home (`devctl delete --purge`) deletes the key.
"""

from __future__ import annotations

import base64
import binascii

from devservers.api.devserver import DevServer
from devservers.api.user import DevServerUser
from devservers_core.names import HOST_KEY_PUBLIC_FILE, SERVICE_DOMAIN, host_of
from devservers_core.replicas import replica_names, replicas_domain
from devservers_core.types import Json

from . import manifest
from .manifest import child_labels


def host_key_name(server: str) -> str:
    """The Secret's name."""
    return f"{server}-host-key"


def host_names(server: DevServer, user: DevServerUser) -> tuple[str, ...]:
    """The names by which clients connect to a server; its certificate is for these."""
    host = host_of(server.name, user.name)
    # Not the bare name: somebody may call a server as another machine is called, and everybody trusts this CA.
    domain = replicas_domain(server.name, user.name)
    replicas = (f"{name}.{domain}" for name in replica_names(server.name, server.replicas or 0))
    return (host, host.removesuffix(f".{SERVICE_DOMAIN}"), *replicas)


def owner_reference(server: DevServer, live_home: Json | None) -> Json:
    """The Secret's owner: the stored home claim if the server has one, else the server.

    Raises ValueError when the server has a home whose claim isn't stored yet: create the claim first.
    """
    if server.spec.persistent_home_size is None:
        return manifest.owner_reference(server)
    if live_home is None:
        raise ValueError(f"the home of {server.name} must exist before its host key")
    metadata = live_home["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "name": metadata["name"],
        "uid": metadata["uid"],
    }


def host_key_secret(server: DevServer, user: DevServerUser, data: dict[str, str], owner_ref: Json) -> Json:
    """The Secret `<server>-host-key`, to be created once and never applied over.

    `data` is in OpenSSH's own format.
    """
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": host_key_name(server.name),
            "namespace": user.namespace,
            "labels": child_labels(server.name, user.name),
            "ownerReferences": [owner_ref],
        },
        "type": "Opaque",
        "data": data,
    }


def public_of(secret: Json) -> str | None:
    """The public key's type and body from a stored Secret, None if it has none."""
    try:
        text = base64.b64decode((secret.get("data") or {})[HOST_KEY_PUBLIC_FILE], validate=True).decode("ascii")
    except (KeyError, TypeError, binascii.Error, UnicodeDecodeError):
        return None
    fields = text.split()
    return " ".join(fields[:2]) if len(fields) >= 2 else None
