"""The kinds of API objects that the operator uses and how each is watched.

Invariant: this table is the only list behind REST paths, the first list, the watches and the resync, so every cached
kind is watched.
"""

from __future__ import annotations

from dataclasses import dataclass

from devservers_core.names import (
    GROUP,
    KUEUE,
    KUEUE_VERSION,
    LABEL_MANAGED_BY,
    LABEL_NAMESPACE_CREATED_BY,
    OPERATOR,
    VERSION,
)

MANAGED = f"{LABEL_MANAGED_BY}={OPERATOR}"


@dataclass(frozen=True)
class Kind:
    """One kind: group ("" for core), version, plural, scope, and how it is watched.

    `watched` False means only read or written directly. `selector` is a label selector, "" for all objects. `queueing`
    True is for kinds that are watched only where servers wait in queues; a cluster may lack them.
    """

    kind: str
    group: str
    version: str
    plural: str
    namespaced: bool = True
    watched: bool = False
    selector: str = ""
    queueing: bool = False

    @property
    def api_version(self) -> str:
        """The apiVersion in manifests."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "") -> str:
        """The URL path of the collection, or of one object when name is given."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{scope}/{self.plural}" + (f"/{name}" if name else "")


_ALL = (
    Kind("DevServerFlavor", GROUP, VERSION, "devserverflavors", namespaced=False, watched=True),
    Kind("DevServerUser", GROUP, VERSION, "devserverusers", namespaced=False, watched=True),
    Kind("DevServer", GROUP, VERSION, "devservers", watched=True),
    Kind(
        "Namespace",
        "",
        "v1",
        "namespaces",
        namespaced=False,
        watched=True,
        selector=f"{LABEL_NAMESPACE_CREATED_BY}={OPERATOR}",
    ),
    # Unselected: servers mount users' own claims, and those carry no label of ours.
    Kind("PersistentVolumeClaim", "", "v1", "persistentvolumeclaims", watched=True),
    Kind("Deployment", "apps", "v1", "deployments", watched=True, selector=MANAGED),
    Kind("StatefulSet", "apps", "v1", "statefulsets", watched=True, selector=MANAGED),
    Kind("Pod", "", "v1", "pods", watched=True, selector=MANAGED),
    Kind("Service", "", "v1", "services", watched=True, selector=MANAGED),
    Kind("ConfigMap", "", "v1", "configmaps", watched=True, selector=MANAGED),
    Kind("ServiceAccount", "", "v1", "serviceaccounts", watched=True, selector=MANAGED),
    Kind("ResourceQuota", "", "v1", "resourcequotas", watched=True, selector=MANAGED),
    Kind("LimitRange", "", "v1", "limitranges", watched=True, selector=MANAGED),
    Kind("RoleBinding", "rbac.authorization.k8s.io", "v1", "rolebindings", watched=True, selector=MANAGED),
    Kind("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies", watched=True, selector=MANAGED),
    Kind("LocalQueue", KUEUE, KUEUE_VERSION, "localqueues", watched=True, selector=MANAGED, queueing=True),
    # Unselected: a Workload carries none of its pod's labels.
    Kind("Workload", KUEUE, KUEUE_VERSION, "workloads", watched=True, queueing=True),
    Kind("ClusterQueue", KUEUE, KUEUE_VERSION, "clusterqueues", namespaced=False, watched=True, queueing=True),
    # Never cached: people's are watched by their metadata alone, in each namespace for itself (secret_watches.py).
    Kind("Secret", "", "v1", "secrets"),
    Kind("Event", "events.k8s.io", "v1", "events"),
    Kind("Lease", "coordination.k8s.io", "v1", "leases"),
)

KINDS: dict[str, Kind] = {kind.kind: kind for kind in _ALL}
WATCHED: tuple[Kind, ...] = tuple(kind for kind in _ALL if kind.watched and not kind.queueing)
"""What is watched on every cluster."""
QUEUEING: tuple[Kind, ...] = tuple(kind for kind in _ALL if kind.queueing)
"""What is watched besides, where servers wait for quota."""
