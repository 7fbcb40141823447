"""What the operator believes exists: slim objects by kind, namespace and name.

Invariant: an object never goes back in time. Events, lists and our own writes arrive in any order; the one
with the higher resourceVersion wins (comparable as integers: KEP-5504), and a deletion wins over everything
older than itself. The cache is a hint, not the truth: a 404 from the API server is normal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from devservers_core.names import GROUP
from devservers_core.types import Json

_DROPPED_ANNOTATIONS = ("kubectl.kubernetes.io/last-applied-configuration",)

_PEOPLES = ("PersistentVolumeClaim", "DevServer")
_UNREAD = ("ownerReferences", "finalizers", "generateName")
_OURS = (f"{GROUP}/", "app.kubernetes.io/")
_LONGEST = 1024
_UNREAD_OF_CLAIM = ("selector", "dataSource", "dataSourceRef")


class Change(NamedTuple):
    """What an event changed: the object before (None: it is new) and after (None: it is gone)."""

    old: Json | None
    new: Json | None


class Cache:
    """Objects by kind, namespace and name. Objects handed out are shared: never change them."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, dict[str, Json]]] = {}
        self._gone: dict[tuple[str, str, str], int] = {}

    def get(self, kind: str, namespace: str, name: str) -> Json | None:
        return self._kinds.get(kind, {}).get(namespace, {}).get(name)

    def list(self, kind: str, namespace: str | None = None) -> Sequence[Json]:
        """All objects of a kind, in one namespace or (None) in all of them."""
        spaces = self._kinds.get(kind, {})
        if namespace is not None:
            return list(spaces.get(namespace, {}).values())
        return [obj for space in spaces.values() for obj in space.values()]

    def count(self, kind: str) -> int:
        return sum(len(space) for space in self._kinds.get(kind, {}).values())

    def put(self, obj: Json) -> None:
        """Remembers an object the API server returned."""
        self.apply(obj["kind"], obj)

    def forget(self, obj: Json) -> None:
        """Drops an object the API server no longer has."""
        self.apply(obj["kind"], obj, deleted=True)

    def apply(self, kind: str, obj: Json, *, deleted: bool = False) -> Change | None:
        """Takes in one event; None when the cache knew it already."""
        namespace, name, version = identity(obj)
        spaces = self._kinds.setdefault(kind, {})
        known = spaces.get(namespace, {}).get(name)
        if known is not None and identity(known)[2] >= version and not (deleted and _uid(known) == _uid(obj)):
            return None
        if deleted:
            self._gone[(kind, namespace, name)] = version
            self._trim()
            if known is None:
                return None
            self._drop(kind, namespace, name)
            return Change(known, None)
        if self._gone.get((kind, namespace, name), -1) >= version:
            return None
        self._gone.pop((kind, namespace, name), None)
        new = strip_unread_fields(obj)
        spaces.setdefault(namespace, {})[name] = new
        return Change(known, new)

    def replace(self, kind: str, objects: Iterable[Json], version: int) -> tuple[Sequence[Json], Sequence[Json]]:
        """Compares with a full list taken at a resourceVersion.

        Returns (missed_objects, stale): objects the cache had missed or held too old, and objects it held that are
        gone.
        """
        seen: set[tuple[str, str]] = set()
        missed_objects = []
        for obj in objects:
            seen.add(identity(obj)[:2])
            if self.apply(kind, obj) is not None:
                missed_objects.append(obj)
        stale = [obj for obj in self.list(kind) if identity(obj)[:2] not in seen and identity(obj)[2] <= version]
        for obj in stale:
            namespace, name, _ = identity(obj)
            self._drop(kind, namespace, name)
        return missed_objects, stale

    def _drop(self, kind: str, namespace: str, name: str) -> None:
        space = self._kinds[kind][namespace]
        del space[name]
        if not space:
            del self._kinds[kind][namespace]

    def _trim(self) -> None:
        # Tombstones only have to outlive events that are still on their way.
        while len(self._gone) > 4096:
            self._gone.pop(next(iter(self._gone)))


def identity(obj: Json) -> tuple[str, str, int]:
    """(namespace, name, resourceVersion); a version that is no number counts as 0."""
    metadata = obj["metadata"]
    version = str(metadata.get("resourceVersion", "0"))
    return metadata.get("namespace", ""), metadata["name"], int(version) if version.isdigit() else 0


def strip_unread_fields(obj: Json) -> Json:
    """The object without what reconciling never reads; managedFields alone is half of a small object."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    annotations = metadata.get("annotations")
    if obj.get("kind") in _PEOPLES:
        # People make these themselves, of up to 1.5 MiB each.
        metadata = {key: value for key, value in metadata.items() if key not in _UNREAD}
        for field in ("annotations", "labels"):
            if field in metadata:
                found = metadata[field] or {}
                metadata[field] = {k: v for k, v in found.items() if k.startswith(_OURS) and len(v) <= _LONGEST}
        if obj["kind"] == "PersistentVolumeClaim":
            obj = {**obj, "spec": {k: v for k, v in (obj.get("spec") or {}).items() if k not in _UNREAD_OF_CLAIM}}
    elif annotations and any(name in annotations for name in _DROPPED_ANNOTATIONS):
        metadata["annotations"] = {k: v for k, v in annotations.items() if k not in _DROPPED_ANNOTATIONS}
    if obj.get("kind") == "Workload":
        # It holds its pod's whole template; what it asks for is read from the pod itself.
        obj = {**obj, "spec": {key: value for key, value in (obj.get("spec") or {}).items() if key != "podSets"}}
    return {**obj, "metadata": metadata}


def _uid(obj: Json) -> str:
    return str(obj["metadata"].get("uid", ""))
