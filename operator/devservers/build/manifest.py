"""Labels, owner references and metadata that all children share.

Values that the API server drops when it stores an object (null, empty list, map and string, false) are left out by
`compact`, so that a desired manifest is always a subset of the stored one and a settled object is never written again.
"""

from __future__ import annotations

from devservers.api.devserver import DevServer
from devservers.api.meta import Resource
from devservers.api.user import DevServerUser
from devservers_core.names import API_VERSION, LABEL_MANAGED_BY, LABEL_NAME, LABEL_USER, OPERATOR
from devservers_core.types import Json


def child_labels(server: str, user: str) -> dict[str, str]:
    """The labels of every child of the server named `server` of `user`."""
    return {LABEL_MANAGED_BY: OPERATOR, LABEL_NAME: server, LABEL_USER: user}


def owner_reference(owner: Resource) -> Json:
    """A controlling ownerReference to one of our own objects. Raises ValueError unless it is stored."""
    kind, metadata = owner.names.kind, owner.metadata
    if not metadata.uid:
        raise ValueError(f"{kind} {metadata.name} has no uid: only a stored object can own another")
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "name": metadata.name,
        "uid": metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def child_metadata(name: str, server: DevServer, user: DevServerUser) -> Json:
    """Metadata of a child that is deleted with its server."""
    return {
        "name": name,
        "namespace": user.namespace,
        "labels": child_labels(server.name, user.name),
        "ownerReferences": [owner_reference(server)],
    }


def user_child(user: DevServerUser, api_version: str, kind: str, name: str, body: Json | None = None) -> Json:
    """An object of a user's namespace that is deleted with the user."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": user.namespace,
            "labels": {LABEL_MANAGED_BY: OPERATOR, LABEL_USER: user.name},
            "ownerReferences": [owner_reference(user)],
        },
        **(body or {}),
    }


def compact(fields: Json) -> Json:
    """`fields` without what the API server drops: null, false, empty strings, lists and maps.

    Not recursive. Only for fields that are plain values in the API's types; a pointer such as
    `automountServiceAccountToken: false` or `replicas: 0` is kept by the API server and must not go through here.
    """
    # By identity: 0 equals False, and a number of 0 is a value (tolerationSeconds).
    return {
        key: value
        for key, value in fields.items()
        if value is not None and value is not False and value not in ("", [], {})
    }
