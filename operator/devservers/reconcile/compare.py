"""Decides whether applying a manifest would change any field that it sets.

Invariant: a field that a manifest doesn't set is not compared. Fields of other managers (defaults, an injected sidecar)
are no difference; a field of ours that somebody changed or removed always is. A field that we set before and no longer
do can't be seen that way, so every applied object carries a hash of all that we set (annotation devservers.io/applied).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from devservers_core.names import ANNOTATION_APPLIED
from devservers_core.types import Json

# Lists the API server merges by a key (x-kubernetes-list-map-keys): foreign entries in them stay. All
# others are atomic.
_LIST_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "volumeMounts": ("mountPath",),
    "ownerReferences": ("uid",),
    "ports": ("containerPort", "port"),
}


def digest(value: Any) -> str:  # noqa: ANN401  any JSON
    """A short, stable hash of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def with_applied_hash(desired: Json) -> Json:
    """The manifest with the hash of itself as an annotation."""
    metadata = desired["metadata"]
    annotations = {**(metadata.get("annotations") or {}), ANNOTATION_APPLIED: digest(desired)}
    return {**desired, "metadata": {**metadata, "annotations": annotations}}


def differences(desired: Any, live: Any, path: str = "") -> Iterator[str]:  # noqa: ANN401  any JSON
    """Paths at which `live` differs from `desired`; none means that applying changes nothing."""
    if isinstance(desired, dict):
        if not isinstance(live, dict):
            yield path
            return
        for name, value in desired.items():
            child_path = f"{path}.{name}" if path else name
            if name in live:
                yield from differences(value, live[name], child_path)
            elif value not in (None, {}, []):
                yield child_path
    elif isinstance(desired, list):
        yield from _list_differences(desired, live, path)
    elif desired != live:
        yield path


def _list_differences(desired: list[Any], live: Any, path: str) -> Iterator[str]:  # noqa: ANN401  any JSON
    if not isinstance(live, list):
        yield path
        return
    key = _key_of(path.rsplit(".", 1)[-1], desired)
    if key is not None:
        live_by_key = {item.get(key): item for item in live if isinstance(item, dict)}
        for item in desired:
            child_path = f"{path}[{item[key]}]"
            if item[key] in live_by_key:
                yield from differences(item, live_by_key[item[key]], child_path)
            else:
                yield child_path
    elif len(desired) != len(live):
        yield path
    else:
        for index, (desired_item, live_item) in enumerate(zip(desired, live, strict=True)):
            yield from differences(desired_item, live_item, f"{path}[{index}]")


def _key_of(field: str, items: list[Any]) -> str | None:
    for key in _LIST_KEYS.get(field, ()):
        if items and all(isinstance(item, dict) and key in item for item in items):
            # One port by UDP and by TCP, as network policies have it: the port alone is no key.
            return key if len({item[key] for item in items}) == len(items) else None
    return None
