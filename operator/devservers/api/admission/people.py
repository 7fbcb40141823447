"""Admission policies on what people write: servers and registry logins.

What one object alone can say is CEL in its CRD. These policies need the namespace: a ValidatingAdmissionPolicy reads
the user's name and allowed flavors from the label and the annotation that the operator keeps there. They look at what a
request changes, never at what was already so: removing a flavor from a user must not keep their running servers from
being stopped.
"""

from __future__ import annotations

from typing import Any

from devservers.api import registries
from devservers.api.policy import (
    CREATED,
    FINALIZERS,
    USER_NAMESPACES,
    forbidden,
    no_new_finalizers,
    small_metadata,
    validating_policy,
)
from devservers_core.names import (
    ANNOTATION_ALLOWED_FLAVORS,
    ANNOTATION_ALLOWED_REGISTRIES,
    ANNOTATION_RESTARTED_AT,
    ANNOTATION_STARTED_AT,
    ANY_FLAVOR,
    GROUP,
    LABEL_USER,
    MAX_USER_SECRET_BYTES,
    NAMESPACE_PREFIX,
    REGISTRY_SECRET_PREFIX,
    SECRET_TYPE_REGISTRY,
    SECRET_TYPE_USER,
    USER_SECRET_PREFIX,
    VERSION,
)

SERVER_POLICY = f"devservers.{GROUP}"
SECRET_POLICY = f"devservers-registries.{GROUP}"
MAX_SECRET_BYTES = 16384
"""Of a login to a registry; a cloud's longest tokens have 4 KiB."""
_MAX_LABELS = 8
_OWNER = "(has(object.spec.owner) ? object.spec.owner : '')"
_OLD_OWNER = "(has(oldObject.spec.owner) ? oldObject.spec.owner : '')"
_OVERRIDE = "object.spec.?lifecycle.?override"
_OLD_OVERRIDE = "oldObject.spec.?lifecycle.?override"


def _changed(annotation: str) -> str:
    """CEL: whether a request changes an annotation."""
    new, old = (f"{side}.metadata.?annotations[?'{annotation}'].orValue('')" for side in ("object", "oldObject"))
    return f"{new} != {old}"


def server_policy() -> dict[str, Any]:
    """The policy on servers: owner, flavor and registry must be allowed in the namespace."""
    return validating_policy(
        SERVER_POLICY,
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
                    # Another flavor, and whatever starts a server, restarts it or gives it more time: any change of
                    # one that is to run may.
                    "name": "asks",
                    "expression": (
                        f"{CREATED} || object.spec.flavor != oldObject.spec.flavor || "
                        f"{_changed(ANNOTATION_STARTED_AT)} || {_changed(ANNOTATION_RESTARTED_AT)} || "
                        "(object.spec.running && object.spec != oldObject.spec)"
                    ),
                },
                *registries.variables(ANNOTATION_ALLOWED_REGISTRIES),
            ],
            "validations": [
                {
                    "expression": f"!({CREATED}) || variables.ours",
                    "messageExpression": (
                        "'namespace ' + request.namespace + ' is not a user\\'s; create the server in "
                        f"{NAMESPACE_PREFIX}<user>'"
                    ),
                    "message": f"not a user's namespace; create the server in {NAMESPACE_PREFIX}<user>",
                    "reason": "Invalid",
                },
                {
                    "expression": (
                        f"{_OWNER} == '' || (!({CREATED}) && {_OWNER} == {_OLD_OWNER}) || "
                        f"request.namespace == '{NAMESPACE_PREFIX}' + object.spec.owner"
                    ),
                    "messageExpression": (
                        "'owner ' + object.spec.owner + ' may not have servers in ' + request.namespace + "
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
                {
                    # Removing one is everybody's right.
                    "expression": (
                        f"!{_OVERRIDE}.hasValue() || (!({CREATED}) && {_OVERRIDE} == {_OLD_OVERRIDE}) || "
                        f"authorizer.group('{GROUP}').resource('devserverflavors').check('update').allowed()"
                    ),
                    "message": (
                        "lifecycle.override lifts the limits of flavor and user, and only administrators (who may "
                        "update devserverflavors) write it; ask one, or leave it out"
                    ),
                    "reason": "Forbidden",
                },
                {
                    # It was given for that flavor: the limits of a GPU flavor aren't lifted by a change of flavor.
                    "expression": (
                        f"{CREATED} || object.spec.flavor == oldObject.spec.flavor || !{_OVERRIDE}.hasValue() || "
                        f"authorizer.group('{GROUP}').resource('devserverflavors').check('update').allowed()"
                    ),
                    "message": (
                        "an administrator lifted the limits of this server for its flavor; remove lifecycle.override, "
                        "or ask an administrator to change the flavor"
                    ),
                    "reason": "Forbidden",
                },
                no_new_finalizers(FINALIZERS),
            ],
        },
    )


def secret_policy() -> dict[str, Any]:
    """The policy on Secrets: users may write logins to image registries and secrets for their servers.

    So they write and delete no host key and no token of an account. It doesn't hold for whoever may read the Secrets
    of a namespace, as the operator and administrators may.
    """
    deleted = "request.operation == 'DELETE'"
    owner = "object.metadata.?ownerReferences.orValue([])"
    registry = f"object.type == '{SECRET_TYPE_REGISTRY}'"
    values = "object.?data.orValue({})"
    bytes_ = f"{values}.map(each, size(each) + size(object.data[each])).sum()"
    validations = [
        (
            f"{registry} && object.metadata.name.startsWith('{REGISTRY_SECRET_PREFIX}') || "
            f"object.type == '{SECRET_TYPE_USER}' && object.metadata.name.startsWith('{USER_SECRET_PREFIX}')",
            "users may write only Secrets with logins to image registries or with values for their servers; use "
            "`devctl registry login` or `devctl secret set`",
        ),
        # The whole object is small, so that all that a person may have of them is no burden on etcd.
        (
            f"!({registry}) || {values}.all(each, each == '.dockerconfigjson' && "
            f"size(object.data[each]) <= {MAX_SECRET_BYTES})",
            f"a login to a registry is one .dockerconfigjson of at most {MAX_SECRET_BYTES} bytes; "
            "use `devctl registry login`",
        ),
        (
            f"{registry} || size({values}) == 0 || {bytes_} <= {MAX_USER_SECRET_BYTES}",
            f"a secret has at most {MAX_USER_SECRET_BYTES // 1024} KiB in all; put the rest into a file in the home",
        ),
        (
            "size(object.metadata.?annotations.orValue({})) == 0 && "
            f"size(object.metadata.?labels.orValue({{}})) <= {_MAX_LABELS} && "
            "object.metadata.?selfLink.orValue('') == ''",
            f"a Secret of a user has no annotations and at most {_MAX_LABELS} labels; use `devctl registry login` or "
            "`devctl secret set`",
        ),
        # What its person leaves behind goes with them, and nothing of it holds up the end of the namespace.
        (
            f"size({owner}) == 1 && {owner}.all(each, each.kind == 'DevServerUser' && "
            f"each.apiVersion == '{GROUP}/{VERSION}' && size(each.uid) <= 64 && "
            f"each.name == namespaceObject.metadata.labels['{LABEL_USER}']) && "
            "size(object.metadata.?finalizers.orValue([])) == 0",
            "a Secret of a user belongs to its DevServerUser and has no finalizer; use `devctl registry login` or "
            "`devctl secret set`",
        ),
    ]
    deletes = (
        f"!({deleted}) || oldObject.type == '{SECRET_TYPE_USER}'",
        "users may delete only secrets that they made; use `devctl secret delete`, or `devctl registry logout`",
    )
    # The answer to every other deletion is the object, with its values: it stays until a controller has removed it.
    unread = (
        f"!({deleted}) || request.?options.?propagationPolicy.orValue('Background') == 'Background' && "
        "!request.?options.?orphanDependents.orValue(false)",
        "users may delete their secrets only in the background, because any other deletion shows the values; use "
        "`devctl secret delete`, or `kubectl delete secret` without --cascade",
    )
    guarded = [deletes, unread, *((f"{deleted} || ({expression})", message) for expression, message in validations)]
    return validating_policy(
        SECRET_POLICY,
        rules=[
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE", "UPDATE", "DELETE"],
                "resources": ["secrets"],
            }
        ],
        only={
            "name": "may-not-read-secrets",
            "expression": (
                "!authorizer.group('').resource('secrets').namespace(request.namespace).check('get').allowed()"
            ),
        },
        more={"validations": [*forbidden(guarded), small_metadata(f"{deleted} || ")]},
        namespaces=USER_NAMESPACES,
    )
