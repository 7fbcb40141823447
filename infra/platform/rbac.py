"""Who may do what: every role of the platform, as plain manifests.

Invariant: the operator holds nothing it doesn't use. It reads its kinds everywhere, writes servers'
children only in user namespaces (where the binding of devservers-operator-tenant puts it), reads Secrets
elsewhere only by the names of those it made, and hands out exactly three ClusterRoles it doesn't hold itself (verb
bind by name), so it can't give itself or anybody more. The tests run the operator with these very manifests.
"""

from __future__ import annotations

from collections.abc import Sequence

from devservers_core.client.paths import SNAPSHOT_GROUP
from devservers_core.names import (
    AGENT_KEY_SECRET,
    BASTION,
    BASTION_ACCOUNT,
    BASTION_HOST_KEY,
    BASTION_INFO,
    BASTION_NAMESPACE,
    GROUP,
    HOST_CA_SECRET,
    KUEUE,
    KUEUE_VISIBILITY,
    OPERATOR,
    PERSON_ACCOUNT,
    PERSON_TOKEN_ROLE,
    REGISTRIES,
    SETUP,
    SYSTEM_NAMESPACE,
    TENANT_ROLE,
    USER_CA_SECRET,
    USER_ROLE,
)
from devservers_core.types import Json

FLAVOR_READER = "devservers-flavor-reader"

_RBAC = "rbac.authorization.k8s.io"
_READ = ("get", "list", "watch")


def operator_role() -> Json:
    """ClusterRole of the operator: reads everywhere, makes users' namespaces."""
    return _cluster_role(
        OPERATOR,
        _rule(GROUP, ["devservers"], [*_READ, "delete"]),  # delete: lifecycle.onExpiry
        _rule(GROUP, ["devserverflavors", "devserverusers"], _READ),
        _rule(GROUP, ["devservers/status", "devserverusers/status"], ["patch"]),
        # Where OwnerReferencesPermissionEnforcement is on, blockOwnerDeletion needs these.
        _rule(GROUP, ["devservers/finalizers", "devserverusers/finalizers"], ["update"]),
        _rule("", ["namespaces"], [*_READ, "create", "patch", "delete"]),
        _rule("", ["serviceaccounts", "resourcequotas", "limitranges"], [*_READ, "create", "patch"]),
        _rule("networking.k8s.io", ["networkpolicies"], [*_READ, "create", "patch"]),
        _rule(_RBAC, ["rolebindings"], [*_READ, "create", "patch", "delete"]),
        _rule(_RBAC, ["clusterroles"], ["bind"], names=[USER_ROLE, TENANT_ROLE, PERSON_TOKEN_ROLE]),
        _rule("", ["persistentvolumeclaims", "pods", "services", "configmaps"], _READ),
        _rule("apps", ["deployments", "statefulsets"], _READ),
        # Servers of a deleted user are stopped; the tenant binding is gone with the user by then.
        _rule("apps", ["deployments/scale", "statefulsets/scale"], ["patch"]),
        # Where Kueue isn't, these rules are about nothing. Workloads are Kueue's own to make and change.
        _rule(KUEUE, ["localqueues"], [*_READ, "create", "patch"]),
        _rule(KUEUE, ["workloads", "clusterqueues"], _READ),
        _rule("events.k8s.io", ["events"], ["create"]),
    )


def tenant_role() -> Json:
    """ClusterRole of the operator in a user's namespace: servers' children, host keys, wishes."""
    return _cluster_role(
        TENANT_ROLE,
        # What people ask for inside a server; admission holds it to those fields of spec.lifecycle.
        _rule(GROUP, ["devservers"], ["patch"]),
        _rule("apps", ["deployments"], ["create", "patch"]),
        # delete: a distributed server starts anew with a new StatefulSet, as Kueue lets no other size or shape in.
        _rule("apps", ["statefulsets"], ["create", "patch", "delete"]),
        _rule("", ["persistentvolumeclaims"], ["create", "patch"]),
        _rule("", ["services", "configmaps"], ["create", "patch", "delete"]),
        # Why a pod isn't made or a volume isn't mounted: read when a server hangs there, never watched.
        _rule("", ["events"], ["list"]),
        # update: a host certificate is renewed in place, so that a crash between two writes loses no key.
        # list, watch: of metadata, for the index of the person's secrets. RBAC doesn't tell metadata from values.
        _rule("", ["secrets"], [*_READ, "create", "update", "delete"]),
    )


def user_role() -> Json:
    """ClusterRole of a person in their own namespace: what devctl needs."""
    return _cluster_role(
        USER_ROLE,
        _rule(GROUP, ["devservers"], [*_READ, "create", "update", "patch", "delete"]),
        _rule("", ["pods"], _READ),
        _rule("", ["pods/log"], ["get"]),
        _rule("", ["pods/exec", "pods/portforward"], ["get", "create"]),
        # patch: admission holds it to growth.
        _rule("", ["persistentvolumeclaims"], [*_READ, "create", "patch", "delete"]),
        # Where VolumeSnapshots aren't, this rule is about nothing.
        _rule(SNAPSHOT_GROUP, ["volumesnapshots"], [*_READ, "create", "delete"]),
        _rule("", ["events"], _READ),
        _rule("events.k8s.io", ["events"], _READ),
        _rule("", ["services", "configmaps", "resourcequotas", "limitranges"], ["get", "list"]),
        # Logins to image registries and secrets for servers: admission holds them to those, and nobody reads one back.
        # `patch` would: its answer is the object.
        _rule("", ["secrets"], ["create", "update", "delete"]),
        _rule("", ["configmaps"], ["patch"], names=[REGISTRIES, SETUP]),
        _rule("", ["namespaces"], ["get"]),
        # Which place one's servers have in the queue; who is ahead is told as a number only.
        _rule(KUEUE, ["localqueues", "workloads"], _READ),
        _rule(KUEUE_VISIBILITY, ["localqueues/pendingworkloads"], ["get"]),
    )


def person_token_role() -> Json:
    """ClusterRole of the bastion in a user's namespace: a token for their account.

    A Role for each namespace could name user-<user>, but to write one the operator would have to hold the right to
    make tokens itself, or `escalate`. This one it only binds, and it is never bound for the whole cluster.
    """
    return _cluster_role(PERSON_TOKEN_ROLE, _rule("", ["serviceaccounts/token"], ["create"], names=[PERSON_ACCOUNT]))


def bastion_role() -> Json:
    """ClusterRole of the bastion: reads users and servers, changes users' keys.

    `patch` is on whole objects, as RBAC has it; the policy devservers-bastion.devservers.io lets through keys only. A
    bastion that is taken over could let people in anyway: it holds the user CA.
    """
    return _cluster_role(
        BASTION, _rule(GROUP, ["devserverusers"], [*_READ, "patch"]), _rule(GROUP, ["devservers"], _READ)
    )


def flavor_reader_role() -> Json:
    """ClusterRole of every authenticated user: reads flavors, free quota, storage classes.

    A ClusterQueue has quotas and sums over all users, and nothing of anybody's own. A storage class says whether its
    volumes can grow, a snapshot class which volumes it is for, and a volume in which zone it lies.
    """
    return _cluster_role(
        FLAVOR_READER,
        _rule(GROUP, ["devserverflavors"], _READ),
        _rule(KUEUE, ["clusterqueues"], ["get", "list"]),
        _rule("storage.k8s.io", ["storageclasses"], ["get", "list"]),
        # Named by a claim's uid, so only who reads the claim can ask for one: it says in which zone the volume lies.
        _rule("", ["persistentvolumes"], ["get"]),
        _rule(SNAPSHOT_GROUP, ["volumesnapshotclasses"], ["get", "list"]),
    )


def system_role(namespace: str = SYSTEM_NAMESPACE, pull_secrets: Sequence[str] = ()) -> Json:
    """Role of the operator in its own namespace: Lease, uids, keys, registry logins.

    RBAC can't restrict `create` by name.
    """
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "Role",
        "metadata": _metadata(OPERATOR, namespace),
        "rules": [
            _rule("coordination.k8s.io", ["leases"], ["create"]),
            _rule("coordination.k8s.io", ["leases"], ["get", "update"], names=[OPERATOR]),
            _rule("", ["configmaps", "secrets"], ["create"]),
            _rule("", ["configmaps"], ["get", "update"], names=["user-uids"]),
            _rule("", ["secrets"], ["get"], names=[USER_CA_SECRET, HOST_CA_SECRET, AGENT_KEY_SECRET, *pull_secrets]),
        ],
    }


def bastion_keys_role() -> Json:
    """Role of the operator in the bastion's namespace: host key and public facts."""
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "Role",
        "metadata": _metadata(OPERATOR, BASTION_NAMESPACE),
        "rules": [
            _rule("", ["configmaps", "secrets"], ["create"]),
            _rule("", ["secrets"], ["get", "update"], names=[BASTION_HOST_KEY]),
            _rule("", ["configmaps"], ["get", "update"], names=[BASTION_INFO]),
        ],
    }


def bastion_info_role() -> Json:
    """Role of everybody who is logged in: who vouches for host keys."""
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "Role",
        "metadata": _metadata(BASTION_INFO, BASTION_NAMESPACE),
        "rules": [_rule("", ["configmaps"], ["get"], names=[BASTION_INFO])],
    }


def bastion_system_role(namespace: str = SYSTEM_NAMESPACE) -> Json:
    """Role of the bastion in the operator's namespace: the user CA's Secret, by name."""
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "Role",
        "metadata": _metadata(BASTION, namespace),
        "rules": [_rule("", ["secrets"], ["get"], names=[USER_CA_SECRET])],
    }


def cluster_roles(bastion: bool = True) -> list[Json]:
    """All ClusterRoles.

    The operator binds the one for tokens in any case, without a bastion to an account that doesn't exist.
    """
    found = [operator_role(), tenant_role(), user_role(), flavor_reader_role(), person_token_role()]
    return [*found, bastion_role()] if bastion else found


def bindings(namespace: str = SYSTEM_NAMESPACE, bastion: bool = True) -> list[Json]:
    """All bindings but the three RoleBindings per user, which the operator makes."""
    account = {"kind": "ServiceAccount", "name": OPERATOR, "namespace": namespace}
    everybody = {"apiGroup": _RBAC, "kind": "Group", "name": "system:authenticated"}
    found = [
        _binding("ClusterRoleBinding", OPERATOR, None, "ClusterRole", OPERATOR, account),
        _binding("ClusterRoleBinding", FLAVOR_READER, None, "ClusterRole", FLAVOR_READER, everybody),
        _binding("RoleBinding", OPERATOR, namespace, "Role", OPERATOR, account),
    ]
    if bastion:
        pods = {"kind": "ServiceAccount", "name": BASTION_ACCOUNT, "namespace": BASTION_NAMESPACE}
        found += [
            _binding("ClusterRoleBinding", BASTION, None, "ClusterRole", BASTION, pods),
            _binding("RoleBinding", BASTION, namespace, "Role", BASTION, pods),
            _binding("RoleBinding", OPERATOR, BASTION_NAMESPACE, "Role", OPERATOR, account),
            _binding("RoleBinding", BASTION_INFO, BASTION_NAMESPACE, "Role", BASTION_INFO, everybody),
        ]
    return found


def manifests(namespace: str = SYSTEM_NAMESPACE, bastion: bool = True, pull_secrets: Sequence[str] = ()) -> list[Json]:
    """All roles and bindings, in the order to apply.

    With ``bastion`` its namespace must exist.
    """
    roles = [bastion_system_role(namespace), bastion_keys_role(), bastion_info_role()] if bastion else []
    return [*cluster_roles(bastion), system_role(namespace, pull_secrets), *roles, *bindings(namespace, bastion)]


def _rule(group: str, resources: Sequence[str], verbs: Sequence[str], names: Sequence[str] | None = None) -> Json:
    rule: Json = {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}
    if names is not None:
        rule["resourceNames"] = list(names)
    return rule


def _metadata(name: str, namespace: str | None = None) -> Json:
    # Not managed-by the operator: these are the platform's, and no reconcile may touch them.
    return {
        "name": name,
        **({"namespace": namespace} if namespace else {}),
        "labels": {"app.kubernetes.io/part-of": "devservers"},
    }


def _cluster_role(name: str, *rules: Json) -> Json:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": _metadata(name),
        "rules": list(rules),
    }


def _binding(kind: str, name: str, namespace: str | None, role_kind: str, role: str, subject: Json) -> Json:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": kind,
        "metadata": _metadata(name, namespace),
        "roleRef": {"apiGroup": _RBAC, "kind": role_kind, "name": role},
        "subjects": [subject],
    }
