"""Invariant: rules between objects hold in the API server itself, so they hold while the operator is down.

What one object alone can say is CEL in its CRD. Here is what needs its namespace: a ValidatingAdmissionPolicy
reads the user's name and allowed flavors from the label and the annotation that the operator keeps there.
Rules look at what a request changes, never at what was already so: taking a flavor away from a user must not
keep their running servers from being stopped.
"""

from __future__ import annotations

from typing import Any

from devservers.api.meta import (
    ANNOTATION_ALLOWED_FLAVORS,
    ANNOTATION_RESTARTED_AT,
    ANNOTATION_STARTED_AT,
    ANY_FLAVOR,
    BASTION_ACCOUNT,
    BASTION_NAMESPACE,
    GROUP,
    LABEL_NAMESPACE_CREATED_BY,
    LABEL_USER,
    NAMESPACE_PREFIX,
    OPERATOR,
    REGISTRY_SECRET_PREFIX,
    SECRET_TYPE_REGISTRY,
    SYSTEM_NAMESPACE,
    VERSION,
)
from devservers.api.queueing import KUEUE, QUEUES
from devservers.api.user import UserSpec

_KEYS = ("ssh_public_keys", "ssh_keys")

POLICY = f"devservers.{GROUP}"
OPERATOR_POLICY = f"devservers-operator.{GROUP}"
BASTION_POLICY = f"devservers-bastion.{GROUP}"
TOKEN_POLICY = f"devservers-bastion-tokens.{GROUP}"
SECRET_POLICY = f"devservers-registries.{GROUP}"
MOST_SECRET_BYTES = 16384
"""Of a login to a registry; a cloud's longest tokens have 4 KiB."""
TOKEN_SECONDS = 600
"""The least that the API server gives (TokenRequest)."""
_THE_BASTION = {
    "name": "the-bastion",
    "expression": f"request.userInfo.username == 'system:serviceaccount:{BASTION_NAMESPACE}:{BASTION_ACCOUNT}'",
}

_CREATED = "request.operation == 'CREATE'"
_OWNER = "(has(object.spec.owner) ? object.spec.owner : '')"
_OLD_OWNER = "(has(oldObject.spec.owner) ? oldObject.spec.owner : '')"


def _changed(annotation: str) -> str:
    """CEL: whether a request changes an annotation."""
    new, old = (f"{each}.metadata.?annotations[?'{annotation}'].orValue('')" for each in ("object", "oldObject"))
    return f"{new} != {old}"


def manifests() -> list[dict[str, Any]]:
    """The policies about DevServers, the operator and the bastion, and the bindings that put them in force."""
    policies = (
        (POLICY, _policy()),
        (OPERATOR_POLICY, _operator_policy()),
        (BASTION_POLICY, _bastion_policy()),
        (TOKEN_POLICY, _token_policy()),
        (SECRET_POLICY, _secret_policy()),
    )
    return [each for name, policy in policies for each in (policy, _binding(name))]


def _policy() -> dict[str, Any]:
    return _guard(
        POLICY,
        rules=[
            {
                "apiGroups": [GROUP],
                "apiVersions": [VERSION],
                "operations": ["CREATE", "UPDATE"],
                "resources": ["devservers"],
            }
        ],
        # What is being deleted only loses its finalizers; nothing may stand in the way of that.
        only={"name": "not-deleted", "expression": "!has(object.metadata.deletionTimestamp)"},
        more={
            "variables": [
                {
                    "name": "ours",
                    "expression": (
                        f"has(namespaceObject.metadata.labels) && '{LABEL_USER}' in namespaceObject.metadata.labels"
                    ),
                },
                {
                    "name": "allowed",
                    "expression": (
                        "has(namespaceObject.metadata.annotations) && "
                        f"'{ANNOTATION_ALLOWED_FLAVORS}' in namespaceObject.metadata.annotations"
                        f" ? namespaceObject.metadata.annotations['{ANNOTATION_ALLOWED_FLAVORS}'] : ''"
                    ),
                },
                {
                    "name": "flavors",
                    "expression": "variables.allowed.split(',').map(each, each.trim())",
                },
                {
                    # Another flavor, a start or restart, more time: the moments when resources are asked for.
                    "name": "asks",
                    "expression": (
                        f"{_CREATED} || object.spec.flavor != oldObject.spec.flavor || "
                        "(object.spec.running && !oldObject.spec.running) || "
                        f"{_changed(ANNOTATION_STARTED_AT)} || {_changed(ANNOTATION_RESTARTED_AT)} || "
                        "(object.spec.running && object.spec.?lifecycle != oldObject.spec.?lifecycle)"
                    ),
                },
            ],
            "validations": [
                {
                    "expression": f"!({_CREATED}) || variables.ours",
                    "messageExpression": (
                        "'namespace ' + request.namespace + ' is not a user\\'s; create the server in "
                        f"{NAMESPACE_PREFIX}<user>'"
                    ),
                    "message": f"not a user's namespace; create the server in {NAMESPACE_PREFIX}<user>",
                    "reason": "Invalid",
                },
                {
                    "expression": (
                        f"{_OWNER} == '' || (!({_CREATED}) && {_OWNER} == {_OLD_OWNER}) || "
                        f"request.namespace == '{NAMESPACE_PREFIX}' + object.spec.owner"
                    ),
                    "messageExpression": (
                        "'owner ' + object.spec.owner + ' has no part in ' + request.namespace + "
                        f"'; create it in {NAMESPACE_PREFIX}' + object.spec.owner + ' or leave owner out'"
                    ),
                    "message": "owner and namespace differ; leave owner out",
                    "reason": "Invalid",
                },
                {
                    "expression": (
                        "!variables.asks || !variables.ours || "
                        f"'{ANY_FLAVOR}' in variables.flavors || object.spec.flavor in variables.flavors"
                    ),
                    "messageExpression": (
                        "'flavor ' + object.spec.flavor + ' is not allowed here; ' + "
                        "(variables.allowed == '' ? 'ask your administrator for one' : "
                        "'choose one of ' + variables.flavors.join(', '))"
                    ),
                    "message": "flavor is not allowed here; choose another",
                    "reason": "Forbidden",
                },
            ],
        },
    )


def _operator_policy() -> dict[str, Any]:
    """What RBAC can't say of the operator's rights: users' namespaces only, and those stay closed.

    Without it `bind` and `rolebindings create` would let a stolen token bind the tenant role in kube-system.
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
    return _guard(
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
                    "message": "the operator has no business outside of the namespaces it made",
                    "reason": "Forbidden",
                },
                {
                    "expression": (
                        f"!({about_namespace}) || (request.name.startsWith('{NAMESPACE_PREFIX}') && "
                        f"(request.operation == 'CREATE' || (has(oldObject.metadata.labels) && oldObject{made_by_us})))"
                    ),
                    "message": f"the operator makes and changes namespaces {NAMESPACE_PREFIX}<user> only, and its own",
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
                    "message": f"the operator makes the queues {' and '.join(QUEUES)} only, each of its own name",
                    "reason": "Forbidden",
                },
            ],
        },
    )


def _token_policy() -> dict[str, Any]:
    """A token that the bastion takes for a person lives minutes, so one that is stolen does too."""
    return _guard(
        TOKEN_POLICY,
        rules=[
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["serviceaccounts/token"],
            }
        ],
        only=_THE_BASTION,
        more={
            "validations": [
                {
                    "expression": f"object.spec.?expirationSeconds.orValue(3600) <= {TOKEN_SECONDS}",
                    "message": f"the bastion asks for tokens of at most {TOKEN_SECONDS} seconds",
                    "reason": "Forbidden",
                }
            ]
        },
    )


def _bastion_policy() -> dict[str, Any]:
    """Of a DevServerUser the bastion may change the keys, for their owner's sake, and nothing that is a right."""
    fields = [str(field.alias) for name, field in UserSpec.model_fields.items() if name not in _KEYS]
    parts = [f"spec.?{field}" for field in fields]
    parts += [f"metadata.?{field}" for field in ("labels", "annotations", "finalizers", "ownerReferences")]
    return _guard(
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
                    "message": "the bastion changes people's SSH keys and nothing else of them",
                    "reason": "Forbidden",
                }
            ]
        },
    )


def _secret_policy() -> dict[str, Any]:
    """Of Secrets a person may write logins to image registries and no others: no host key, no token of an account.

    Whoever may read the Secrets of a namespace, as the operator and administrators may, is no such person.
    """
    owner = "object.metadata.?ownerReferences.orValue([])"
    validations = [
        (
            f"object.type == '{SECRET_TYPE_REGISTRY}' && object.metadata.name.startsWith('{REGISTRY_SECRET_PREFIX}')",
            "people keep logins to image registries only; use `devctl registry login`",
        ),
        (
            f"object.?data.orValue({{}}).all(each, size(object.data[each]) <= {MOST_SECRET_BYTES})",
            f"a login to a registry has at most {MOST_SECRET_BYTES} bytes; use `devctl registry login`",
        ),
        # What its person leaves behind goes with them, and nothing of it holds up the end of the namespace.
        (
            f"size({owner}) == 1 && {owner}.all(each, each.kind == 'DevServerUser' && "
            f"each.name == namespaceObject.metadata.labels['{LABEL_USER}']) && "
            "size(object.metadata.?finalizers.orValue([])) == 0",
            "a login belongs to its DevServerUser and has no finalizer; use `devctl registry login`",
        ),
    ]
    return _guard(
        SECRET_POLICY,
        rules=[
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["secrets"]}
        ],
        only={
            "name": "may-not-read-secrets",
            "expression": (
                "!authorizer.group('').resource('secrets').namespace(request.namespace).check('get').allowed()"
            ),
        },
        more={
            "validations": [
                {"expression": expression, "message": message, "reason": "Forbidden"}
                for expression, message in validations
            ]
        },
        namespaces={"matchExpressions": [{"key": LABEL_USER, "operator": "Exists"}]},
    )


def _guard(
    name: str,
    rules: list[dict[str, Any]],
    only: dict[str, str],
    more: dict[str, list[dict[str, str]]],
    namespaces: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A policy that refuses when it can't be evaluated.

    rules: which requests it is about; only: the condition they meet besides; more: its validations, and variables;
    namespaces: a selector of those it holds in, all of them without one.
    """
    about: dict[str, Any] = {"resourceRules": rules}
    if namespaces is not None:
        about["namespaceSelector"] = namespaces
    spec = {"failurePolicy": "Fail", "matchConstraints": about, "matchConditions": [only], **more}
    return _manifest("ValidatingAdmissionPolicy", name, spec)


def _binding(policy: str) -> dict[str, Any]:
    return _manifest("ValidatingAdmissionPolicyBinding", policy, {"policyName": policy, "validationActions": ["Deny"]})


def _manifest(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }
