"""Admission policies on the platform's own accounts: operator, bastion, tokens."""

from __future__ import annotations

from typing import Any

from devservers.api.devserver import DevServerSpec
from devservers.api.lifecycle import Lifecycle
from devservers.api.policy import ACCOUNT, validating_policy
from devservers.api.user import UserSpec
from devservers_core.names import (
    BASTION_ACCOUNT,
    BASTION_NAMESPACE,
    GROUP,
    KUEUE,
    LABEL_NAMESPACE_CREATED_BY,
    NAMESPACE_PREFIX,
    OPERATOR,
    PERSON_ACCOUNT,
    PERSON_TOKEN_ROLE,
    QUEUES,
    SYSTEM_NAMESPACE,
    TENANT_ROLE,
    TOKEN_TTL_SECONDS,
    USER_ROLE,
    VERSION,
)

OPERATOR_POLICY = f"devservers-operator.{GROUP}"
BASTION_POLICY = f"devservers-bastion.{GROUP}"
TOKEN_POLICY = f"devservers-bastion-tokens.{GROUP}"
WISH_POLICY = f"devservers-operator-wishes.{GROUP}"
_WISHES = ("extend_until", "hold", "wish")
_KEYS = ("ssh_public_keys", "ssh_keys")
_IS_BASTION = f"request.userInfo.username == '{ACCOUNT}{BASTION_NAMESPACE}:{BASTION_ACCOUNT}'"
_THE_BASTION = {"name": "the-bastion", "expression": _IS_BASTION}
_BOUND = (
    (USER_ROLE, PERSON_ACCOUNT, "request.namespace"),
    (TENANT_ROLE, OPERATOR, f"'{SYSTEM_NAMESPACE}'"),
    (PERSON_TOKEN_ROLE, BASTION_ACCOUNT, f"'{BASTION_NAMESPACE}'"),
)
"""Role, account and (CEL) the account's namespace: what the operator binds in users' namespaces, and nothing else."""


def operator_policy() -> dict[str, Any]:
    """The policy on the operator: it writes only in users' namespaces, and these stay closed.

    RBAC can't express that. Each role goes to the one account that it is for. Without this policy `bind` and
    `rolebindings create` would let a stolen token bind the tenant role in kube-system, or a person's role to itself.
    """
    namespaced = ["serviceaccounts", "resourcequotas", "limitranges"]
    rules: list[dict[str, Any]] = [
        {"apiGroups": [""], "apiVersions": ["*"], "resources": ["namespaces", *namespaced]},
        {"apiGroups": ["networking.k8s.io"], "apiVersions": ["*"], "resources": ["networkpolicies"]},
        {"apiGroups": ["rbac.authorization.k8s.io"], "apiVersions": ["*"], "resources": ["rolebindings"]},
        {"apiGroups": [KUEUE], "apiVersions": ["*"], "resources": ["localqueues"]},
    ]
    made_by_us = f".metadata.labels[?'{LABEL_NAMESPACE_CREATED_BY}'].orValue('') == '{OPERATOR}'"
    about_namespace = "request.resource.resource == 'namespaces'"
    return validating_policy(
        OPERATOR_POLICY,
        rules=[{**rule, "operations": ["CREATE", "UPDATE", "DELETE"]} for rule in rules],
        only={
            "name": "the-operator",
            "expression": f"request.userInfo.username == 'system:serviceaccount:{SYSTEM_NAMESPACE}:{OPERATOR}'",
        },
        more={
            "validations": [
                {
                    "expression": (
                        f"{about_namespace} || (has(namespaceObject.metadata.labels) && namespaceObject{made_by_us})"
                    ),
                    "message": "the operator may write only in the namespaces that it created",
                    "reason": "Forbidden",
                },
                {
                    "expression": (
                        f"!({about_namespace}) || (request.name.startsWith('{NAMESPACE_PREFIX}') && "
                        f"(request.operation == 'CREATE' || (has(oldObject.metadata.labels) && oldObject{made_by_us})))"
                    ),
                    "message": f"the operator may create and change only its own namespaces {NAMESPACE_PREFIX}<user>",
                    "reason": "Forbidden",
                },
                {
                    "expression": (
                        f"!({about_namespace}) || request.operation == 'DELETE' || (has(object.metadata.labels) && "
                        f"object{made_by_us} && object.metadata.labels[?'pod-security.kubernetes.io/enforce']"
                        ".orValue('') == 'restricted')"
                    ),
                    "message": "a user's namespace stays under Pod Security restricted",
                    "reason": "Forbidden",
                },
                {
                    "expression": (
                        "request.resource.resource != 'localqueues' || request.operation == 'DELETE' || "
                        f"(object.metadata.name in {list(QUEUES)!r} && "
                        "object.spec.clusterQueue == object.metadata.name)"
                    ),
                    "message": (
                        f"the operator may create only the queues {' and '.join(QUEUES)}, each for the ClusterQueue of "
                        "its name"
                    ),
                    "reason": "Forbidden",
                },
                {
                    "expression": (
                        "request.resource.resource != 'rolebindings' || request.operation == 'DELETE' || "
                        + " || ".join(_binds(*binding) for binding in _BOUND)
                    ),
                    "message": "the operator binds each of its three roles to the one account that it is for",
                    "reason": "Forbidden",
                },
            ],
        },
    )


def wish_policy() -> dict[str, Any]:
    """The policy on the operator's patches of servers: it grants wishes, and changes nothing else.

    RBAC can't name fields. A stolen token could otherwise run anybody's server with another image.
    """
    spec = [str(field.alias) for name, field in DevServerSpec.model_fields.items() if name != "lifecycle"]
    lifecycle = [str(field.alias) for name, field in Lifecycle.model_fields.items() if name not in _WISHES]
    parts = [f"spec.?{field}" for field in spec] + [f"spec.?lifecycle.?{field}" for field in lifecycle]
    parts += [f"metadata.?{field}" for field in ("labels", "annotations", "finalizers", "ownerReferences")]
    return validating_policy(
        WISH_POLICY,
        rules=[
            {
                "apiGroups": [GROUP],
                "apiVersions": [VERSION],
                "operations": ["UPDATE"],
                "resources": ["devservers"],
            }
        ],
        only={
            "name": "the-operator",
            "expression": f"request.userInfo.username == '{ACCOUNT}{SYSTEM_NAMESPACE}:{OPERATOR}'",
        },
        more={
            "validations": [
                {
                    "expression": " && ".join(f"object.{part} == oldObject.{part}" for part in parts),
                    "message": "the operator may change only lifecycle.extendUntil, hold and wish of a DevServer",
                    "reason": "Forbidden",
                }
            ]
        },
    )


def _binds(role: str, account: str, namespace: str) -> str:
    """CEL: whether a RoleBinding binds ``role``, to nobody or to that one service account."""
    return (
        f"(object.roleRef.kind == 'ClusterRole' && object.roleRef.name == '{role}' && "
        "object.?subjects.orValue([]).all(each, each.kind == 'ServiceAccount' && "
        f"each.name == '{account}' && each.?namespace.orValue('') == {namespace}))"
    )


def token_policy() -> dict[str, Any]:
    """The policy on tokens: one that a program requests for a person lives for minutes.

    It holds for every service account: the bastion is the one that may request tokens, and RBAC alone says so.
    """
    in_place = f"request.name == '{PERSON_ACCOUNT}' && request.namespace.startsWith('{NAMESPACE_PREFIX}')"
    return validating_policy(
        TOKEN_POLICY,
        rules=[
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["serviceaccounts/token"],
            }
        ],
        only={
            "name": "a-program",
            "expression": f"{_IS_BASTION} || request.userInfo.username.startsWith('{ACCOUNT}') && {in_place}",
        },
        more={
            "validations": [
                {
                    "expression": f"object.spec.?expirationSeconds.orValue(3600) <= {TOKEN_TTL_SECONDS}",
                    "message": f"a person's token lives {TOKEN_TTL_SECONDS} seconds at most; ask for no longer one",
                    "reason": "Forbidden",
                }
            ]
        },
    )


def bastion_policy() -> dict[str, Any]:
    """The policy on the bastion: of a DevServerUser it may change the SSH keys only."""
    fields = [str(field.alias) for name, field in UserSpec.model_fields.items() if name not in _KEYS]
    parts = [f"spec.?{field}" for field in fields]
    parts += [f"metadata.?{field}" for field in ("labels", "annotations", "finalizers", "ownerReferences")]
    return validating_policy(
        BASTION_POLICY,
        rules=[
            {
                "apiGroups": [GROUP],
                "apiVersions": [VERSION],
                "operations": ["CREATE", "UPDATE", "DELETE"],
                "resources": ["devserverusers"],
            }
        ],
        only=_THE_BASTION,
        more={
            "validations": [
                {
                    "expression": "request.operation == 'UPDATE' && "
                    + " && ".join(f"object.{part} == oldObject.{part}" for part in parts),
                    "message": "the bastion may change only the SSH keys of a DevServerUser",
                    "reason": "Forbidden",
                }
            ]
        },
    )
