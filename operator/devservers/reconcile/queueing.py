"""Whether servers wait for quota in this cluster, and one server's queue state.

Invariant: this module reads only. Kueue creates, admits and evicts Workloads; the operator labels pods and creates
LocalQueues.

See docs/decisions/0003-kueue-by-labels.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from devservers.api.devserver import DevServer
from devservers.api.errors import InvalidObjectError
from devservers.api.flavor import DevServerFlavor
from devservers.api.user import DevServerUser
from devservers.build.devserver import STATEFUL_SET
from devservers.observe.queueing.flavor_suggestion import suggest_flavor, suggestion_message
from devservers.observe.queueing.state import EXCEEDS_QUOTA, QueueSnapshot, QueueState, owner_uids, queue_state
from devservers.reconcile.interfaces import Lister
from devservers_core.names import HOME_PATH
from devservers_core.types import Json

_FEWER = "Choose a smaller flavor (`devctl flavors`) or fewer replicas."
WORKLOAD = "Workload"
CLUSTER_QUEUE = "ClusterQueue"


@dataclass
class Queueing:
    """The platform's queueing setting, and whether the cluster has Kueue."""

    enabled: bool = False
    served: bool = False
    """Whether the cluster has Kueue's kinds; known once everything was listed."""

    @property
    def available(self) -> bool:
        """Whether there are queues to wait in."""
        return self.enabled and self.served

    def state(
        self, lister: Lister, server: DevServer, user: DevServerUser | None, pods: Sequence[Json], pod: Json | None,
        now: datetime,
    ) -> QueueState | None:  # fmt: skip
        """A server's state in its queue; None when queueing is off or its pod is in no queue."""
        if not self.enabled:
            return None
        distributed = server.replicas is not None
        holder = lister.get(STATEFUL_SET, *server.key) if distributed else None
        uids = {owned["metadata"].get("uid") for owned in (*pods, *([holder] if holder else []))}
        workloads = [
            workload for workload in lister.list(WORKLOAD, server.metadata.namespace) if owner_uids(workload) & uids
        ]
        snapshot = QueueSnapshot(
            pods=tuple(pods),
            workloads=tuple(workloads),
            cluster_queues={queue["metadata"]["name"]: queue for queue in lister.list(CLUSTER_QUEUE)},
            all_workloads=lister.list(WORKLOAD) if any(map(_is_evicted, workloads)) else (),
            served=self.served,
            holder=holder,
            replicas=server.replicas or 1,
            home_kept=_keeps_home(server),
        )
        conditions = server.status.conditions
        state = queue_state(pod, snapshot, conditions, now)
        if state is None or state.reason != EXCEEDS_QUOTA or user is None:
            return state
        if distributed:
            return queue_state(pod, snapshot, conditions, now, _FEWER)
        flavors = {flavor.name: flavor for flavor in _flavors(lister)}
        flavor = flavors.get(server.spec.flavor)
        if flavor is None:
            return state
        snapshot = replace(snapshot, all_workloads=())
        name = suggest_flavor(flavor, flavors.values(), user.spec.flavors, snapshot.cluster_queues)
        return queue_state(pod, snapshot, conditions, now, suggestion_message(name))


def _is_evicted(workload: Json) -> bool:
    conditions = (workload.get("status") or {}).get("conditions") or ()
    return any(condition.get("type") == "Evicted" and condition.get("status") == "True" for condition in conditions)


def _keeps_home(server: DevServer) -> bool:
    spec = server.spec
    return spec.persistent_home_size is not None or any(
        volume.mount_path.rstrip("/") == HOME_PATH for volume in spec.volumes
    )


def _flavors(lister: Lister) -> Iterable[DevServerFlavor]:
    for raw in lister.list("DevServerFlavor"):
        try:
            yield DevServerFlavor.parse(raw)
        except InvalidObjectError:
            continue  # the reconcile of a server with this flavor logs it
