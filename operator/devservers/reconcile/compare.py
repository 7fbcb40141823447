"""Decides whether applying a manifest would change anything that is ours.

Invariant: what we don't say is not compared. Fields other managers added (defaults, an injected sidecar, a
gate) never count as a difference; a field of ours that somebody changed or removed always does. A field we
no longer say can't be seen that way, so every applied object carries a hash of all we said (annotation
devservers.io/applied).
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
    """Paths at which live doesn't hold what is desired. Empty: applying would change nothing of ours."""
    if isinstance(desired, dict):
        if not isinstance(live, dict):
            yield path
            return
        for name, value in desired.items():
            here = f"{path}.{name}" if path else name
            if name in live:
                yield from differences(value, live[name], here)
            elif value not in (None, {}, []):
                yield here
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
        known = {item.get(key): item for item in live if isinstance(item, dict)}
        for item in desired:
            here = f"{path}[{item[key]}]"
            if item[key] in known:
                yield from differences(item, known[item[key]], here)
            else:
                yield here
    elif len(desired) != len(live):
        yield path
    else:
        for index, (wanted, found) in enumerate(zip(desired, live, strict=True)):
            yield from differences(wanted, found, f"{path}[{index}]")


def _key_of(field: str, items: list[Any]) -> str | None:
    for key in _LIST_KEYS.get(field, ()):
        if items and all(isinstance(item, dict) and key in item for item in items):
            # One port by UDP and by TCP, as network policies have it: the port alone tells nothing apart.
            return key if len({item[key] for item in items}) == len(items) else None
    return None
