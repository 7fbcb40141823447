"""Whether servers wait for quota on this cluster, and what of it concerns one of them.

Invariant: reads only. Kueue alone makes, admits and evicts Workloads; the operator labels pods and makes LocalQueues.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from devservers.api.devserver import DevServer
from devservers.api.errors import InvalidObject
from devservers.api.flavor import DevServerFlavor
from devservers.api.user import DevServerUser
from devservers.observe.nearest import advice, nearest
from devservers.observe.queue import EXCEEDS_QUOTA, Queues, QueueState, owner_uids, queue_state
from devservers.reconcile.ports import View
from devservers_core.names import HOME_PATH
from devservers_core.types import Json

WORKLOAD = "Workload"
CLUSTER_QUEUE = "ClusterQueue"
LOCAL_QUEUE = "LocalQueue"


@dataclass
class Queueing:
    """What the platform is set to, and what the cluster has."""

    on: bool = False
    served: bool = False
    """Whether the cluster has Kueue's kinds; known once everything was listed."""

    @property
    def works(self) -> bool:
        """Whether there are queues to wait in."""
        return self.on and self.served

    def state(
        self, view: View, server: DevServer, user: DevServerUser | None, pods: Sequence[Json], pod: Json | None,
        now: datetime,
    ) -> QueueState | None:  # fmt: skip
        """How far a server is with its queue; None when queueing is off or its pod is in none."""
        if not self.on:
            return None
        uids = {pod["metadata"].get("uid") for pod in pods}
        owned = [each for each in view.list(WORKLOAD, server.metadata.namespace) if owner_uids(each) & uids]
        found = Queues(
            pods=tuple(pods),
            workloads=tuple(owned),
            cluster_queues={each["metadata"]["name"]: each for each in view.list(CLUSTER_QUEUE)},
            others=view.list(WORKLOAD) if any(map(_evicted, owned)) else (),
            served=self.served,
            home_kept=_home_kept(server),
        )
        known = server.status.conditions
        state = queue_state(pod, found, known, now)
        if state is None or state.reason != EXCEEDS_QUOTA or user is None:
            return state
        flavors = {each.name: each for each in _flavors(view)}
        wanted = flavors.get(server.spec.flavor)
        if wanted is None:
            return state
        found = replace(found, others=())
        name = nearest(wanted, flavors.values(), user.spec.flavors, found.cluster_queues)
        return queue_state(pod, found, known, now, advice(name))


def _evicted(workload: Json) -> bool:
    conditions = (workload.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == "Evicted" and each.get("status") == "True" for each in conditions)


def _home_kept(server: DevServer) -> bool:
    spec = server.spec
    return spec.persistent_home_size is not None or any(
        volume.mount_path.rstrip("/") == HOME_PATH for volume in spec.volumes
    )


def _flavors(view: View) -> Iterable[DevServerFlavor]:
    for raw in view.list("DevServerFlavor"):
        try:
            yield DevServerFlavor.parse(raw)
        except InvalidObject:
            continue  # said where a server of it is reconciled
