"""The applier: no write twice, and no endless correction of what others change."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from devservers.reconcile.applier import REFUSAL_SECONDS, Applier
from devservers.runtime.cache import Cache
from devservers_core.errors import ApiError
from devservers_core.types import Json
from tests.support.operator.api_stand_in import ApiStandIn

DESIRED: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "a", "namespace": "n"},
    "spec": {"size": "1Gi"},
}


def ensure(applier: Applier, desired: Json, times: int = 1) -> None:
    async def go() -> None:
        for _ in range(times):
            await applier.ensure(desired)

    asyncio.run(go())


def test_ensure_settled_object_writes_once() -> None:
    api = ApiStandIn()
    ensure(Applier(Cache(), api), DESIRED, 5)
    assert api.log == ["apply PersistentVolumeClaim/a"]


def test_ensure_changed_object_is_restored_once() -> None:
    api, cache = ApiStandIn(), Cache()
    applier = Applier(cache, api)
    ensure(applier, DESIRED)
    live = asyncio.run(api.get("PersistentVolumeClaim", "n", "a"))
    live["spec"]["size"] = "5Gi"
    cache.put(api.put(live))
    ensure(applier, DESIRED, 3)
    assert len(api.log) == 2


def test_ensure_undone_apply_is_not_repeated() -> None:
    api = ApiStandIn()
    api.admit = lambda obj: {**obj, "spec": {"size": "7Gi"}}
    applier = Applier(Cache(), api)
    ensure(applier, DESIRED, 5)
    assert len(api.log) == 1
    ensure(applier, {**DESIRED, "spec": {"size": "2Gi"}}, 5)
    assert len(api.log) == 2, "another wish is another try"


def test_ensure_refused_apply_is_repeated_after_a_while() -> None:
    api, cache, now = ApiStandIn(), Cache(), [0.0]
    applier = Applier(cache, api, clock=lambda: now[0])
    ensure(applier, DESIRED)
    tries = []

    def refuse(verb: str, obj: Json) -> None:
        tries.append(verb)
        raise ApiError(403, "Forbidden", "only dynamically provisioned claims can grow")

    api.before_write = refuse
    grown = {**DESIRED, "spec": {"size": "2Gi"}}
    for _ in range(5):
        with pytest.raises(ApiError, match="dynamically"):
            ensure(applier, grown)
    assert len(tries) == 1
    now[0] = REFUSAL_SECONDS + 1
    with pytest.raises(ApiError):
        ensure(applier, grown)
    assert len(tries) == 2


def test_ensure_object_being_deleted_writes_nothing() -> None:
    api, cache = ApiStandIn(), Cache()
    leaving = {**DESIRED, "metadata": {**DESIRED["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    cache.put(api.put(leaving))
    ensure(Applier(cache, api), DESIRED, 3)
    assert api.log == []


def test_ensure_invalid_object_of_a_recreatable_kind_is_created_again() -> None:
    api, cache = ApiStandIn(), Cache()
    service = {**DESIRED, "kind": "Service"}
    cache.put(api.put({**service, "spec": {"size": "9Gi"}}))

    def refuse(verb: str, obj: Json) -> None:
        if verb == "apply" and ("Service", "n", "a") in api.objects:
            raise ApiError(422, "Invalid", "spec.ports[0].name: Required value")

    api.before_write = refuse
    ensure(Applier(cache, api), service)
    assert api.log == ["delete Service/a", "apply Service/a"]
