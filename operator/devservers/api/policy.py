"""Builds ValidatingAdmissionPolicies, with the CEL that several of them share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from devservers_core.names import LABEL_USER, NAMESPACE_PREFIX

MAX_METADATA = 16384
"""Characters of what a person writes beside an object's content: labels, annotations, who manages which field."""
_MAX_DEPTH = 5
"""How deep a tree of managed fields is: f:metadata, f:ownerReferences, k:{...}, and one or two below."""
ACCOUNT = "system:serviceaccount:"
A_CONTROLLER = (
    "'system:masters' in request.userInfo.?groups.orValue([]) || request.userInfo.username.startsWith('system:') && "
    f"!request.userInfo.username.startsWith('{ACCOUNT}{NAMESPACE_PREFIX}')"
)
"""CEL: true if the request comes from a Kubernetes component, a controller, or the group system:masters."""
CREATED = "request.operation == 'CREATE'"
FINALIZERS = ("foregroundDeletion", "orphan")
"""Of Kubernetes' garbage collector, which takes them off again."""
USER_NAMESPACES = {"matchExpressions": [{"key": LABEL_USER, "operator": "Exists"}]}
"""Selects users' namespaces."""


def validating_policy(
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


def binding(policy: str) -> dict[str, Any]:
    """The binding that puts a policy in force everywhere it applies."""
    return _manifest("ValidatingAdmissionPolicyBinding", policy, {"policyName": policy, "validationActions": ["Deny"]})


def no_new_finalizers(allowed: tuple[str, ...]) -> dict[str, str]:
    """The validation that people add no finalizers but ``allowed``."""
    before = "(oldObject == null ? [] : oldObject.metadata.?finalizers.orValue([]))"
    return {
        "expression": (
            f"{A_CONTROLLER} || object.metadata.?finalizers.orValue([]).all(each, "
            f"each in {list(allowed)!r} || each in {before})"
        ),
        "message": (
            "only the platform sets finalizers, because they can block the deletion of a namespace; leave them out"
        ),
        "reason": "Forbidden",
    }


def small_metadata(unless: str = "") -> dict[str, str]:
    """The validation that bounds the metadata people write: the API server takes 1 MiB and more.

    It also accepts managedFields of fields that the object doesn't have.
    """
    managed = _characters("dyn(each).?fieldsV1.orValue({})", _MAX_DEPTH)
    parts = [f"object.metadata.?managedFields.orValue([]).map(each, 256 + {managed}).sum()"]
    for field in ("labels", "annotations"):
        entries = f"object.metadata.?{field}.orValue({{}})"
        parts.append(f"{entries}.map(each, size(each) + size(object.metadata.{field}[each])).sum()")
    return {
        "expression": f"{A_CONTROLLER} || {unless}{' + '.join(parts)} <= {MAX_METADATA}",
        "message": f"labels, annotations and managed fields are larger than {MAX_METADATA // 1024} KiB; remove some",
        "reason": "Forbidden",
    }


def _characters(tree: str, depth: int) -> str:
    """CEL: the number of characters of all names in a tree of at most `depth` levels."""
    if depth == 0:
        return f"(size({tree}) == 0 ? 0 : {MAX_METADATA})"
    name = f"at{depth}"
    return f"{tree}.map({name}, size({name}) + {_characters(f'{tree}[{name}]', depth - 1)}).sum()"


def forbidden(validations: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """Validations of CEL rules and the messages of their refusals."""
    return [{"expression": rule, "message": message, "reason": "Forbidden"} for rule, message in validations]


def _manifest(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }
