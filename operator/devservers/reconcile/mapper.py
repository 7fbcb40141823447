"""Maps a changed object to the keys of the root objects to reconcile.

Invariant: pure over the Lister. Whatever a reconcile reads from the Lister maps back to its key here; otherwise a
change would go unnoticed until the next resync.
"""

from __future__ import annotations

from collections.abc import Iterator

from devservers.build.devserver import STATEFUL_SET, WORKLOAD_KINDS
from devservers.observe.queueing.state import WAITING
from devservers.reconcile.interfaces import Key, Lister
from devservers_core.names import LABEL_NAME, LABEL_NAMESPACE_USER, LABEL_USER, home_name, namespace_of, user_of
from devservers_core.replicas import is_replica_home
from devservers_core.types import Json

SERVER = "DevServer"
USER = "DevServerUser"

_SERVER_CHILDREN = frozenset({*WORKLOAD_KINDS, "Pod", "Service", "ConfigMap"})
_USER_CHILDREN = frozenset(
    {"ServiceAccount", "ResourceQuota", "LimitRange", "RoleBinding", "NetworkPolicy", "LocalQueue"}
)


def map_to_keys(lister: Lister, kind: str, obj: Json) -> Iterator[Key]:
    """The keys to reconcile after an object appeared, changed or was deleted."""
    metadata = obj["metadata"]
    name, namespace = metadata["name"], metadata.get("namespace", "")
    labels = metadata.get("labels") or {}
    if kind == SERVER:
        yield Key(SERVER, namespace, name)
    elif kind == USER:
        yield Key(USER, "", name)
        yield from _servers_in(lister, namespace_of(name))
    elif kind == "DevServerFlavor":
        for server in lister.list(SERVER):
            if (server.get("spec") or {}).get("flavor") == name:
                yield _key(server)
        for person in lister.list(USER):
            if name in ((person.get("spec") or {}).get("flavors") or ()):
                yield Key(USER, "", person["metadata"]["name"])  # whose status names missing flavors
    elif kind == "Namespace":
        if user := labels.get(LABEL_NAMESPACE_USER) or user_of(name):
            yield Key(USER, "", user)
    elif kind in _SERVER_CHILDREN or (kind == "NetworkPolicy" and LABEL_NAME in labels):
        if server_name := labels.get(LABEL_NAME):
            yield Key(SERVER, namespace, server_name)
    elif kind in _USER_CHILDREN:
        if user := labels.get(LABEL_USER) or user_of(namespace):
            yield Key(USER, "", user)
    elif kind == "Workload":
        yield from _servers_of(lister, obj)
    elif kind == "ClusterQueue":
        yield from (_key(server) for server in lister.list(SERVER) if _waits_in_queue(server))
    elif kind == "PersistentVolumeClaim":
        yield from _servers_with(lister, namespace, name)
        user = user_of(namespace)
        if user and lister.get(USER, "", user) is None:
            yield Key(USER, "", user)  # perhaps the last claim of a kept namespace


def root_keys(lister: Lister) -> Iterator[Key]:
    """Every key: users first, because servers wait for them, and namespaces whose user is gone."""
    for user in lister.list(USER):
        yield Key(USER, "", user["metadata"]["name"])
    for namespace in lister.list("Namespace"):
        name = user_of(namespace["metadata"]["name"])
        if name and lister.get(USER, "", name) is None:
            yield Key(USER, "", name)
    for server in lister.list(SERVER):
        yield _key(server)


def _servers_of(lister: Lister, workload: Json) -> Iterator[Key]:
    """The server of the pod or StatefulSet that owns a Workload. An absent pod brings its own event when it comes."""
    namespace = workload["metadata"].get("namespace", "")
    for owner in workload["metadata"].get("ownerReferences") or ():
        kind = owner.get("kind")
        stored = lister.get(kind, namespace, str(owner.get("name"))) if kind in ("Pod", STATEFUL_SET) else None
        name = ((stored or {"metadata": {}})["metadata"].get("labels") or {}).get(LABEL_NAME)
        if name:
            yield Key(SERVER, namespace, name)


def _waits_in_queue(server: Json) -> bool:
    """Whether a server's status has numbers that a change of the queue may have made wrong."""
    conditions = (server.get("status") or {}).get("conditions") or ()
    return any(condition.get("type") == "Ready" and condition.get("reason") in WAITING for condition in conditions)


def _servers_in(lister: Lister, namespace: str) -> Iterator[Key]:
    for server in lister.list(SERVER, namespace):
        yield _key(server)


def _servers_with(lister: Lister, namespace: str, claim: str) -> Iterator[Key]:
    for server in lister.list(SERVER, namespace):
        spec = server.get("spec") or {}
        mounted = [volume.get("claimName") for volume in spec.get("volumes") or []]
        own = server["metadata"]["name"]
        homes = claim == home_name(own) or is_replica_home(claim, own)
        if homes or claim in (spec.get("sharedVolumeClaimName"), *mounted):
            yield _key(server)


def _key(server: Json) -> Key:
    return Key(SERVER, server["metadata"]["namespace"], server["metadata"]["name"])
