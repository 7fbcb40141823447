"""An API server in memory that loses races, refuses and undoes writes on purpose.

It stands in for Kubernetes, never for a module of ours. Everything else about the operator is tested in
tests/cluster against the real thing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from devservers_core.errors import ApiError
from devservers_core.types import Json


class ApiStandIn:
    """Objects by kind, namespace and name with resourceVersions; log has every write as `verb kind/name`."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Json] = {}
        self.log: list[str] = []
        self.version = 100
        self.before_write: Callable[[str, Json], None] = lambda verb, obj: None
        """Called before each write; raises ApiError to refuse it."""
        self.admit: Callable[[Json], Json] = lambda obj: obj
        """What becomes of an object that is applied."""

    async def get(self, kind: str, namespace: str, name: str) -> Json:
        try:
            return copy.deepcopy(self.objects[(kind, namespace, name)])
        except KeyError:
            raise ApiError(404, "NotFound", name) from None

    async def list(self, kind: str, namespace: str = "", selector: str = "") -> list[Json]:
        return [copy.deepcopy(obj) for place, obj in self.objects.items() if place[:2] == (kind, namespace)]

    async def events(self, namespace: str, kind: str, name: str = "") -> Sequence[Json]:
        return []

    async def create(self, obj: Json) -> Json:
        if _place(obj) in self.objects:
            raise ApiError(409, "AlreadyExists", obj["metadata"].get("name", ""))
        return self._store("create", obj)

    async def replace(self, obj: Json) -> Json:
        self.before_write("replace", obj)
        live = self.objects.get(_place(obj))
        if live is None:
            raise ApiError(404, "NotFound", "")
        if live["metadata"]["resourceVersion"] != obj["metadata"].get("resourceVersion"):
            raise ApiError(409, "Conflict", "")
        return self._store("replace", obj, checked=True)

    async def apply(self, obj: Json) -> Json:
        return self._store("apply", self.admit(copy.deepcopy(obj)))

    async def apply_status(self, obj: Json) -> Json:
        live = copy.deepcopy(self.objects[_place(obj)])
        live["status"] = obj["status"]
        return self._store("status", live)

    async def patch(self, obj: Json) -> Json:
        live = self.objects.get(_place(obj))
        if live is None:
            raise ApiError(404, "NotFound", "")
        for field in ("uid", "resourceVersion"):
            if obj["metadata"].get(field, live["metadata"][field]) != live["metadata"][field]:
                raise ApiError(409, "Conflict", "")
        change = {key: value for key, value in obj.items() if key not in ("metadata", "apiVersion", "kind")}
        self.before_write("patch", obj)
        return self._store("patch", _merged(live, change), checked=True)

    async def scale(self, kind: str, namespace: str, name: str, replicas: int) -> None:
        live = copy.deepcopy(self.objects[(kind, namespace, name)])
        live["spec"]["replicas"] = replicas
        self._store("scale", live)

    async def delete(self, kind: str, namespace: str, name: str, uid: str = "") -> None:
        self.log.append(f"delete {kind}/{name}")
        self.objects.pop((kind, namespace, name), None)

    def put(self, obj: Json) -> Json:
        """Somebody else's write: not logged, not refused."""
        self.version += 1
        stored = copy.deepcopy(obj)
        stored["metadata"].setdefault("uid", f"uid-{self.version}")
        stored["metadata"]["resourceVersion"] = str(self.version)
        self.objects[_place(obj)] = stored
        return copy.deepcopy(stored)

    def _store(self, verb: str, obj: Json, *, checked: bool = False) -> Json:
        if not checked:
            self.before_write(verb, obj)
        self.log.append(f"{verb} {obj['kind']}/{obj['metadata']['name']}")
        return self.put(obj)


def _merged(live: Json, change: Json) -> Json:
    """RFC 7386: null removes, objects merge, everything else replaces."""
    merged = copy.deepcopy(live)
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = _merged(merged.get(key) or {}, value)
        else:
            merged[key] = value
    return merged


def _place(obj: Json) -> tuple[str, str, str]:
    return obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"].get("name", "")
