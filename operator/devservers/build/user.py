"""The manifests of a user: their namespace and what is in it.

Invariant: the namespace is closed from its first moment. Namespaced children are owned by the DevServerUser and are
deleted with it; the Namespace has no owner, because deleting a user must never cascade to homes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from devservers.api import registries
from devservers.api.user import DevServerUser
from devservers_core.names import (
    AGENT_PORT,
    ANNOTATION_ALLOWED_FLAVORS,
    ANNOTATION_ALLOWED_REGISTRIES,
    ANNOTATION_HOME_QUOTA,
    ANNOTATION_SHARED_CLASS,
    ANNOTATION_TIME_ZONE,
    ANNOTATION_USER_LIMITS,
    ANNOTATION_USER_OBJECT,
    ANNOTATION_USER_UID,
    BASTION_ACCOUNT,
    BASTION_NAMESPACE,
    GPU,
    KUEUE_API_VERSION,
    LABEL_MANAGED_BY,
    LABEL_NAMESPACE_CREATED_BY,
    LABEL_NAMESPACE_USER,
    LABEL_SCRAPE,
    LABEL_USER,
    MAX_REGISTRY_LOGINS,
    MAX_USER_SECRETS,
    OPERATOR,
    PERSON_ACCOUNT,
    PERSON_TOKEN_ROLE,
    QUEUES,
    SERVER_COUNT,
    SNAPSHOT_COUNT,
    SSH_POD_PORT,
    SYSTEM_NAMESPACE,
    TENANT_ROLE,
    USER_ROLE,
)
from devservers_core.quantity import canonical, parse_quantity
from devservers_core.types import Json

from .disk import DEFAULT_LIMIT, DEFAULT_REQUEST, DISK
from .egress import EGRESS, Egress, policy
from .manifest import user_child
from .pod.template import service_account
from .registry import index
from .user_setup import config_maps

MAX_CLAIMS = 100
"""How many volume claims a person may have."""
MAX_SNAPSHOTS = 50
"""How many snapshots of volumes a person may have where neither the stack nor their DevServerUser says it."""
_OTHER_SECRETS = MAX_CLAIMS + MAX_REGISTRY_LOGINS + MAX_USER_SECRETS + 16
"""Beside a host key and a key between replicas for each server: those of kept homes, logins to registries, the user's
own, and copies of the platform's."""
_STORAGE = "requests.storage"
_SC = f"storageclass.storage.k8s.io/{_STORAGE}"
DENY_INGRESS = "default-deny-ingress"
ALLOW_BASTION = "allow-ssh-from-bastion"
ALLOW_AGENT = "allow-agent"

_POD_SECURITY = "restricted"
_RBAC = "rbac.authorization.k8s.io"
_NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""The label with its name that the API server keeps on each namespace."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The stack's limits for users whose DevServerUser has none; None is no limit.

    A quota refuses what is new. Whoever has more when a limit comes keeps it all.
    """

    storage: str | None = None
    """Of all volume claims together, but for those of the shared class."""
    claim: str | None = None
    """Of one volume claim."""
    servers: int | None = None
    snapshots: int | None = None
    home_class: str | None = None
    """StorageClass of homes, None for the cluster's default."""
    shared_class: str | None = None
    """StorageClass of volumes that many servers mount, None where there is none."""
    shared: str | None = None
    """Of all claims of the shared class together."""
    registries: str = registries.ANY
    """What images of their own may come from, with commas between (api/registries.py)."""
    time_zone: str = ""
    """Of the times of day of users who name none; empty is UTC."""


NO_LIMITS = Limits()


def manifests(
    user: DevServerUser,
    uid: int,
    system_namespace: str = SYSTEM_NAMESPACE,
    *,
    queueing: bool = False,
    egress: Egress = Egress(),  # noqa: B008 - frozen
    limits: Limits = NO_LIMITS,
) -> list[Json]:
    """The children of a user in the order to apply: the Namespace first, then what is in it.

    `uid` is recorded on the Namespace, so that it outlives the user as long as the homes do. The ClusterRoles named by
    the bindings are shipped with the operator, not created by it. With `queueing` there is a LocalQueue for each of the
    platform's queues, with the name of its ClusterQueue; `egress` has the networks around the cluster.
    """
    return [
        _namespace(user, uid, limits),
        user_child(user, "v1", "ServiceAccount", service_account(user.name), {"automountServiceAccountToken": False}),
        # Not the account of pods, which has no role: what a person may do at the API is not what their servers may.
        user_child(user, "v1", "ServiceAccount", PERSON_ACCOUNT, {"automountServiceAccountToken": False}),
        _binding(user, TENANT_ROLE, (OPERATOR, system_namespace)),
        # A token that is out when a person is suspended is worth nothing from then on.
        _binding(user, USER_ROLE, *(() if user.spec.suspended else ((PERSON_ACCOUNT, user.namespace),))),
        _binding(user, PERSON_TOKEN_ROLE, (BASTION_ACCOUNT, BASTION_NAMESPACE)),
        _resource_quota(user, limits),
        user_child(user, "v1", "LimitRange", USER_ROLE, {"spec": {"limits": _limit_range(limits)}}),
        user_child(
            user,
            "networking.k8s.io/v1",
            "NetworkPolicy",
            DENY_INGRESS,
            {"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}},
        ),
        user_child(user, "networking.k8s.io/v1", "NetworkPolicy", ALLOW_BASTION, {"spec": _from_bastion()}),
        user_child(user, "networking.k8s.io/v1", "NetworkPolicy", ALLOW_AGENT, {"spec": _to_agent(system_namespace)}),
        user_child(user, "networking.k8s.io/v1", "NetworkPolicy", EGRESS, {"spec": policy(egress)}),
        index(user),
        *config_maps(user),
        *(
            user_child(user, KUEUE_API_VERSION, "LocalQueue", queue, {"spec": {"clusterQueue": queue}})
            for queue in (QUEUES if queueing else ())
        ),
    ]


def _namespace(user: DevServerUser, uid: int, limits: Limits) -> Json:
    security = {
        f"pod-security.kubernetes.io/{mode}{suffix}": value
        for mode in ("enforce", "warn", "audit")
        for suffix, value in (("", _POD_SECURITY), ("-version", "latest"))
    }
    time_zone, lifecycle = user.spec.time_zone or limits.time_zone, user.spec.lifecycle.to_dict()
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": user.namespace,
            "labels": {
                LABEL_MANAGED_BY: OPERATOR,
                LABEL_NAMESPACE_USER: user.name,
                LABEL_NAMESPACE_CREATED_BY: OPERATOR,
                LABEL_USER: user.name,
                **security,
            },
            "annotations": {
                ANNOTATION_ALLOWED_FLAVORS: ",".join(sorted(set(user.spec.flavors))),
                ANNOTATION_USER_OBJECT: user.metadata.uid,
                ANNOTATION_ALLOWED_REGISTRIES: limits.registries,
                ANNOTATION_USER_UID: str(uid),
                **({ANNOTATION_SHARED_CLASS: limits.shared_class} if limits.shared_class else {}),
                # Their person may read the namespace, and not the DevServerUser.
                **({ANNOTATION_TIME_ZONE: time_zone} if time_zone else {}),
                **({ANNOTATION_USER_LIMITS: json.dumps(lifecycle, sort_keys=True)} if lifecycle else {}),
            },
        },
    }


def _from_bastion() -> Json:
    return _allowed(SSH_POD_PORT, {"matchLabels": {_NAMESPACE_NAME: BASTION_NAMESPACE}})


def _to_agent(system_namespace: str) -> Json:
    """The operator and monitoring reach agents.

    Only who may change namespaces gives one LABEL_SCRAPE, and no person may. A user's namespace that carries it all
    the same stays a user's: their pods reach nobody's agent.
    """
    monitoring = {
        "matchLabels": {LABEL_SCRAPE: "true"},
        "matchExpressions": [{"key": LABEL_NAMESPACE_USER, "operator": "DoesNotExist"}],
    }
    return _allowed(AGENT_PORT, {"matchLabels": {_NAMESPACE_NAME: system_namespace}}, monitoring)


def _allowed(port: int, *namespaces: Json) -> Json:
    """A NetworkPolicy's spec: all pods take connections from these namespaces at one port."""
    return {
        "podSelector": {},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "from": [{"namespaceSelector": selector} for selector in namespaces],
                "ports": [{"port": port, "protocol": "TCP"}],
            }
        ],
    }


def _binding(user: DevServerUser, role: str, *accounts: tuple[str, str]) -> Json:
    """A RoleBinding of a ClusterRole to service accounts (name, namespace)."""
    body = {
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": space} for name, space in accounts],
    }
    return user_child(user, f"{_RBAC}/v1", "RoleBinding", role, body)


def _resource_quota(user: DevServerUser, limits: Limits) -> Json:
    storage = _storage(user, limits)
    of_homes = f"{limits.home_class}.{_SC}" if f"{limits.home_class}.{_SC}" in storage else _STORAGE
    quota = user_child(user, "v1", "ResourceQuota", USER_ROLE, {"spec": {"hard": _quota(user, limits) | storage}})
    if of_homes in storage:
        quota["metadata"]["annotations"] = {ANNOTATION_HOME_QUOTA: of_homes}
    return quota


def _quota(user: DevServerUser, limits: Limits) -> dict[str, str]:
    quota = user.spec.quota
    servers = limits.servers if quota.servers is None else quota.servers
    limited = {
        "requests.cpu": quota.cpu,
        "requests.memory": quota.memory,
        f"requests.{GPU}": quota.gpu,
        SERVER_COUNT: servers,
    }
    # Never a way in from outside the cluster that isn't the platform's own, and never so many objects that reading
    # them all, as the operator does, becomes a burden on everybody.
    closed = {
        "services.loadbalancers": "0",
        "services.nodeports": "0",
        "persistentvolumeclaims": str(MAX_CLAIMS),
        SNAPSHOT_COUNT: str(next(n for n in (quota.snapshots, limits.snapshots, MAX_SNAPSHOTS) if n is not None)),
        "secrets": str(_OTHER_SECRETS + 2 * (MAX_CLAIMS if servers is None else servers)),
    }
    return closed | {key: canonical(str(value)) for key, value in limited.items() if value is not None}


def _storage(user: DevServerUser, limits: Limits) -> dict[str, str]:
    """The quota of storage.

    `requests.storage` counts every claim. So where shared claims have a limit of their own, it is the sum of both, and
    the class of homes has the user's.
    """
    limit = limits.storage if user.spec.quota.storage is None else user.spec.quota.storage
    if limit is None:
        return {}
    if not limits.shared_class or limits.shared is None:
        return {_STORAGE: canonical(limit)}
    storage = {
        # In a unit that binary amounts are whole numbers of, so that their sum reads as they do.
        _STORAGE: canonical(f"{(parse_quantity(limit) + parse_quantity(limits.shared)) / 1024:f}Ki"),
        f"{limits.shared_class}.{_SC}": canonical(limits.shared),
    }
    return storage | ({f"{limits.home_class}.{_SC}": canonical(limit)} if limits.home_class else {})


def _container_limits() -> Json:
    # A quota on cpu or memory refuses a container that names no request, and one without a limit of disk could fill
    # its node's; these are for such containers only.
    return {
        "type": "Container",
        "default": {"cpu": "1", "memory": "1Gi", DISK: DEFAULT_LIMIT},
        "defaultRequest": {"cpu": "100m", "memory": "128Mi", DISK: DEFAULT_REQUEST},
    }


def _limit_range(limits: Limits) -> list[Json]:
    items = [_container_limits()]
    if limits.claim is not None:
        # Of claims that are made by hand as well.
        items.append({"type": "PersistentVolumeClaim", "max": {"storage": canonical(limits.claim)}})
    return items
