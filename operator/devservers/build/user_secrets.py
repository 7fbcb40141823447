"""A person's secrets in a server's pod: references only, never a value."""

from __future__ import annotations

from devservers.api.devserver import DevServer
from devservers_core.names import SECRETS_PATH, USER_SECRET_PREFIX
from devservers_core.types import Json

_VOLUME = "secrets"


def variables(server: DevServer) -> list[Json]:
    """The container's variables whose values are secrets."""
    return [
        {
            "name": secret.env,
            "valueFrom": {"secretKeyRef": {"name": f"{USER_SECRET_PREFIX}{secret.name}", "key": secret.key}},
        }
        for secret in server.spec.secrets
        if secret.env is not None
    ]


def volumes(server: DevServer) -> list[Json]:
    """The volume with the secrets that are files, readable by the account alone; none where there are none."""
    sources = [
        {
            "secret": {
                "name": f"{USER_SECRET_PREFIX}{secret.name}",
                "items": [{"key": secret.key, "path": secret.file}],
            }
        }
        for secret in server.spec.secrets
        if secret.file is not None
    ]
    return [{"name": _VOLUME, "projected": {"defaultMode": 0o440, "sources": sources}}] if sources else []


def mounts(server: DevServer) -> list[Json]:
    """The mount of that volume."""
    return [{"name": each["name"], "mountPath": SECRETS_PATH, "readOnly": True} for each in volumes(server)]
