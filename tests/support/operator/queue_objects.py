"""Workloads and ClusterQueues as Kueue 0.18 writes them, and queued pods."""

from __future__ import annotations

from typing import Any

from devservers_core.types import Json
from tests.support.operator.observe_objects import condition, pod, stamp

GPU = "nvidia.com/gpu"
WAITS_FOR_GPU = (
    "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu in flavor gpu-l4, "
    "1 more needed"
)
NEVER = (
    "couldn't assign flavors to pod set main: insufficient quota for nvidia.com/gpu in flavor gpu-l4, previously "
    "considered podsets requests (0) + current podset request (8) > maximum capacity (4)"
)
PREEMPTED = (
    "Preempted to accommodate a workload (UID: u-taker, JobUID: u-job) due to prioritization in the ClusterQueue; "
    "preemptor path: /devservers/interactive; preemptee path: /devservers/interactive"
)


def cluster_queue(
    name: str = "interactive",
    pools: dict[str, dict[str, str]] | None = None,
    used: dict[str, dict[str, str]] | None = None,
    cohort: str = "devservers",
    **limits: dict[str, dict[str, str]],
) -> Json:
    """`pools` and `used` by pool and resource; `borrowingLimit` and `lendingLimit` likewise."""
    pools = {"gpu-l4": {"cpu": "16", "memory": "64Gi", GPU: "4"}} if pools is None else pools
    flavors = [
        {
            "name": pool,
            "resources": [
                {"name": resource, "nominalQuota": nominal}
                | {kind: each[pool][resource] for kind, each in limits.items() if resource in each.get(pool, {})}
                for resource, nominal in quotas.items()
            ],
        }
        for pool, quotas in pools.items()
    ]
    covered = sorted({resource for quotas in pools.values() for resource in quotas})
    reserved = [
        {"name": pool, "resources": [{"name": r, "total": t, "borrowed": "0"} for r, t in each.items()]}
        for pool, each in (used or {}).items()
    ]
    spec = {"cohortName": cohort, "resourceGroups": [{"coveredResources": covered, "flavors": flavors}]}
    return {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "ClusterQueue",
        "metadata": {"name": name},
        "spec": {key: value for key, value in spec.items() if value},
        "status": {"flavorsReservation": reserved, "pendingWorkloads": 1, "conditions": []},
    }


def queues(*each: Json) -> dict[str, Json]:
    return {queue["metadata"]["name"]: queue for queue in each}


def queued_pod(
    name: str = "mydev-1",
    created: float = 1,
    requests: dict[str, str] | None = None,
    pool: str = "",
    *,
    gate: bool = True,
    conditions: list[Json] | None = None,
    **metadata: Any,
) -> Json:
    labels = {
        "devservers.io/name": "mydev",
        "kueue.x-k8s.io/queue-name": "interactive",
        "kueue.x-k8s.io/priority-class": "dev-interactive",
        "kueue.x-k8s.io/managed": "true",
    }
    held = condition("PodScheduled", "False", created, "SchedulingGated", "Scheduling is blocked due to gates")
    made = pod(name, created, [held] if conditions is None else conditions, labels=labels, uid=f"u-{name}", **metadata)
    resources = {"requests": requests or {"cpu": "4", "memory": "16Gi", GPU: "1"}}
    made["spec"]["containers"][0]["resources"] = resources
    made["spec"]["initContainers"][0]["resources"] = {"requests": {"cpu": "250m"}}
    if gate:
        made["spec"]["schedulingGates"] = [{"name": "kueue.x-k8s.io/admission"}]
        del made["spec"]["nodeName"]
    if pool:
        made["spec"]["nodeSelector"] = {"devservers.io/pool": pool}
    return made


def workload(pod_name: str = "mydev-1", created: float = 1, *conditions: Json, **spec: object) -> Json:
    return {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "Workload",
        "metadata": {
            "name": f"pod-{pod_name}-abcde",
            "namespace": "dev-ann",
            "uid": f"w-{pod_name}",
            "creationTimestamp": stamp(created),
            "finalizers": ["kueue.x-k8s.io/resource-in-use"],
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Pod", "name": pod_name, "uid": f"u-{pod_name}", "controller": True}
            ],
        },
        "spec": {
            "queueName": "interactive",
            "priority": 1000,
            "priorityClassRef": {
                "group": "kueue.x-k8s.io", "kind": "WorkloadPriorityClass", "name": "dev-interactive",
            },
            "active": True,
            **spec,
        },
        "status": {"conditions": list(conditions)},
    }  # fmt: skip


def unreserved(message: str, seconds: float = 1, reason: str = "Pending") -> Json:
    return condition("QuotaReserved", "False", seconds, reason, message)


def admission(seconds: float = 2) -> tuple[Json, Json]:
    return (
        condition("QuotaReserved", "True", seconds, "QuotaReserved", "Quota reserved in ClusterQueue interactive"),
        condition("Admitted", "True", seconds, "Admitted", "The workload is admitted"),
    )


def evicted(message: str = PREEMPTED, seconds: float = 20, reason: str = "Preempted") -> Json:
    return condition("Evicted", "True", seconds, reason, message)


def taker() -> Json:
    found = workload("train-1", 19, *admission(21))
    found["metadata"] |= {"namespace": "dev-bob", "uid": "u-taker"}
    found["spec"]["priorityClassRef"]["name"] = "urgent"
    return found
