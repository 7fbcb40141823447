"""The first list and the resync: what they do with a stale cache and with kinds that a cluster lacks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from devservers.reconcile.interfaces import Key
from devservers.runtime import resync as module
from devservers.runtime.cache import Cache
from devservers.runtime.kinds import KINDS
from devservers.runtime.kube_client import KubeClient
from devservers.runtime.metrics import Metrics
from devservers.runtime.resync import Resync
from devservers.runtime.workqueue import WorkQueue
from devservers_core.errors import ApiError
from devservers_core.types import Json

WATCHED = [KINDS[name] for name in ("DevServerUser", "DevServer", "Pod", "Workload")]
SERVER = Key("DevServer", "dev-ann", "mydev")


class Lists:
    """The API server as far as lists go: objects by kind, at a version, or a refusal."""

    def __init__(self) -> None:
        self.objects: dict[str, list[Json]] = {}
        self.refusals: dict[str, list[int]] = {}
        self.version = 100
        self.selectors: dict[str, str] = {}

    async def list_at(self, kind: str, *, selector: str = "") -> tuple[list[Json], int]:
        self.selectors[kind] = selector
        if self.refusals.get(kind):
            raise ApiError(self.refusals[kind].pop(0), "refused", "")
        return list(self.objects.get(kind, [])), self.version


def obj(kind: str, name: str, version: int = 1, namespace: str = "dev-ann", **labels: str) -> Json:
    metadata = {"name": name, "namespace": namespace, "resourceVersion": str(version), "labels": labels}
    return {"kind": kind, "metadata": metadata, "spec": {}}


class Scene:
    """A Resync and its parts."""

    def __init__(self) -> None:
        self.api, self.cache, self.metrics = Lists(), Cache(), Metrics()
        self.queue: WorkQueue[Key] = WorkQueue()
        self.resync = Resync(cast(KubeClient, self.api), self.cache, self.queue, self.metrics, 600.0, WATCHED)

    def missed(self, kind: str) -> float:
        return self.metrics.registry.get_sample_value("devservers_missed_events_total", {"kind": kind}) or 0.0


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event is as far behind here as it will ever be."""
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.0)


def run(test: Callable[[Scene], Awaitable[None]]) -> None:
    async def main() -> None:
        await test(Scene())

    asyncio.run(asyncio.wait_for(main(), 20))


def test_list_all_fills_the_cache_and_returns_users_before_servers() -> None:
    async def check(scene: Scene) -> None:
        scene.api.objects = {
            "DevServer": [obj("DevServer", "mydev")],
            "DevServerUser": [obj("DevServerUser", "ann", namespace="")],
        }
        assert await scene.resync.list_all() == [Key("DevServerUser", "", "ann"), SERVER]
        assert scene.cache.count("DevServer") == 1
        assert scene.queue.depth == 0
        assert scene.api.selectors["Pod"] == "app.kubernetes.io/managed-by=devservers-operator"

    run(check)


def test_list_all_waits_for_a_kind_that_is_not_served_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(scene: Scene) -> None:
        sleep, slept = asyncio.sleep, []

        async def counted(seconds: float) -> None:
            slept.append(seconds)
            await sleep(0)

        monkeypatch.setattr(asyncio, "sleep", counted)
        scene.api.refusals["DevServer"] = [404, 503]
        scene.api.objects["DevServer"] = [obj("DevServer", "mydev")]
        assert await scene.resync.list_all() == [SERVER]
        assert slept == [1.0, 1.0]

    run(check)


def test_list_all_leaves_out_kueues_kinds_without_kueue() -> None:
    async def check(scene: Scene) -> None:
        scene.api.refusals["Workload"] = [404]
        await scene.resync.list_all()
        assert [kind.kind for kind in scene.resync.kinds] == ["DevServerUser", "DevServer", "Pod"]

    run(check)


def test_run_once_with_a_correct_cache_queues_nothing() -> None:
    async def check(scene: Scene) -> None:
        scene.api.objects["DevServer"] = [obj("DevServer", "mydev")]
        await scene.resync.list_all()
        await scene.resync.run_once()
        assert (scene.resync.consecutive_misses, scene.missed("DevServer"), scene.queue.depth) == (0, 0, 0)

    run(check)


@pytest.mark.parametrize("known", [True, False])
def test_run_once_queues_and_counts_missed_events(known: bool) -> None:
    async def check(scene: Scene) -> None:
        if known:
            scene.cache.put(obj("Pod", "mydev-1", 1, **{"devservers.io/name": "mydev"}))
        scene.api.objects["Pod"] = [obj("Pod", "mydev-1", 2, **{"devservers.io/name": "mydev"})]
        await scene.resync.run_once()
        assert await scene.queue.get() == SERVER
        assert (scene.missed("Pod"), scene.resync.consecutive_misses) == (1, 1)
        await scene.resync.run_once()
        assert scene.resync.consecutive_misses == 0, "it knows now"

    run(check)


def test_run_once_counts_consecutive_misses() -> None:
    """Two in a row mean that a watch is dead."""

    async def check(scene: Scene) -> None:
        for version in (1, 2, 3):
            scene.api.objects["DevServer"] = [obj("DevServer", "mydev", version)]
            await scene.resync.run_once()
        assert scene.resync.consecutive_misses == 3
        assert scene.missed("DevServer") == 3

    run(check)


def test_run_once_drops_deleted_objects_and_queues_their_keys() -> None:
    async def check(scene: Scene) -> None:
        scene.cache.put(obj("DevServer", "mydev", 7))
        scene.cache.put(obj("DevServer", "newer", scene.api.version + 1))
        await scene.resync.run_once()
        assert [each["metadata"]["name"] for each in scene.cache.list("DevServer")] == ["newer"], (
            "younger than the list"
        )
        assert await scene.queue.get() == SERVER
        assert (scene.missed("DevServer"), scene.resync.consecutive_misses) == (0, 0), (
            "a deletion that was missed is no dead watch"
        )

    run(check)


def test_run_once_ignores_an_event_that_arrives_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(scene: Scene) -> None:
        fresh = obj("DevServer", "mydev", 2)
        scene.api.objects["DevServer"] = [fresh]
        sleep = asyncio.sleep

        async def the_watch_catches_up(seconds: float) -> None:
            scene.cache.put(fresh)
            await sleep(0)

        monkeypatch.setattr(asyncio, "sleep", the_watch_catches_up)
        await scene.resync.run_once()
        assert (scene.resync.consecutive_misses, scene.missed("DevServer")) == (0, 0)

    run(check)
