"""The cluster's storage classes, and which one a new volume gets.

Invariant: read-only; classes that can't be read are left to the API server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from devctl.validation import refusal
from devservers_core import names
from devservers_core.client.paths import STORAGE_CLASSES
from devservers_core.errors import ApiError

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json

_DEFAULT = "storageclass.kubernetes.io/is-default-class"


def storage_classes(context: Context) -> dict[str, Json] | None:
    """The storage classes by name; None when they can't be read."""
    try:
        items = context.kube.get(STORAGE_CLASSES).get("items") or []
    except ApiError:
        return None
    return {str(item["metadata"]["name"]): item for item in items}


def shared_class(context: Context) -> str | None:
    """The class of volumes that many servers mount; None where the cluster has none."""
    try:
        namespace = context.kube.get(f"/api/v1/namespaces/{context.namespace}")
    except ApiError:
        return None
    return (namespace["metadata"].get("annotations") or {}).get(names.ANNOTATION_SHARED_CLASS) or None


def class_of_new(context: Context, requested: str | None, *, shared: bool) -> str | None:
    """The class of a new volume; None for the cluster's default. Raises CommandError."""
    classes = storage_classes(context)
    if shared:
        class_name = shared_class(context)
        if class_name is None:
            raise refusal(
                "this cluster has no storage class for volumes that many servers mount",
                "leave out --shared: one server at a time mounts the volume, or ask an administrator for a class",
            )
        if requested not in (None, class_name):
            raise refusal(f"--shared volumes have class {class_name}, not {requested}", "leave out --class or --shared")
        return class_name
    if requested is not None and classes is not None and requested not in classes:
        raise refusal(
            f"there is no storage class {requested!r}",
            f"take one of {', '.join(sorted(classes))}" if classes else "the cluster has none; ask an administrator",
        )
    if requested is None and classes is not None and default_class(classes) is None:
        raise refusal(
            "the cluster has no default storage class, so this volume would wait for ever",
            f"give --class, one of {', '.join(sorted(classes))}" if classes else "ask an administrator for one",
        )
    return requested


def default_class(classes: dict[str, Json]) -> str | None:
    """The class of claims that name none: the newest of the default classes, as Kubernetes chooses."""
    marked = [item for item in classes.values() if (item["metadata"].get("annotations") or {}).get(_DEFAULT) == "true"]
    newest = max(marked, key=lambda item: str(item["metadata"].get("creationTimestamp")), default=None)
    return str(newest["metadata"]["name"]) if newest else None


def can_grow(item: Json) -> bool:
    """Whether volumes of the class can be made larger."""
    return item.get("allowVolumeExpansion") is True
