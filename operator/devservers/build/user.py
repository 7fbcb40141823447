"""A user's namespace is closed from its first moment, and none of its contents can be left behind by the
user.

Namespaced children are owned by the DevServerUser and are collected with it; the Namespace is not owned
by anybody, because deleting a user must never cascade to homes.
"""

from __future__ import annotations

from devservers.api.meta import (
    ANNOTATION_ALLOWED_FLAVORS,
    ANNOTATION_USER_OBJECT,
    ANNOTATION_USER_UID,
    BASTION_ACCOUNT,
    BASTION_NAMESPACE,
    LABEL_MANAGED_BY,
    LABEL_NAMESPACE_CREATED_BY,
    LABEL_NAMESPACE_USER,
    LABEL_USER,
    OPERATOR,
    PERSON_ACCOUNT,
    PERSON_TOKEN_ROLE,
    SSH_POD_PORT,
    SYSTEM_NAMESPACE,
    TENANT_ROLE,
    USER_ROLE,
)
from devservers.api.quantity import canonical
from devservers.api.queueing import KUEUE_API_VERSION, QUEUES
from devservers.api.user import DevServerUser

from .disk import DEFAULT_LIMIT, DEFAULT_REQUEST, DISK
from .egress import EGRESS, Egress, policy
from .manifest import Obj, owner_reference
from .pod import service_account
from .registry import index

MOST_CLAIMS = 100
"""How many volume claims a person may have. Servers are not counted by default: Kubernetes refuses every object of a
counted custom kind until its quota controller has found the kind, up to half a minute after an installation."""
MOST_SECRETS = 4 * MOST_CLAIMS
"""Host keys of their servers and homes, and logins to registries."""
DENY_INGRESS = "default-deny-ingress"
ALLOW_BASTION = "allow-ssh-from-bastion"

_POD_SECURITY = "restricted"
_RBAC = "rbac.authorization.k8s.io"


def manifests(
    user: DevServerUser,
    uid: int,
    system_namespace: str = SYSTEM_NAMESPACE,
    *,
    queueing: bool = False,
    egress: Egress = Egress(),  # noqa: B008 - frozen
) -> list[Obj]:
    """What a user gets, in the order to apply: the Namespace first, then what is in it.

    `uid` is recorded on the Namespace, so that it outlives the user as long as the homes it owns. The
    ClusterRoles named by the bindings are shipped with the operator, not made by it. With `queueing` there is a
    LocalQueue for each of the platform's queues, called as its ClusterQueue; `egress` is what is around the cluster.
    """
    return [
        _namespace(user, uid),
        _child(user, "v1", "ServiceAccount", service_account(user.name), {"automountServiceAccountToken": False}),
        # Not the account of pods, which has no role: what a person may do at the API is not what their servers may.
        _child(user, "v1", "ServiceAccount", PERSON_ACCOUNT, {"automountServiceAccountToken": False}),
        _binding(user, TENANT_ROLE, (OPERATOR, system_namespace)),
        # A token that is out when a person is suspended is worth nothing from then on.
        _binding(user, USER_ROLE, *(() if user.spec.suspended else ((PERSON_ACCOUNT, user.namespace),))),
        _binding(user, PERSON_TOKEN_ROLE, (BASTION_ACCOUNT, BASTION_NAMESPACE)),
        _child(user, "v1", "ResourceQuota", USER_ROLE, {"spec": {"hard": _quota(user)}}),
        _child(user, "v1", "LimitRange", USER_ROLE, {"spec": {"limits": [_container_limits()]}}),
        _child(
            user,
            "networking.k8s.io/v1",
            "NetworkPolicy",
            DENY_INGRESS,
            {"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}},
        ),
        _child(user, "networking.k8s.io/v1", "NetworkPolicy", ALLOW_BASTION, {"spec": _from_bastion()}),
        _child(user, "networking.k8s.io/v1", "NetworkPolicy", EGRESS, {"spec": policy(egress)}),
        index(user),
        *(
            _child(user, KUEUE_API_VERSION, "LocalQueue", queue, {"spec": {"clusterQueue": queue}})
            for queue in (QUEUES if queueing else ())
        ),
    ]


def _namespace(user: DevServerUser, uid: int) -> Obj:
    security = {
        f"pod-security.kubernetes.io/{mode}{suffix}": value
        for mode in ("enforce", "warn", "audit")
        for suffix, value in (("", _POD_SECURITY), ("-version", "latest"))
    }
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
                ANNOTATION_USER_UID: str(uid),
            },
        },
    }


def _child(user: DevServerUser, api_version: str, kind: str, name: str, body: Obj) -> Obj:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": user.namespace,
            "labels": {LABEL_MANAGED_BY: OPERATOR, LABEL_USER: user.name},
            "ownerReferences": [owner_reference(user)],
        },
        **body,
    }


def _from_bastion() -> Obj:
    return {
        "podSelector": {},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": BASTION_NAMESPACE}}}],
                "ports": [{"port": SSH_POD_PORT, "protocol": "TCP"}],
            }
        ],
    }


def _binding(user: DevServerUser, role: str, *accounts: tuple[str, str]) -> Obj:
    """A RoleBinding of a ClusterRole to service accounts (name, namespace)."""
    body = {
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": space} for name, space in accounts],
    }
    return _child(user, f"{_RBAC}/v1", "RoleBinding", role, body)


def _quota(user: DevServerUser) -> dict[str, str]:
    quota = user.spec.quota
    wanted = {
        "requests.cpu": quota.cpu,
        "requests.memory": quota.memory,
        "requests.nvidia.com/gpu": quota.gpu,
        "count/devservers.devservers.io": quota.servers,
    }
    # Never a way in from outside the cluster that isn't the platform's own, and never so many objects that reading
    # them all, as the operator does, becomes a burden on everybody.
    closed = {
        "services.loadbalancers": "0",
        "services.nodeports": "0",
        "persistentvolumeclaims": str(MOST_CLAIMS),
        "secrets": str(MOST_SECRETS),
    }
    return closed | {key: canonical(str(value)) for key, value in wanted.items() if value is not None}


def _container_limits() -> Obj:
    # A quota on cpu or memory refuses a container that names no request, and one without a limit of disk could fill
    # its node's; these are for such containers only.
    return {
        "type": "Container",
        "default": {"cpu": "1", "memory": "1Gi", DISK: DEFAULT_LIMIT},
        "defaultRequest": {"cpu": "100m", "memory": "128Mi", DISK: DEFAULT_REQUEST},
    }
