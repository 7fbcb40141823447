"""The stored workload of a server, and its stop."""

from __future__ import annotations

from devservers.build.devserver import WORKLOAD_KINDS
from devservers.observe import pods
from devservers.observe.queueing.state import owner_uids
from devservers.reconcile.interfaces import Client, Lister
from devservers_core.errors import ApiError
from devservers_core.types import Json


def live_workload(lister: Lister, namespace: str, name: str) -> Json | None:
    """The stored workload of a server, None without one; also of a server whose object can't be read."""
    stored = (lister.get(kind, namespace, name) for kind in WORKLOAD_KINDS)
    return next((workload for workload in stored if workload is not None), None)


def has_ended(lister: Lister, workload: Json) -> bool:
    """Whether nothing of a stopped workload is left: no pod of its server runs, and Kueue counts nothing for it."""
    metadata = workload["metadata"]
    namespace, uid = metadata["namespace"], metadata.get("uid")
    if pods.any_active(pods.of_server(lister.list("Pod", namespace), metadata["name"])):
        return False
    return not any(uid in owner_uids(admitted) for admitted in lister.list("Workload", namespace))


def asks_for_pods(workload: Json | None) -> bool:
    """Whether a workload asks for a pod; the API server's default is one."""
    return workload is not None and workload["spec"].get("replicas", 1) != 0


async def scale_to_zero(lister: Lister, client: Client, namespace: str, name: str) -> None:
    """Stops a server by the scale subresource and changes nothing else. Raises ApiError.

    The operator has this right in every namespace, and to write in one only as long as its user exists.
    """
    for kind in WORKLOAD_KINDS:
        if asks_for_pods(lister.get(kind, namespace, name)):
            try:
                await client.scale(kind, namespace, name, 0)
            except ApiError as error:
                if not error.not_found:
                    raise
