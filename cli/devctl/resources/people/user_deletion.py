"""Waits until a deleted user's servers and namespace are gone.

Invariant: read-only. A deletion that takes longer is no failure; what holds it is named.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from devctl.output import console
from devservers_core import names
from devservers_core.errors import ApiError, CommandError, UnreachableError

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


TIMEOUT_SECONDS = 10.0
_OF_KUBERNETES = ("kubernetes.io/pvc-protection", "foregroundDeletion", "orphan")
"""Finalizers that Kubernetes removes by itself."""


def wait_gone(context: Context, user: str, *, keeps_volumes: bool) -> str | None:
    """Wait for a deleted user's objects to go; return what is left after TIMEOUT_SECONDS.

    Returns None when all of them are gone.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        remaining = _remaining(context, user, keeps_volumes=keeps_volumes)
        if remaining is None or time.monotonic() > deadline:
            return remaining
        time.sleep(0.3)


def _remaining(context: Context, user: str, *, keeps_volumes: bool) -> str | None:
    name = names.namespace_of(user)
    try:
        namespace = _get(context, f"/api/v1/namespaces/{name}")
        if namespace is None:
            return None
        holders = _held_by_finalizers(context, name)
        servers = [server["metadata"]["name"] for server in context.servers(name)]
    except (ApiError, CommandError, UnreachableError) as error:
        return f"whether {name} is gone can't be seen: {error}"
    if keeps_volumes and not servers:
        return None
    what = f"servers of {user} are not gone yet: {', '.join(servers)}" if keeps_volumes else f"{name} is not gone yet"
    if holders:
        return f"{what}; held by {'; '.join(holders)}: `kubectl edit` takes a finalizer away"
    if keeps_volumes or not namespace["metadata"].get("deletionTimestamp"):
        return f"{what}: the operator has not observed it; `devctl status` shows whether it runs"
    return f"{what}: {_content(namespace) or 'its contents are being deleted'}"


def _held_by_finalizers(context: Context, namespace: str) -> list[str]:
    """List objects with finalizers that Kubernetes does not remove by itself."""
    from devservers_core.client.paths import core_path, server_path

    holders = []
    for kind, path in (
        ("devserver", server_path(namespace)),
        ("volume claim", core_path(namespace, "persistentvolumeclaims")),
    ):
        for item in context.kube.get(path).get("items") or []:
            metadata = item["metadata"]
            foreign = [name for name in metadata.get("finalizers") or [] if name not in _OF_KUBERNETES]
            if foreign and metadata.get("deletionTimestamp"):
                holders.append(console.printable(f"{kind} {metadata['name']} (finalizer {', '.join(foreign)})"))
    return holders


def _content(namespace: Json) -> str:
    """The contents of a terminating namespace, from its conditions."""
    conditions = (namespace.get("status") or {}).get("conditions") or []
    kinds = ("NamespaceContentRemaining", "NamespaceFinalizersRemaining", "NamespaceDeletionContentFailure")
    messages = [
        str(condition.get("message"))
        for condition in conditions
        if condition.get("type") in kinds and condition["status"] == "True"
    ]
    return console.printable("; ".join(messages))


def _get(context: Context, path: str) -> Json | None:
    try:
        return context.kube.get(path)
    except ApiError as error:
        if error.status == 404:
            return None
        raise
