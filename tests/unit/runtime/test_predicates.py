"""Predicates: which changes of Kueue's objects enqueue a reconcile, and how soon."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from kubernetes.aio.client.configuration import Configuration

from devservers.reconcile.interfaces import Key
from devservers.runtime.cache import Cache, Change
from devservers.runtime.kinds import KINDS, QUEUEING, WATCHED
from devservers.runtime.kopf_source import KopfSource
from devservers.runtime.predicates import MAX_REFRESHES_PER_SECOND, debounce_seconds, should_enqueue
from devservers.runtime.workqueue import WorkQueue
from devservers_core.types import Json
from tests.support.operator.queue_objects import WAITS_FOR_GPU, admission, cluster_queue, unreserved, workload


def versioned(obj: Json, version: int) -> Json:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}


def server(name: str, reason: str) -> Json:
    return {
        "kind": "DevServer",
        "metadata": {"name": name, "namespace": "dev-ann", "resourceVersion": "1", "uid": name},
        "spec": {"flavor": "gpu"},
        "status": {"conditions": [{"type": "Ready", "status": "False", "reason": reason}]},
    }


def changed(kind: str, before: Json, **edits: Any) -> bool:
    after = copy.deepcopy(before)
    for path, value in edits.items():
        section, _, name = path.partition("__")
        after[section][name] = value
    return should_enqueue(kind, Change(versioned(before, 1), versioned(after, 2)))


def test_cache_keeps_a_workload_without_pod_sets() -> None:
    cache = Cache()
    found = workload("mydev-1", 1, podSets=[{"template": {"spec": {"containers": [{"env": ["secret"]}]}}}])
    cache.put(versioned(found, 3))
    kept = cache.get("Workload", "dev-ann", "pod-mydev-1-abcde")
    assert kept is not None
    assert "podSets" not in kept["spec"]
    assert kept["spec"]["queueName"] == "interactive"


def test_should_enqueue_workload_ignores_digits_in_messages_only() -> None:
    waits = workload("mydev-1", 1, unreserved(WAITS_FOR_GPU))
    assert not changed("Workload", waits, status__conditions=[unreserved(WAITS_FOR_GPU.replace("1 more", "2 more"))])
    assert not changed("Workload", waits, status__resourceRequests=[{"name": "main"}])
    assert changed("Workload", waits, status__conditions=[unreserved(WAITS_FOR_GPU.replace("nvidia.com/gpu", "cpu"))])
    assert changed("Workload", waits, status__conditions=list(admission()))
    assert changed("Workload", waits, spec__active=False)


def test_should_enqueue_cluster_queue_ignores_counters_only() -> None:
    queue = cluster_queue()
    assert not changed("ClusterQueue", queue, status__pendingWorkloads=9)
    assert changed("ClusterQueue", queue, status__flavorsReservation=[{"name": "gpu-l4"}])
    assert changed("ClusterQueue", queue, spec__resourceGroups=[])
    assert not changed("LocalQueue", {"metadata": {"name": "interactive"}, "status": {}}, status__pendingWorkloads=9)


def test_take_cluster_queue_enqueues_waiting_servers_debounced() -> None:
    async def go() -> None:
        cache = Cache()
        for name, reason in (("a", "Queued"), ("b", "Running"), ("c", "ExceedsQuota"), ("d", "Unschedulable")):
            cache.put(server(name, reason))
        now = [0.0]
        queue: WorkQueue[Key] = WorkQueue(clock=lambda: now[0])
        source = KopfSource(cache, queue, Configuration(), (*WATCHED, *QUEUEING))
        source.take("ClusterQueue", versioned(cluster_queue(), 5))
        for version in range(6, 30):
            used = {"gpu-l4": {"cpu": str(version)}}
            source.take("ClusterQueue", versioned(cluster_queue(used=used), version))
        assert queue.depth == 0
        now[0] = 2 * debounce_seconds(2)
        found = {(await queue.get()).name, (await queue.get()).name}
        assert found == {"a", "c"}
        assert queue.depth == 2, "both in work, and no third"

    asyncio.run(go())


def test_debounce_seconds_bounds_the_rate() -> None:
    for waiting in (1, 10, 100, 1000, 10000):
        # They are spread over as much time as the first of them waits.
        assert waiting / debounce_seconds(waiting) <= MAX_REFRESHES_PER_SECOND


def test_kinds_of_kueue_are_watched_only_with_queueing() -> None:
    assert {kind.kind for kind in QUEUEING} == {"LocalQueue", "Workload", "ClusterQueue"}
    assert not {kind.kind for kind in QUEUEING} & {kind.kind for kind in WATCHED}
    assert KINDS["Workload"].path("dev-ann", "x") == "/apis/kueue.x-k8s.io/v1beta2/namespaces/dev-ann/workloads/x"
