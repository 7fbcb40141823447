"""Measures the time from free quota to the scheduling of the waiting server's pod."""

from __future__ import annotations

from typing import Any

from tests.support.node.person import Person
from tests.support.node.stream import Seen, Stream

NAME = "devservers.io/name"


def handed_over(ann: Person, holder: str, waiter: str) -> float:
    """Stops the server that holds the quota; seconds from its quota being free to the waiting one's pod scheduled.

    The quota is free when the holder's Workload is finished or gone, whichever is seen first.
    """
    held = str(ann.server(holder)["status"]["podName"])
    cluster, namespace = ann.platform.cluster, ann.namespace
    with (
        Stream(cluster, "workloads.kueue.x-k8s.io", namespace) as workloads,
        Stream(cluster, "pods", namespace) as pods,
    ):
        workloads.first(lambda seen: _owner(seen) == held, "the holder's workload")
        pods.first(lambda seen: _is_pod_of(seen, waiter), "the waiting server's pod")
        ann.devctl("stop", holder)
        freed = workloads.first(
            lambda seen: _owner(seen) == held and _is_over(seen), "its quota to be free", seconds=90
        )
        placed = pods.first(lambda seen: _is_pod_of(seen, waiter) and _scheduled(seen), "the next pod to be scheduled")
    return max(0.0, placed.at - freed.at)


def _owner(seen: Seen) -> str:
    return str((seen.thing["metadata"].get("ownerReferences") or [{}])[0].get("name"))


def _is_over(seen: Seen) -> bool:
    return seen.kind == "DELETED" or _true(seen.thing, "Finished")


def _is_pod_of(seen: Seen, server: str) -> bool:
    return bool(seen.thing["metadata"].get("labels", {}).get(NAME) == server)


def _scheduled(seen: Seen) -> bool:
    return _true(seen.thing, "PodScheduled")


def _true(thing: dict[str, Any], kind: str) -> bool:
    found = thing.get("status", {}).get("conditions", [])
    return any(each["type"] == kind and each["status"] == "True" for each in found)
