"""The status of a distributed server: how far the one of its replicas is that has the most before it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from devservers.observe.devserver import Children, serving_pod
from devservers.observe.lifetime.idle import Activity, of_all
from devservers.observe.pods import least_ready
from devservers.observe.progress.warning_events import EventQuery, event_query, newest_message
from devservers.observe.queueing.pending_reason import demand_of
from devservers.observe.queueing.state import QueueSnapshot, queue_state
from devservers_core.types import Json
from tests.support.operator.observe_objects import (
    SCHEDULED,
    at,
    condition,
    flavor,
    look,
    pod,
    ready,
    running_pod,
    server,
    stamp,
    user,
    waiting,
)

DISTRIBUTED: Any = {"mode": "distributed", "distributed": {"replicas": 2}}
STATEFUL_SET: Json = {
    "kind": "StatefulSet",
    "metadata": {
        "name": "mydev", "namespace": "dev-ann", "uid": "u-set", "creationTimestamp": stamp(0), "generation": 1,
        "labels": {"kueue.x-k8s.io/queue-name": "interactive"},
    },
    "spec": {"replicas": 2},
    "status": {"replicas": 2, "observedGeneration": 1},
}  # fmt: skip


def observed(*all_pods: Json, **children: Any) -> Json:
    fields: Any = {"pods": all_pods, "workload": STATEFUL_SET, "replicas": 2} | children
    return look(server(**DISTRIBUTED), 10, **fields).status


def test_all_replicas_ready_is_running_with_the_first_ones_pod() -> None:
    status = observed(running_pod("mydev-1"), running_pod("mydev-0"))
    assert (status["phase"], status["podName"], status["ready"]) == ("Running", "mydev-0", "2/2")


def test_replica_that_can_not_start_is_the_servers_reason() -> None:
    stuck = pod("mydev-1", 1, [SCHEDULED], {**waiting("ImagePullBackOff", "no such image"), "ready": False})
    status = observed(running_pod("mydev-0"), stuck)
    assert ready(status)["reason"] == "ImagePullFailed"
    assert (status["ready"], status["readyReplicas"], status["replicas"]) == ("1/2", 1, 2)


def test_missing_replica_is_no_serving_pod() -> None:
    children = Children(user=user(), flavor=flavor(), pods=(running_pod("mydev-0"),), replicas=2)
    assert serving_pod(children) is None
    status = observed(running_pod("mydev-0"))
    assert (status["phase"], status["ready"]) == ("Starting", "1/2")


def test_least_ready_prefers_the_pod_with_the_least_behind_it_then_the_lower_number() -> None:
    begun, unscheduled = pod("mydev-0", 1, [SCHEDULED]), pod("mydev-1", 1)
    assert least_ready([begun, unscheduled], 2) == unscheduled
    assert least_ready([running_pod("mydev-10"), running_pod("mydev-9")], 2) == running_pod("mydev-9")


def test_refused_pods_are_explained_by_the_stateful_sets_events() -> None:
    """Unlike a Deployment, a StatefulSet has no condition that says so."""
    lacking = STATEFUL_SET | {"status": {"replicas": 0, "observedGeneration": 1}}
    query = event_query(server(**DISTRIBUTED), lacking, None, at(60))
    assert isinstance(query, EventQuery)
    assert (query.kind, query.name, query.reasons) == ("StatefulSet", "mydev", ("FailedCreate",))
    assert event_query(server(**DISTRIBUTED), lacking, None, at(1)) == timedelta(seconds=4)
    assert event_query(server(**DISTRIBUTED), STATEFUL_SET, None, at(60)) is None
    text = (
        'create Pod mydev-0 in StatefulSet mydev failed error: pods "mydev-0" is forbidden: exceeded quota: dev-user, '
        "requested: requests.cpu=2, used: requests.cpu=7, limited: requests.cpu=8"
    )
    assert ready(observed(workload=lacking, event_message=text))["reason"] == "QuotaExceeded"


def test_refusal_of_a_replica_stays_its_cause_until_kubernetes_tries_again() -> None:
    """The StatefulSet controller waits up to 1000 seconds between two tries."""
    lacking = STATEFUL_SET | {"status": {"replicas": 1, "observedGeneration": 1}}
    last_try = 7200

    def cause(seconds: float) -> str | None:
        query = event_query(server(**DISTRIBUTED), lacking, None, at(seconds))
        assert isinstance(query, EventQuery)
        about = {"kind": "StatefulSet", "name": "mydev"}
        refused = {"involvedObject": about, "reason": "FailedCreate", "message": "no", "lastTimestamp": stamp(last_try)}
        return newest_message(query, [refused])

    assert cause(last_try + 1000) == "no"
    assert cause(last_try + 3600) is None


def test_nccl_without_gpus_is_a_condition_of_a_running_server() -> None:
    asked: Any = {"mode": "distributed", "distributed": {"replicas": 2, "backend": "nccl"}}
    replicas = (running_pod("mydev-0"), running_pod("mydev-1"))
    fields: Any = {"pods": replicas, "workload": STATEFUL_SET, "replicas": 2}
    conditions = look(server(**asked), 10, **fields).status["conditions"]
    (found,) = [each for each in conditions if each["type"] == "BackendReplaced"]
    assert "talk by gloo" in found["message"]
    gpus = flavor(resources={"limits": {"nvidia.com/gpu": 1}, "requests": {"nvidia.com/gpu": 1}})
    conditions = look(server(**asked), 10, **fields, flavor=gpus).status["conditions"]
    assert "BackendReplaced" not in [each["type"] for each in conditions]


def test_nccl_settings_without_gpus_are_a_condition_too() -> None:
    asked: Any = {"mode": "distributed", "distributed": {"replicas": 2, "ncclSettings": {"NCCL_DEBUG": "INFO"}}}
    fields: Any = {"pods": (running_pod("mydev-0"), running_pod("mydev-1")), "workload": STATEFUL_SET, "replicas": 2}
    conditions = look(server(**asked), 10, **fields).status["conditions"]
    (found,) = [each for each in conditions if each["type"] == "BackendReplaced"]
    assert "Leave ncclSettings out" in found["message"]
    conditions = look(server(**DISTRIBUTED), 10, **fields).status["conditions"]
    assert "BackendReplaced" not in [each["type"] for each in conditions]


def gated(name: str) -> Json:
    made = pod(name)
    made["spec"] |= {"nodeName": "", "schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]}
    made["spec"]["containers"][0]["resources"] = {"requests": {"nvidia.com/gpu": "3"}}
    return made


def test_queue_state_is_that_of_the_stateful_sets_workload_for_all_replicas() -> None:
    workload = {
        "metadata": {
            "name": "w", "uid": "w", "creationTimestamp": stamp(1),
            "ownerReferences": [{"kind": "StatefulSet", "uid": "u-set"}],
        },
        "status": {"conditions": [condition("QuotaReserved", "False", 1, "Pending", "no quota")]},
    }  # fmt: skip
    snapshot = QueueSnapshot((gated("mydev-0"),), (workload,), {}, holder=STATEFUL_SET, replicas=2)
    state = queue_state(gated("mydev-0"), snapshot, (), at(10))
    assert state is not None
    assert (state.reason, state.admitted_at) == ("Queued", None)
    admitted = workload | {"status": {"conditions": [condition("Admitted", "True", 4)]}}
    snapshot = QueueSnapshot((gated("mydev-0"),), (admitted,), {}, holder=STATEFUL_SET, replicas=2)
    state = queue_state(gated("mydev-0"), snapshot, (), at(10))
    assert state is not None
    assert state.admitted_at == at(4)


def test_demand_counts_every_replica() -> None:
    assert demand_of(gated("mydev-0"), "interactive", 2).requests["nvidia.com/gpu"] == 6


def test_activity_of_all_is_the_latest_and_unknown_if_one_is() -> None:
    early, late = Activity(last=at(1), source="cpu", oom_kills=1), Activity(last=at(9), source="ssh", oom_kills=2)
    both = of_all([early, late], 2)
    assert (both.last, both.source, both.oom_kills) == (at(9), "ssh", 3)
    assert of_all([early, Activity(problem="silent")], 2).problem == "silent"
    assert of_all([early, Activity(problem="silent")], 2).last is None
    assert of_all([early], 2).last is None
    assert not of_all([early, Activity(agent=False)], 2).agent
