"""Invariant: rules between objects hold in the API server itself, so they hold while the operator is down.

What one object alone can say is CEL in its CRD. Here is what needs its namespace: a ValidatingAdmissionPolicy
reads the user's name and allowed flavors from the label and the annotation that the operator keeps there.
Rules look at what a request changes, never at what was already so: taking a flavor away from a user must not
keep their running servers from being stopped.
"""

from __future__ import annotations

from typing import Any

from devservers.api import registries
from devservers.api.meta import (
    ANNOTATION_ALLOWED_FLAVORS,
    ANNOTATION_ALLOWED_REGISTRIES,
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
    PERSON_ACCOUNT,
    PERSON_TOKEN_ROLE,
    REGISTRIES,
    REGISTRY_SECRET_PREFIX,
    SECRET_TYPE_REGISTRY,
    SYSTEM_NAMESPACE,
    TENANT_ROLE,
    USER_ROLE,
    VERSION,
)
from devservers.api.queueing import KUEUE, QUEUES
from devservers.api.user import UserSpec

_KEYS = ("ssh_public_keys", "ssh_keys")

POLICY = f"devservers.{GROUP}"
CLAIM_POLICY = f"devservers-claims.{GROUP}"
OPERATOR_POLICY = f"devservers-operator.{GROUP}"
BASTION_POLICY = f"devservers-bastion.{GROUP}"
TOKEN_POLICY = f"devservers-bastion-tokens.{GROUP}"
SECRET_POLICY = f"devservers-registries.{GROUP}"
NOTE_POLICY = f"devservers-registry-notes.{GROUP}"
MOST_SECRET_BYTES = 16384
"""Of a login to a registry; a cloud's longest tokens have 4 KiB."""
MOST_LOGINS = 64
"""How many registries a person is logged in to."""
MOST_NOTE_CHARACTERS = 1024
"""Of what is noted about a login: registry, user name and time."""
_MOST_LABELS = 8
MOST_METADATA = 16384
"""Characters of what a person writes beside an object's content: labels, annotations, who manages which field."""
_DEEPEST = 5
"""How deep a tree of managed fields goes: f:metadata, f:ownerReferences, k:{...}, and one or two below."""
TOKEN_SECONDS = 600
"""The least that the API server gives (TokenRequest)."""
_ACCOUNT = "system:serviceaccount:"
_IS_BASTION = f"request.userInfo.username == '{_ACCOUNT}{BASTION_NAMESPACE}:{BASTION_ACCOUNT}'"
_THE_BASTION = {"name": "the-bastion", "expression": _IS_BASTION}
# Kubernetes' own components, controllers of the cluster and whoever is above all rules anyway.
_A_CONTROLLER = (
    "'system:masters' in request.userInfo.?groups.orValue([]) || request.userInfo.username.startsWith('system:') && "
    f"!request.userInfo.username.startsWith('{_ACCOUNT}{NAMESPACE_PREFIX}')"
)
_FINALIZERS = ("foregroundDeletion", "orphan")
"""Of Kubernetes' garbage collector, which takes them off again."""
_CLAIM_FINALIZERS = (*_FINALIZERS, "kubernetes.io/pvc-protection")

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
        (CLAIM_POLICY, _claim_policy()),
        (OPERATOR_POLICY, _operator_policy()),
        (BASTION_POLICY, _bastion_policy()),
        (TOKEN_POLICY, _token_policy()),
        (SECRET_POLICY, _secret_policy()),
        (NOTE_POLICY, _note_policy()),
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
                    # Another flavor, and whatever starts a server, starts it anew or gives it more time: any change of
                    # one that is to run may.
                    "name": "asks",
                    "expression": (
                        f"{_CREATED} || object.spec.flavor != oldObject.spec.flavor || "
                        f"{_changed(ANNOTATION_STARTED_AT)} || {_changed(ANNOTATION_RESTARTED_AT)} || "
                        "(object.spec.running && object.spec != oldObject.spec)"
                    ),
                },
                *registries.variables(ANNOTATION_ALLOWED_REGISTRIES),
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
                {
                    "expression": (
                        "!variables.ours || !(variables.asks || object.spec.?image != oldObject.spec.?image) || "
                        f"{registries.allowed()}"
                    ),
                    "messageExpression": registries.refusal(),
                    "message": "the image's registry is not allowed here; choose another",
                    "reason": "Forbidden",
                },
                _no_new_finalizers(_FINALIZERS),
            ],
        },
    )


def _claim_policy() -> dict[str, Any]:
    """A volume claim in a user's namespace has no finalizer that nobody takes off: it would hold the namespace.

    And a person's new one is small.
    """
    return _guard(
        CLAIM_POLICY,
        rules=[
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE", "UPDATE"],
                "resources": ["persistentvolumeclaims"],
            }
        ],
        only={"name": "not-deleted", "expression": "!has(object.metadata.deletionTimestamp)"},
        more={"validations": [_no_new_finalizers(_CLAIM_FINALIZERS), _small_metadata(f"!({_CREATED}) || ")]},
        namespaces={"matchExpressions": [{"key": LABEL_USER, "operator": "Exists"}]},
    )


def _no_new_finalizers(known: tuple[str, ...]) -> dict[str, str]:
    """The validation that people add no finalizers but ``known``."""
    before = "(oldObject == null ? [] : oldObject.metadata.?finalizers.orValue([]))"
    return {
        "expression": (
            f"{_A_CONTROLLER} || object.metadata.?finalizers.orValue([]).all(each, "
            f"each in {list(known)!r} || each in {before})"
        ),
        "message": "finalizers are the platform's, since they can keep a namespace for ever; leave them out",
        "reason": "Forbidden",
    }


def _small_metadata(unless: str = "") -> dict[str, str]:
    """The validation that people fill no object's metadata: the API server takes 1 MiB and more of it.

    It also takes managedFields from whoever sends them, of fields that the object doesn't have.
    """
    managed = _characters("dyn(each).?fieldsV1.orValue({})", _DEEPEST)
    parts = [f"object.metadata.?managedFields.orValue([]).map(each, 256 + {managed}).sum()"]
    for field in ("labels", "annotations"):
        entries = f"object.metadata.?{field}.orValue({{}})"
        parts.append(f"{entries}.map(each, size(each) + size(object.metadata.{field}[each])).sum()")
    return {
        "expression": f"{_A_CONTROLLER} || {unless}{' + '.join(parts)} <= {MOST_METADATA}",
        "message": f"labels, annotations and managed fields are more than {MOST_METADATA // 1024} KiB; make them fewer",
        "reason": "Forbidden",
    }


def _characters(tree: str, deep: int) -> str:
    """CEL: how many characters the names in a tree have; a tree that goes deeper is too much."""
    if deep == 0:
        return f"(size({tree}) == 0 ? 0 : {MOST_METADATA})"
    name = f"at{deep}"
    return f"{tree}.map({name}, size({name}) + {_characters(f'{tree}[{name}]', deep - 1)}).sum()"


def _operator_policy() -> dict[str, Any]:
    """What RBAC can't say of the operator's rights: users' namespaces only, and those stay closed.

    And each role goes to the one account that it is for.
    Without it `bind` and `rolebindings create` would let a stolen token bind the tenant role in kube-system, or a
    person's role to itself.
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
                {
                    "expression": (
                        "request.resource.resource != 'rolebindings' || request.operation == 'DELETE' || "
                        + " || ".join(_binds(*each) for each in _BOUND)
                    ),
                    "message": "the operator binds each of its three roles to the one account that it is for",
                    "reason": "Forbidden",
                },
            ],
        },
    )


_BOUND = (
    (USER_ROLE, PERSON_ACCOUNT, "request.namespace"),
    (TENANT_ROLE, OPERATOR, f"'{SYSTEM_NAMESPACE}'"),
    (PERSON_TOKEN_ROLE, BASTION_ACCOUNT, f"'{BASTION_NAMESPACE}'"),
)
"""Role, account and (CEL) the account's namespace: what the operator binds in users' namespaces, and nothing else."""


def _binds(role: str, account: str, namespace: str) -> str:
    """CEL: whether a RoleBinding binds ``role``, to nobody or to that one service account."""
    return (
        f"(object.roleRef.kind == 'ClusterRole' && object.roleRef.name == '{role}' && "
        "object.?subjects.orValue([]).all(each, each.kind == 'ServiceAccount' && "
        f"each.name == '{account}' && each.?namespace.orValue('') == {namespace}))"
    )


def _token_policy() -> dict[str, Any]:
    """A token that a program takes for a person lives minutes, so one that is stolen does too.

    Whichever service account asks: the bastion is the one that may, and RBAC alone says so.
    """
    in_place = f"request.name == '{PERSON_ACCOUNT}' && request.namespace.startsWith('{NAMESPACE_PREFIX}')"
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
        only={
            "name": "a-program",
            "expression": f"{_IS_BASTION} || request.userInfo.username.startsWith('{_ACCOUNT}') && {in_place}",
        },
        more={
            "validations": [
                {
                    "expression": f"object.spec.?expirationSeconds.orValue(3600) <= {TOKEN_SECONDS}",
                    "message": f"a person's token lives {TOKEN_SECONDS} seconds at most; ask for no longer one",
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
        # The whole object is small, so that all that a person may have of them is no burden on etcd.
        (
            "object.?data.orValue({}).all(each, each == '.dockerconfigjson' && "
            f"size(object.data[each]) <= {MOST_SECRET_BYTES})",
            f"a login to a registry is one .dockerconfigjson of at most {MOST_SECRET_BYTES} bytes; "
            "use `devctl registry login`",
        ),
        (
            "size(object.metadata.?annotations.orValue({})) == 0 && "
            f"size(object.metadata.?labels.orValue({{}})) <= {_MOST_LABELS} && "
            "object.metadata.?selfLink.orValue('') == ''",
            f"a login to a registry has no annotations and at most {_MOST_LABELS} labels; use `devctl registry login`",
        ),
        # What its person leaves behind goes with them, and nothing of it holds up the end of the namespace.
        (
            f"size({owner}) == 1 && {owner}.all(each, each.kind == 'DevServerUser' && "
            f"each.apiVersion == '{GROUP}/{VERSION}' && size(each.uid) <= 64 && "
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
                *(
                    {"expression": expression, "message": message, "reason": "Forbidden"}
                    for expression, message in validations
                ),
                _small_metadata(),
            ]
        },
        namespaces={"matchExpressions": [{"key": LABEL_USER, "operator": "Exists"}]},
    )


def _note_policy() -> dict[str, Any]:
    """Of the note of their logins a person changes the notes, so that it goes with them and holds up nothing.

    Whoever may make ConfigMaps in a namespace, as the operator and administrators may, is no such person.
    """
    parts = [f"metadata.?{field}" for field in ("labels", "annotations", "ownerReferences", "selfLink")]
    parts += ["?immutable", "?binaryData"]
    validations = [
        (
            " && ".join(f"object.{part} == oldObject.{part}" for part in parts),
            "of the note of their logins people change its data only; use `devctl registry login`",
        ),
        (
            f"size(object.?data.orValue({{}})) <= {MOST_LOGINS}",
            f"nobody is logged in to more than {MOST_LOGINS} registries; "
            "`devctl registry logout` one that isn't needed",
        ),
        (
            f"object.?data.orValue({{}}).all(each, each.startsWith('{REGISTRY_SECRET_PREFIX}') && "
            f"size(object.data[each]) <= {MOST_NOTE_CHARACTERS})",
            f"a note of a login is called {REGISTRY_SECRET_PREFIX}... and has at most {MOST_NOTE_CHARACTERS} "
            "characters; use `devctl registry login`",
        ),
    ]
    return _guard(
        NOTE_POLICY,
        rules=[{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["configmaps"]}],
        only={
            "name": "may-not-make-configmaps",
            "expression": (
                f"request.name == '{REGISTRIES}' && !has(object.metadata.deletionTimestamp) && !({_A_CONTROLLER}) && "
                "!authorizer.group('').resource('configmaps').namespace(request.namespace).check('create').allowed()"
            ),
        },
        more={
            "validations": [
                _no_new_finalizers(_FINALIZERS),
                _small_metadata(),
                *(
                    {"expression": expression, "message": message, "reason": "Forbidden"}
                    for expression, message in validations
                ),
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
