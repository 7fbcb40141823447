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
    ANY_FLAVOR,
    GROUP,
    LABEL_USER,
    NAMESPACE_PREFIX,
    VERSION,
)

POLICY = f"devservers.{GROUP}"

_CREATED = "request.operation == 'CREATE'"
_OWNER = "(has(object.spec.owner) ? object.spec.owner : '')"
_OLD_OWNER = "(has(oldObject.spec.owner) ? oldObject.spec.owner : '')"


def manifests() -> list[dict[str, Any]]:
    """The policy about DevServers and the binding that puts it in force everywhere."""
    return [_policy(), _binding()]


def _policy() -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": POLICY},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [GROUP],
                        "apiVersions": [VERSION],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": ["devservers"],
                    }
                ]
            },
            # What is being deleted only loses its finalizers; nothing may stand in the way of that.
            "matchConditions": [{"name": "not-deleted", "expression": "!has(object.metadata.deletionTimestamp)"}],
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
                    # Another flavor, or a start: the moments when resources are asked for.
                    "name": "asks",
                    "expression": (
                        f"{_CREATED} || object.spec.flavor != oldObject.spec.flavor || "
                        "(object.spec.running && !oldObject.spec.running)"
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
    }


def _binding() -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": POLICY},
        "spec": {"policyName": POLICY, "validationActions": ["Deny"]},
    }
