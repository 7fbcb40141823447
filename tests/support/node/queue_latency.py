"""Measures the time from free quota to the scheduling of the waiting server's pod."""

from __future__ import annotations

from typing import Any

from tests.support.node.person import Person
from tests.support.node.watch import Watch, WatchEvent

NAME = "devservers.io/name"


def schedule_latency(ann: Person, holder: str, waiter: str) -> float:
    """Stops the server that holds the quota; seconds from its quota being free to the waiting one's pod scheduled.

    The quota is free when the holder's Workload is finished or gone, whichever is seen first.
    """
    held = str(ann.server(holder)["status"]["podName"])
    cluster, namespace = ann.platform.cluster, ann.namespace
    with (
        Watch(cluster, "workloads.kueue.x-k8s.io", namespace) as workloads,
        Watch(cluster, "pods", namespace) as pods,
    ):
        workloads.first(lambda event: _owner(event) == held, "the holder's workload")
        pods.first(lambda event: _is_pod_of(event, waiter), "the waiting server's pod")
        ann.devctl("stop", holder)
        freed = workloads.first(
            lambda event: _owner(event) == held and _is_over(event), "its quota to be free", seconds=90
        )
        placed = pods.first(
            lambda event: _is_pod_of(event, waiter) and _scheduled(event), "the next pod to be scheduled"
        )
    return max(0.0, placed.at - freed.at)


def _owner(event: WatchEvent) -> str:
    return str((event.manifest["metadata"].get("ownerReferences") or [{}])[0].get("name"))


def _is_over(event: WatchEvent) -> bool:
    return event.kind == "DELETED" or _true(event.manifest, "Finished")


def _is_pod_of(event: WatchEvent, server: str) -> bool:
    return bool(event.manifest["metadata"].get("labels", {}).get(NAME) == server)


def _scheduled(event: WatchEvent) -> bool:
    return _true(event.manifest, "PodScheduled")


def _true(manifest: dict[str, Any], kind: str) -> bool:
    found = manifest.get("status", {}).get("conditions", [])
    return any(each["type"] == kind and each["status"] == "True" for each in found)
