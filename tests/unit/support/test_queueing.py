"""The report of the node tests' queues, from objects as the API server gives them."""

from __future__ import annotations

from typing import Any, cast

from tests.support.node import queueing
from tests.support.node.person import Platform

PENDING = [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "waits"}]
OBJECTS: dict[str, list[dict[str, Any]]] = {
    "pods": [
        {
            "metadata": {"name": "second"},
            "spec": {"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]},
            "status": {"phase": "Pending", "conditions": PENDING},
        }
    ],
    "jobs.batch": [{"metadata": {"name": "train"}, "spec": {"suspend": True}, "status": {}}],
    "workloads.kueue.x-k8s.io": [{"metadata": {"name": "pod-second-1"}, "spec": {}}],
    "clusterqueues.kueue.x-k8s.io": [{"metadata": {"name": "interactive"}, "status": {"pendingWorkloads": 1}}],
    "events": [
        {
            "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
            "involvedObject": {"kind": "Pod", "name": "second"},
            "reason": "Pulling",
            "message": "the image",
        }
    ],
}


class _Cluster:
    def get(self, kind: str, *_: str) -> dict[str, Any]:
        return {"items": OBJECTS[kind]}


def test_state_lists_phases_conditions_workloads_queues_and_events() -> None:
    lines = queueing.state(cast("Platform", _Cluster()), "dev-ann").splitlines()
    assert lines[0].startswith("Pod second: phase Pending, node None, gates ['kueue.x-k8s.io/admission'], ")
    assert lines[0].endswith("conditions ['PodScheduled=False (SchedulingGated: waits)']")
    assert lines[1].startswith("Job train: suspend True, ")
    assert lines[2] == "Workload pod-second-1: active None, conditions []"
    assert "'pendingWorkloads': 1" in lines[3]
    assert lines[4] == "Event 2026-01-01T00:00:00Z Pod second: Pulling: the image"
