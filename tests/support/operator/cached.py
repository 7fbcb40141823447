"""A cache with a few servers and a user, and objects to put into it."""

from __future__ import annotations

from typing import Any

from devservers.runtime.cache import Cache
from devservers_core.types import Json


def obj(kind: str, namespace: str, name: str, version: int = 1, **fields: Any) -> Json:
    metadata: Json = {"name": name, "resourceVersion": str(version), "uid": f"{kind}-{name}"}
    if namespace:
        metadata["namespace"] = namespace
    metadata["labels"] = fields.pop("labels", {})
    return {"kind": kind, "apiVersion": "v1", "metadata": metadata, **fields}


def filled() -> Cache:
    cache = Cache()
    cache.put(obj("DevServer", "dev-ann", "one", spec={"flavor": "small", "sharedVolumeClaimName": "data"}))
    cache.put(obj("DevServer", "dev-ann", "two", spec={"flavor": "big"}))
    cache.put(obj("DevServer", "dev-bob", "one", spec={"flavor": "small", "volumes": [{"claimName": "x"}]}))
    cache.put(obj("DevServerUser", "", "ann"))
    return cache
