"""A person's secrets in a server's pod: references only, never a value."""

from __future__ import annotations

from collections.abc import Sequence

from devservers.api.devserver import DevServer
from devservers.api.secrets import SecretReference
from devservers.api.user import DevServerUser
from devservers_core import setup_secrets
from devservers_core.names import SECRETS_PATH, USER_SECRET_PREFIX
from devservers_core.types import Json

_VOLUME = "secrets"


def in_force(
    server: DevServer, user: DevServerUser, of_setup: Sequence[SecretReference] = ()
) -> tuple[SecretReference, ...]:
    """The references of a server's next start: its own, its user's set-up's, the DevServerUser's."""
    plain = {variable.name for variable in server.spec.env}
    return tuple(setup_secrets.in_force(server.spec.secrets, of_setup, user.spec.secrets, plain, _target))


def _target(reference: SecretReference) -> setup_secrets.Target:
    return ("env", reference.env) if reference.env is not None else ("file", reference.file or "")


def variables(secrets: Sequence[SecretReference]) -> list[Json]:
    """The container's variables whose values are secrets."""
    return [
        {
            "name": secret.env,
            "valueFrom": {"secretKeyRef": {"name": f"{USER_SECRET_PREFIX}{secret.name}", "key": secret.key}},
        }
        for secret in secrets
        if secret.env is not None
    ]


def volumes(secrets: Sequence[SecretReference]) -> list[Json]:
    """The volume with the secrets that are files, readable by the account alone; none where there are none."""
    sources = [
        {
            "secret": {
                "name": f"{USER_SECRET_PREFIX}{secret.name}",
                "items": [{"key": secret.key, "path": secret.file}],
            }
        }
        for secret in secrets
        if secret.file is not None
    ]
    return [{"name": _VOLUME, "projected": {"defaultMode": 0o440, "sources": sources}}] if sources else []


def mounts(secrets: Sequence[SecretReference]) -> list[Json]:
    """The mount of that volume."""
    return [{"name": volume["name"], "mountPath": SECRETS_PATH, "readOnly": True} for volume in volumes(secrets)]
