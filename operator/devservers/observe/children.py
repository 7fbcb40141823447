"""The objects of a server as read from the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from devservers.api.devserver import DevServer
from devservers.api.flavor import DevServerFlavor
from devservers.api.user import DevServerUser
from devservers_core.types import Json

from . import pods
from .causes import Cause
from .queueing.state import QueueState


@dataclass(frozen=True, slots=True)
class Children:
    """The objects of one server; None or empty where there is none."""

    user: DevServerUser | None
    """The owner."""

    flavor: DevServerFlavor | None
    replicas: int | None = None
    """How many pods a distributed server is to have; None for a standalone one."""

    workload: Json | None = None
    """What makes its pods (build/workload.py)."""

    pods: tuple[Json, ...] = ()
    """Every pod with the server's labels, ending ones too."""

    former_pods: tuple[Json, ...] = ()
    """What remains of pods that were deleted of late (see ends/last_output.py)."""

    home_claim: Json | None = None
    missing_claims: tuple[str, ...] = ()
    """Claims the spec names (volumes, sharedVolumeClaimName) that don't exist."""

    event_message: str | None = None
    """The newest Event that explains why the start makes no progress (see warning_events.py)."""

    volumes: Mapping[str, str] = field(default_factory=dict)
    """The claims of the pod's volumes, by the PersistentVolume's name."""

    claims_being_deleted: tuple[str, ...] = ()
    """Mounted claims that somebody deleted: Kubernetes keeps each until no pod uses it any more."""

    flavor_changed: bool = False
    """Whether it runs with an older shape of its flavor."""

    host_key_public: str | None = None
    home_error: str | None = None
    """The API server's refusal of the home's growth, None when there was none."""

    refusal: Cause | None = None
    """Why the API server rejects one of its objects, None when it accepted them all."""

    queue: QueueState | None = None
    """How far it is with its queue, None when it waits in none."""


def is_pod_of_status(server: DevServer, pod: Json | None) -> bool:
    """Whether the stored status is about this pod; that of a distributed server is about all of its pods."""
    if pod is None or server.replicas is not None:
        return pod is not None and server.status.pod_name is not None
    return server.status.pod_name == pods.pod_name(pod)


def serving_pod(children: Children) -> Json | None:
    """The pod that is, or is becoming, the server; None while a replaced pod ends.

    Of a distributed server it is the one that is the furthest from being ready.
    """
    if pods.being_replaced(children.workload):
        return None
    if children.replicas is not None:
        return pods.least_ready(children.pods, children.replicas)
    return pods.current_pod(children.pods)
