"""Why a server waits for quota, with numbers, reported once and kept over an eviction."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from devservers.api.devserver import DevServer
from devservers.observe.children import Children
from devservers.observe.devserver import previous_status, serving_pod
from devservers.observe.queueing.flavor_suggestion import suggest_flavor, suggestion_message
from devservers.observe.queueing.state import QueueSnapshot, QueueState, queue_state
from devservers_core.types import Json
from tests.support.operator.observe_objects import (
    SCHEDULED,
    at,
    flavor,
    look,
    ready,
    running_pod,
    server,
    stamp,
    with_status,
)
from tests.support.operator.queue_objects import (
    GPU,
    NEVER,
    PREEMPTED,
    WAITS_FOR_GPU,
    admission,
    cluster_queue,
    evicted,
    queued_pod,
    queues,
    taker,
    unreserved,
    workload,
)

FULL = cluster_queue(used={"gpu-l4": {GPU: "4", "cpu": "15500m", "memory": "16Gi"}})


def state(pod: Json | None, seconds: float = 10, **more: Any) -> QueueState | None:
    fields: dict[str, Any] = {
        "pods": (pod,) if pod else (), "workloads": (), "cluster_queues": queues(FULL),
    } | {key: value for key, value in more.items() if key != "previous"}  # fmt: skip
    return queue_state(pod, QueueSnapshot(**fields), more.get("previous", ()), at(seconds))


def waiting(told: str, reason: str = "Pending", **pod: Any) -> QueueState:
    found = state(queued_pod(**pod), workloads=(workload("mydev-1", 1, unreserved(told, reason=reason)),))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("told", "pod", "words"),
    [
        (
            WAITS_FOR_GPU,
            {},
            "Waits for quota: needs 1 GPU, 0 of 4 are free in pool gpu-l4; starts by itself when one comes free.",
        ),
        # Before Kueue has said anything the queue's numbers say it.
        (
            "",
            {"requests": {GPU: "1"}},
            "Waits for quota: needs 1 GPU, 0 of 4 are free in pool gpu-l4; starts by itself when one comes free.",
        ),
        (
            "",
            {"requests": {GPU: "2"}},
            "Waits for quota: needs 2 GPUs, 0 of 4 are free in pool gpu-l4; starts by itself when 2 come free.",
        ),
        (
            "",
            {"requests": {"cpu": "1", GPU: "1"}, "pool": "gpu-l4"},
            "Waits for quota: needs 1 GPU, 0 of 4 are free in pool gpu-l4; and 1 CPU, 0.5 of 16 are free in pool "
            "gpu-l4; starts by itself when enough comes free.",
        ),
        (
            "",
            {"requests": {"memory": "50000Mi"}, "pool": "gpu-l4"},
            "Waits for quota: needs 49Gi memory, 48Gi of 64Gi are free in pool gpu-l4; starts by itself when enough "
            "comes free.",
        ),
        (
            "Pending the preemption of 1 workload(s)",
            {"requests": {"memory": "1Gi"}, "pool": "other"},
            "Waits for quota: a workload with less priority is making room for it; starts by itself.",
        ),
        (
            "Workload no longer fits after processing another workload",
            {"requests": {"memory": "1Gi"}, "pool": "other"},
            "Waits for its turn in queue interactive; starts by itself.",
        ),
    ],
)
def test_queue_state_of_a_waiting_pod_says_what_is_free(told: str, pod: dict[str, Any], words: str) -> None:
    found = waiting(told, **pod)
    assert (found.reason, found.message) == ("Queued", words)
    assert found.kueue_message == told
    assert found.blocks
    assert found.admitted_at is None
    assert found.settles_after is None


@pytest.mark.parametrize(
    ("told", "pod", "words"),
    [
        (NEVER, {"requests": {GPU: "8"}}, "It can never start: it asks for 8 GPUs, and the whole quota is 4 in pool"),
        # At once, before Kueue has looked.
        ("", {"requests": {GPU: "8"}}, "It can never start: it asks for 8 GPUs, and the whole quota is 4 in pool"),
        ("", {"requests": {"memory": "1Ti", GPU: "1"}}, "asks for 1024Gi memory, and the whole quota is 64Gi in pool"),
        (
            "couldn't assign flavors to pod set main: resource nvidia.com/gpu unavailable in ClusterQueue",
            {},
            "It asks for GPUs, and queue interactive has none to give.",
        ),
        (
            "couldn't assign flavors to pod set main: flavor gpu-l4 doesn't match node affinity",
            {"requests": {GPU: "1"}, "pool": "gpu-a10"},
            "It can never start: queue interactive hasn't enough quota in pool gpu-a10.",
        ),
    ],
)
def test_queue_state_of_a_pod_that_never_fits_says_so(told: str, pod: dict[str, Any], words: str) -> None:
    found = waiting(told, **pod)
    assert found.reason == "ExceedsQuota"
    assert words in found.message
    assert "Choose a smaller flavor" in found.message
    assert found.settles_after is None


@pytest.mark.parametrize(
    ("told", "reason", "words"),
    [
        ("LocalQueue interactive doesn't exist", "QueueNotFound", "There is no queue interactive for it"),
        ("ClusterQueue interactive doesn't exist", "QueueNotFound", "There is no queue interactive for it"),
        ("LocalQueue interactive is inactive", "QueueStopped", "The queue interactive is stopped"),
        ("ClusterQueue interactive is inactive", "QueueStopped", "The queue interactive is stopped"),
    ],
)
def test_queue_state_with_an_absent_or_stopped_queue_says_so(told: str, reason: str, words: str) -> None:
    found = waiting(told, "Inadmissible")
    assert found.reason == reason
    assert words in found.message


def test_queue_state_of_a_deactivated_workload_names_the_command() -> None:
    found = state(queued_pod(), workloads=(workload("mydev-1", 1, active=False),))
    assert found is not None
    assert found.reason == "Deactivated"
    assert "`devctl restart mydev`" in found.message


def test_queue_state_with_reserved_quota_waits_for_checks() -> None:
    held = workload("mydev-1", 1, admission()[0])
    held["status"]["admissionChecks"] = [{"name": "machines", "state": "Pending", "message": ""}]
    found = state(queued_pod(), workloads=(held,))
    assert found is not None
    assert found.reason == "Queued"
    assert "waits until the cluster has room (machines)" in found.message


def test_queue_state_of_an_admitted_workload_has_its_times() -> None:
    found = state(queued_pod(gate=False), workloads=(workload("mydev-1", 1, *admission(4)),))
    assert found == QueueState("Admitted", "", "The workload is admitted", at(1), at(4), blocks=False)


@pytest.mark.parametrize("pod", [None, running_pod()])
def test_queue_state_of_a_pod_in_no_queue_is_none(pod: Json | None) -> None:
    assert state(pod) is None


def test_queue_state_of_a_pod_kueue_does_not_hold_is_none() -> None:
    assert state(queued_pod(gate=False)) is None


def test_queue_state_without_workload_reports_kueue_after_a_while() -> None:
    early, late = state(queued_pod(), 3), state(queued_pod(), 12)
    assert early is not None
    assert early.settles_after == timedelta(seconds=8)
    assert late is not None
    assert late.settles_after is None
    assert late.reason == "KueueUnavailable"
    assert "hasn't processed it yet" in late.message


def test_queue_state_without_kueue_says_whether_the_pod_is_held() -> None:
    free, held = state(queued_pod(gate=False), served=False), state(queued_pod(), served=False)
    assert free is not None
    assert held is not None
    assert (free.reason, free.blocks, held.blocks) == ("KueueUnavailable", False, True)
    assert "It starts without waiting" in free.message
    assert "held until Kueue is back" in held.message


def test_queue_state_ignores_the_workload_of_another_pod() -> None:
    found = state(queued_pod(), workloads=(workload("other-1", 1, *admission()),))
    assert found is not None
    assert found.reason == "KueueUnavailable"


def children(pods: list[Json], workloads: list[Json], known: DevServer, seconds: float, kept: bool = True) -> Json:
    """The arguments of a look at a server whose queue says this."""
    serving = serving_pod(Children(user=None, flavor=None, pods=tuple(pods)))
    found = QueueSnapshot(
        tuple(pods), tuple(each for each in workloads if each["metadata"]["namespace"] == "dev-ann"),
        queues(FULL), workloads, home_kept=kept,
    )  # fmt: skip
    return {"pods": tuple(pods), "queue": queue_state(serving, found, known.status.conditions, at(seconds))}


def admitted(status: Json) -> Json:
    return next((each for each in status["conditions"] if each["type"] == "Admitted"), {})


def test_short_wait_is_not_reported_and_a_quick_start_takes_two_writes() -> None:
    known, written = server(), 0
    steps: list[tuple[float, Json, list[Json]]] = [
        (1, queued_pod(), []),
        (1, queued_pod(), [workload()]),
        (2, queued_pod(gate=False), [workload("mydev-1", 1, *admission(2))]),
        (2, queued_pod(gate=False, conditions=[SCHEDULED]), [workload("mydev-1", 1, *admission(2))]),
        (6, running_pod() | {"metadata": queued_pod()["metadata"]}, [workload("mydev-1", 1, *admission(2))]),
    ]
    for seconds, pod, workloads in steps:
        status = look(known, seconds, **children([pod], workloads, known, seconds)).status
        written += status != previous_status(known)
        known = with_status(known, status)
    stages = [(each["stage"], each["at"]) for each in previous_status(known)["timeline"]]
    assert stages[:4] == [
        ("Accepted", stamp(0)), ("Queued", stamp(1)), ("Admitted", stamp(2)), ("Scheduled", stamp(2)),
    ]  # fmt: skip
    assert admitted(previous_status(known))["message"] == "The workload is admitted"
    assert written <= 2


def test_long_wait_is_pending_with_kueues_message_in_admitted() -> None:
    known = server()
    loads = [workload("mydev-1", 1, unreserved(WAITS_FOR_GPU))]
    first = look(known, 2, **children([queued_pod()], loads, known, 2))
    assert (first.status["phase"], ready(first.status)["reason"]) == ("Starting", "Starting")
    assert first.requeue_after == timedelta(seconds=1)
    found = look(known, 5, **children([queued_pod()], loads, known, 5))
    assert (found.status["phase"], ready(found.status)["reason"]) == ("Pending", "Queued")
    assert admitted(found.status)["message"] == WAITS_FOR_GPU
    assert [(each.type, each.reason) for each in found.events] == [("Normal", "Queued")]
    again = with_status(known, found.status)
    assert look(again, 60, **children([queued_pod()], loads, again, 60)).status == found.status


def test_eviction_is_reported_until_the_server_is_admitted_again() -> None:
    known = server(persistentHomeSize="10Gi")
    ending = queued_pod(gate=False, deletionTimestamp=stamp(21), conditions=[SCHEDULED])
    lost = workload("mydev-1", 1, *admission(2), evicted())
    # Kueue has said so, and for a moment the pod runs on.
    ready_pod = running_pod() | {"metadata": {**ending["metadata"], "deletionTimestamp": None}}
    running = look(known, 20, **children([ready_pod], [lost, taker()], known, 20)).status
    assert (running["phase"], admitted(running)["reason"]) == ("Running", "Preempted")
    known = with_status(known, running)
    # The pod goes.
    first = look(known, 21, **children([ending], [lost, taker()], known, 21)).status
    assert (first["phase"], ready(first)["reason"]) == ("Pending", "Preempted")
    assert "Its place was taken by a workload of bob with priority urgent. Its home is kept" in ready(first)["message"]
    assert admitted(first)["message"] == PREEMPTED
    # What took the place is gone before the old pod is: the words stay, nothing is written.
    known = with_status(known, first)
    assert look(known, 22, **children([ending], [lost], known, 22)).status == first
    # The next pod is there, its Workload not yet.
    between = look(known, 22, **children([queued_pod("mydev-2", 22)], [], known, 22)).status
    assert ready(between)["message"] == ready(first)["message"]
    # The next pod waits, the old one and what took its place are gone.
    known = with_status(known, between)
    next_pod, wait = queued_pod("mydev-2", 22), workload("mydev-2", 22, unreserved(WAITS_FOR_GPU, 22))
    second = look(known, 60, **children([next_pod], [wait], known, 60)).status
    assert ready(second)["reason"] == "Preempted"
    assert ready(second)["message"] == (
        "Its place was taken by a workload of bob with priority urgent. Its home is kept. Waits for quota: needs 1 "
        "GPU, 0 of 4 are free in pool gpu-l4; starts by itself when one comes free."
    )
    known = with_status(known, second)
    assert look(known, 90, **children([next_pod], [wait], known, 90)).status == second
    # It has a place again: nothing of that is left.
    given = workload("mydev-2", 22, *admission(100))
    third = look(known, 101, **children([queued_pod("mydev-2", 22, gate=False)], [given], known, 101)).status
    assert admitted(third)["status"] == "True"
    assert ready(third)["reason"] == "Starting"


@pytest.mark.parametrize(
    ("reason", "told", "words", "shown"),
    [
        ("Preempted", PREEMPTED.replace("u-taker", "u-unknown"), "a workload with a better claim to it", "Preempted"),
        (
            "Preempted",
            PREEMPTED.replace("prioritization in the ClusterQueue", "reclamation within the cohort"),
            "was only borrowed, and went back to a workload of bob",
            "Preempted",
        ),
        ("PodsReadyTimeout", "Exceeded the PodsReady timeout dev-ann/x", "It wasn't ready in time", "Evicted"),
        ("ClusterQueueStopped", "The ClusterQueue is stopped", "An administrator stopped its queue", "Evicted"),
        ("NodeFailures", "node lost", "Its node failed", "Evicted"),
        ("SomethingNew", "who knows", "Kueue took its place away (SomethingNew)", "Evicted"),
    ],
)
def test_eviction_message_names_the_cause(reason: str, told: str, words: str, shown: str) -> None:
    known = server()
    ending = queued_pod(gate=False, deletionTimestamp=stamp(21))
    lost = workload("mydev-1", 1, *admission(2), evicted(told, reason=reason))
    status = look(known, 21, **children([ending], [lost, taker()], known, 21, kept=False)).status
    assert ready(status)["reason"] == shown
    assert words in ready(status)["message"]
    assert "home is kept" not in ready(status)["message"]


def test_stopped_server_has_no_admitted_condition() -> None:
    known = server(running=False)
    loads = [workload("mydev-1", 1, unreserved(WAITS_FOR_GPU))]
    status = look(known, 5, **children([], loads, known, 5)).status
    assert admitted(status) == {}
    assert status["phase"] == "Stopped"


def sized(name: str, gpus: str, cpu: str = "4", pool: str = "gpu-l4") -> Any:
    amounts = {"cpu": cpu, "memory": "8Gi"} | ({GPU: gpus} if gpus != "0" else {})
    found = flavor(resources={"limits": amounts}, nodeSelector={"devservers.io/pool": pool})
    return found.model_copy(update={"metadata": found.metadata.model_copy(update={"name": name})})


@pytest.mark.parametrize(
    ("allowed", "name"),
    [(("*",), "four"), (("one", "eight"), "one"), (("none",), "none"), (("eight",), None)],
)
def test_suggest_flavor_is_allowed_and_fits(allowed: tuple[str, ...], name: str | None) -> None:
    known = [sized("eight", "8"), sized("four", "4"), sized("one", "1"), sized("none", "0"), sized("large", "1", "64")]
    assert suggest_flavor(known[0], known, allowed, queues(FULL)) == name
    assert (name or "Ask an administrator") in suggestion_message(name)


def test_rejection_by_kueues_webhook_is_kueue_unavailable() -> None:
    from tests.support.operator.observe_objects import failing_deployment

    text = (
        'Internal error occurred: failed calling webhook "mpod.kb.io": failed to call webhook: Post '
        '"https://kueue-webhook-service.kueue-system.svc:443/mutate--v1-pod?timeout=10s": no endpoints available for '
        'service "kueue-webhook-service"'
    )
    status = look(server(), 10, workload=failing_deployment(text)).status
    assert (status["phase"], ready(status)["reason"]) == ("Pending", "KueueUnavailable")
    assert "doesn't answer" in ready(status)["message"]
