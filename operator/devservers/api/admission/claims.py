"""Admission policies on volume claims and snapshots: metadata, names, growth by people.

A person may make a claim larger and change nothing else of one that exists.
"""

from __future__ import annotations

from typing import Any

from devservers.api.policy import (
    CREATED,
    FINALIZERS,
    USER_NAMESPACES,
    no_new_finalizers,
    small_metadata,
    validating_policy,
)
from devservers_core.client.paths import SNAPSHOT_GROUP
from devservers_core.names import GROUP

CLAIM_POLICY = f"devservers-claims.{GROUP}"
GROWTH_POLICY = f"devservers-claim-growth.{GROUP}"
SNAPSHOT_POLICY = f"devservers-snapshots.{GROUP}"
SHARED_CLASS = "efs"
"""StorageClass of volumes that many servers mount, on AWS."""
MAX_SHARED_CLAIM_CHARACTERS = 59
"""Of namespace and name of a claim of that class. An access point's path has 100 characters at most (EFS API,
CreateAccessPoint), `/v/NAMESPACE/CLAIM-UUID` 41 beside these; a claim beyond it would wait for ever."""
_FINALIZERS = (*FINALIZERS, "kubernetes.io/pvc-protection")


def claim_policy() -> dict[str, Any]:
    """The policy on volume claims: no finalizers of users, small metadata, short names.

    A finalizer that nobody removes would block the deletion of the namespace. A claim of class efs needs a name that is
    short enough for its folder.
    """
    length = "size(request.namespace) + size(object.metadata.?name.orValue(''))"
    short_enough = {
        "expression": (
            f"!({CREATED}) || object.spec.?storageClassName.orValue('') != '{SHARED_CLASS}' || "
            f"{length} <= {MAX_SHARED_CLAIM_CHARACTERS}"
        ),
        "messageExpression": (
            f"'a volume of class {SHARED_CLASS} is a folder named after namespace and claim, and the name is too long "
            f"for it; use at most ' + string({MAX_SHARED_CLAIM_CHARACTERS} - size(request.namespace)) + ' characters'"
        ),
        "message": f"the name is too long for a volume of class {SHARED_CLASS}; use a shorter one",
        "reason": "Invalid",
    }
    return validating_policy(
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
        more={"validations": [no_new_finalizers(_FINALIZERS), small_metadata(), short_enough]},
        namespaces=USER_NAMESPACES,
    )


def growth_policy() -> dict[str, Any]:
    """The policy on changes of claims: people raise the storage request and nothing else.

    It doesn't hold for whoever may list claims everywhere, as administrators, the operator and the controllers of
    volumes may: all of them watch the claims of the whole cluster.
    """
    # dyn: to the checker of types an amount of a resource is no field of any type it knows.
    new, old = (f"string(dyn({side}.spec).resources.requests.storage)" for side in ("object", "oldObject"))
    same = [
        *(f"metadata.?{field}" for field in ("labels", "annotations", "ownerReferences", "finalizers", "selfLink")),
        *(f"spec.?{field}" for field in ("accessModes", "selector", "storageClassName", "volumeName", "volumeMode")),
        *(f"spec.?{field}" for field in ("dataSource", "dataSourceRef", "volumeAttributesClassName")),
    ]
    validations = [
        (
            " && ".join(f"object.{field} == oldObject.{field}" for field in same)
            + " && dyn(object.spec).resources.?limits == dyn(oldObject.spec).resources.?limits",
            "people may raise the storage request of a volume claim and change nothing else; use `devctl volume grow`",
        ),
        (
            f"quantity({new}).compareTo(quantity({old})) >= 0",
            "a volume can't be made smaller; make another one and copy the files",
        ),
    ]
    return validating_policy(
        GROWTH_POLICY,
        rules=[
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["UPDATE"],
                "resources": ["persistentvolumeclaims"],
            }
        ],
        only={
            "name": "may-not-list-claims-everywhere",
            "expression": (
                "!has(object.metadata.deletionTimestamp) && "
                "!authorizer.group('').resource('persistentvolumeclaims').check('list').allowed()"
            ),
        },
        more={
            "validations": [
                {"expression": expression, "message": message, "reason": "Forbidden"}
                for expression, message in validations
            ]
        },
        namespaces=USER_NAMESPACES,
    )


def snapshot_policy() -> dict[str, Any]:
    """The policy on VolumeSnapshots: no finalizers of users, small metadata, of a claim of the same namespace.

    Only whoever may make VolumeSnapshotContents, which belong to no namespace, may name one.
    """
    source = "object.spec.source"
    of_a_claim = {
        "expression": (
            f"!({CREATED}) || !has({source}.volumeSnapshotContentName) || "
            f"authorizer.group('{SNAPSHOT_GROUP}').resource('volumesnapshotcontents').check('create').allowed()"
        ),
        "message": "users take snapshots of their volume claims only; use `devctl volume snapshot create`",
        "reason": "Forbidden",
    }
    return validating_policy(
        SNAPSHOT_POLICY,
        rules=[
            {
                "apiGroups": [SNAPSHOT_GROUP],
                "apiVersions": ["v1"],
                "operations": ["CREATE", "UPDATE"],
                "resources": ["volumesnapshots"],
            }
        ],
        only={"name": "not-deleted", "expression": "!has(object.metadata.deletionTimestamp)"},
        more={"validations": [no_new_finalizers(FINALIZERS), small_metadata(), of_a_claim]},
        namespaces=USER_NAMESPACES,
    )
