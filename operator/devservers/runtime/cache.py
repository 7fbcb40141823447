"""The operator's cache of API objects by kind, namespace and name: its Lister.

Invariant: an object never goes back in time. Events, lists and our own writes arrive in any order; the one with the
higher resourceVersion wins (comparable as integers: KEP-5504), and a deletion wins over everything older than itself.
The cache is a hint: the API server may answer 404 for an object in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from devservers.observe.ends.last_output import remains
from devservers_core.names import GROUP
from devservers_core.types import Json

_DROPPED_ANNOTATIONS = ("kubectl.kubernetes.io/last-applied-configuration",)

_KINDS_OF_USERS = ("PersistentVolumeClaim", "DevServer")
_UNREAD_METADATA = ("ownerReferences", "finalizers", "generateName")
_READ_PREFIXES = (f"{GROUP}/", "app.kubernetes.io/")
_MAX_VALUE = 1024
_MAX_FORMER_PODS = 256
_UNREAD_CLAIM_SPEC = ("selector", "dataSource", "dataSourceRef")


class Change(NamedTuple):
    """What an event changed: the object before (None: new) and after (None: deleted)."""

    old: Json | None
    new: Json | None


class Cache:
    """Objects by kind, namespace and name. Objects handed out are shared: never change them."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, dict[str, Json]]] = {}
        self._tombstones: dict[tuple[str, str, str], int] = {}
        self._former_pods: dict[tuple[str, str], Json] = {}
        self._changes: dict[str, int] = {}

    def get(self, kind: str, namespace: str, name: str) -> Json | None:
        """The object, None when the cache has none."""
        return self._kinds.get(kind, {}).get(namespace, {}).get(name)

    def list(self, kind: str, namespace: str | None = None) -> Sequence[Json]:
        """All objects of a kind, in one namespace or (None) in all of them."""
        namespaces = self._kinds.get(kind, {})
        if namespace is not None:
            return list(namespaces.get(namespace, {}).values())
        return [obj for objects in namespaces.values() for obj in objects.values()]

    def former_pods(self, namespace: str) -> Sequence[Json]:
        """What remains of the pods that were deleted last."""
        return [pod for (place, _), pod in self._former_pods.items() if place == namespace]

    def changes(self, kind: str) -> int:
        """How many changes of objects of a kind there were: with the same number, a list is the same."""
        return self._changes.get(kind, 0)

    def count(self, kind: str) -> int:
        """How many objects of a kind there are."""
        return sum(len(objects) for objects in self._kinds.get(kind, {}).values())

    def put(self, obj: Json) -> None:
        """Stores an object that the API server returned."""
        self.apply(obj["kind"], obj)

    def forget(self, obj: Json) -> None:
        """Drops an object that the API server no longer has."""
        self.apply(obj["kind"], obj, deleted=True)

    def apply(self, kind: str, obj: Json, *, deleted: bool = False) -> Change | None:
        """Takes in one event; returns None when the cache has it already."""
        namespace, name, version = identity(obj)
        namespaces = self._kinds.setdefault(kind, {})
        cached = namespaces.get(namespace, {}).get(name)
        if cached is not None and identity(cached)[2] >= version and not (deleted and _uid(cached) == _uid(obj)):
            return None
        if deleted:
            self._tombstones[(kind, namespace, name)] = version
            self._trim()
            if kind == "Pod":
                self._keep_remains(obj)
            if cached is None:
                return None
            self._drop(kind, namespace, name)
            return Change(cached, None)
        if self._tombstones.get((kind, namespace, name), -1) >= version:
            return None
        self._tombstones.pop((kind, namespace, name), None)
        new = strip_unread_fields(obj)
        namespaces.setdefault(namespace, {})[name] = new
        self._count_change(kind)
        return Change(cached, new)

    def replace(self, kind: str, objects: Iterable[Json], version: int) -> tuple[Sequence[Json], Sequence[Json]]:
        """Compares the cache with a full list taken at a resourceVersion.

        Returns (missed, deleted): objects that the cache lacked or held in an older version, and objects it held that
        are gone.
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
        objects = self._kinds[kind][namespace]
        del objects[name]
        self._count_change(kind)
        if not objects:
            del self._kinds[kind][namespace]

    def _count_change(self, kind: str) -> None:
        self._changes[kind] = self.changes(kind) + 1

    def _keep_remains(self, pod: Json) -> None:
        # How its container ended may come with the pod's deletion, and never before.
        kept = remains(pod)
        if kept is not None:
            self._former_pods[identity(pod)[:2]] = kept
            while len(self._former_pods) > _MAX_FORMER_PODS:
                self._former_pods.pop(next(iter(self._former_pods)))

    def _trim(self) -> None:
        # Tombstones only have to outlive events that are still on their way.
        while len(self._tombstones) > 4096:
            self._tombstones.pop(next(iter(self._tombstones)))


def identity(obj: Json) -> tuple[str, str, int]:
    """(namespace, name, resourceVersion); a version that is no number counts as 0."""
    metadata = obj["metadata"]
    version = str(metadata.get("resourceVersion", "0"))
    return metadata.get("namespace", ""), metadata["name"], int(version) if version.isdigit() else 0


def strip_unread_fields(obj: Json) -> Json:
    """The object without the fields that no reconcile reads.

    managedFields alone are half of a small object. People may make claims and servers of 1.5 MiB each.
    """
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    annotations = metadata.get("annotations")
    if obj.get("kind") in _KINDS_OF_USERS:
        # Users create these themselves, of up to 1.5 MiB each.
        metadata = {key: value for key, value in metadata.items() if key not in _UNREAD_METADATA}
        for field in ("annotations", "labels"):
            if field in metadata:
                values = metadata[field] or {}
                metadata[field] = {
                    k: v for k, v in values.items() if k.startswith(_READ_PREFIXES) and len(v) <= _MAX_VALUE
                }
        if obj["kind"] == "PersistentVolumeClaim":
            obj = {**obj, "spec": {k: v for k, v in (obj.get("spec") or {}).items() if k not in _UNREAD_CLAIM_SPEC}}
    elif annotations and any(name in annotations for name in _DROPPED_ANNOTATIONS):
        metadata["annotations"] = {k: v for k, v in annotations.items() if k not in _DROPPED_ANNOTATIONS}
    if obj.get("kind") == "Workload":
        # It has its pod's whole template; the requests are read from the pod itself.
        obj = {**obj, "spec": {key: value for key, value in (obj.get("spec") or {}).items() if key != "podSets"}}
    return {**obj, "metadata": metadata}


def _uid(obj: Json) -> str:
    return str(obj["metadata"].get("uid", ""))
