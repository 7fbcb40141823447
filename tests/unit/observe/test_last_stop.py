"""Every end of a server has a reason of the closed set."""

from __future__ import annotations

import pytest

from devservers.observe.devserver import Children, observe
from devservers.observe.ends.interruption import _DISRUPTIONS
from devservers.observe.ends.last_stop import interruption_reason
from devservers.observe.lifetime.idle import Activity
from devservers.observe.lifetime.lifecycle import decide
from devservers_core.names import STOP_REASONS
from devservers_core.types import Json
from tests.support.operator.observe_objects import (
    at,
    ended,
    flavor,
    look,
    running_pod,
    server,
    stamp,
    user,
    with_status,
)


@pytest.mark.parametrize(
    ("target", "phase_fields", "reason"),
    [
        ("PreemptionByScheduler", {}, "preempted"),
        ("DeletionByTaintManager", {}, "nodeLost"),
        ("DeletionByPodGC", {}, "nodeLost"),
        ("EvictionByEvictionAPI", {}, "clusterDrained"),
        (
            "TerminationByKubelet",
            {"reason": "Evicted", "message": "Pod ephemeral local storage usage exceeds the total limit 1Gi."},
            "evictedForDisk",
        ),
        (
            "TerminationByKubelet",
            {"reason": "Evicted", "message": "The node was low on resource: ephemeral-storage. Threshold"},
            "evictedForDisk",
        ),
        (
            "TerminationByKubelet",
            {"reason": "Evicted", "message": "The node was low on resource: memory. Threshold quantity: 100Mi"},
            "outOfMemory",
        ),
        (
            "TerminationByKubelet",
            {"reason": "Terminated", "message": "Pod was terminated in response to imminent node shutdown."},
            "clusterDrained",
        ),
    ],
)
def test_last_stop_of_an_interrupted_server_has_the_cause(target: str, phase_fields: Json, reason: str) -> None:
    running = with_status(server(), look(server(), 10, pods=(running_pod(),)).status)
    lost = running_pod()
    lost["status"] |= {"phase": "Failed", **phase_fields}
    lost["status"]["conditions"].append({"type": "DisruptionTarget", "status": "True", "reason": target})
    status = look(running, 60, pods=(lost,)).status
    assert (status["lastStop"]["at"], status["lastStop"]["reason"]) == (stamp(60), reason)
    assert "Everything that ran in it has ended" in status["lastStop"]["message"]
    again = look(with_status(server(), status), 70, pods=(running_pod("mydev-2", 62),)).status
    assert again["lastStop"] == status["lastStop"]


def test_last_stop_of_a_container_out_of_memory_is_its_end() -> None:
    pod = running_pod(lastState=ended("OOMKilled", 137, 50), restartCount=1)
    status = look(server(), 60, pods=(pod,)).status
    assert (status["lastStop"]["at"], status["lastStop"]["reason"]) == (stamp(50), "outOfMemory")
    assert look(with_status(server(), status), 90, pods=(pod,)).status["lastStop"] == status["lastStop"]


@pytest.mark.parametrize(
    ("spec", "owner", "reason"),
    [
        ({"running": False}, {}, "user"),
        ({"lifecycle": {"timeToLive": "1m"}}, {}, "expired"),
        ({}, {"suspended": True}, "suspended"),
    ],
)
def test_last_stop_is_recorded_once_with_its_time(spec: Json, owner: Json, reason: str) -> None:
    running = look(server(lifecycle=spec.get("lifecycle", {})), 10, pods=(running_pod(),)).status
    stopping = look(server(running, **spec), 90, user(**owner), pods=(running_pod(),)).status
    assert (stopping["lastStop"]["at"], stopping["lastStop"]["reason"]) == (stamp(90), reason)
    assert stopping["lastStop"]["message"]
    stopped = look(server(stopping, **spec), 95, user(**owner)).status
    assert stopped["lastStop"] == stopping["lastStop"]


def test_last_stop_has_the_out_of_memory_count_of_the_last_report() -> None:
    running = look(server(), 10, pods=(running_pod(),)).status
    stopped = server(running, running=False)
    activity = Activity(at(80), "cpu", oom_kills=3)
    decision = decide(stopped, user(), at(90), flavor(), activity=activity)
    children = Children(user=user(), flavor=flavor(), pods=(running_pod(),))
    status = observe(stopped, children, decision, at(90)).status
    assert status["lastStop"]["oomKills"] == 3
    assert status["lastActivity"] == {"at": stamp(80), "source": "cpu"}


def test_server_that_never_ran_has_no_last_stop() -> None:
    assert "lastStop" not in look(server(running=False), 50).status


@pytest.mark.parametrize("reason", [*(name for name, _ in _DISRUPTIONS.values()), "PodLost", "PodDeleted", "New"])
def test_interruption_reason_is_of_the_closed_set(reason: str) -> None:
    assert interruption_reason(reason, "It ended.") in STOP_REASONS


def terminated(message: str, reason: str = "Error", code: int = 143, seconds: float = 58) -> Json:
    """The state of a container that ended and left a message."""
    state = ended(reason, code, seconds)
    state["terminated"]["message"] = message
    return state


@pytest.mark.parametrize(
    ("target", "fields", "reason"),
    [
        ("PreemptionByScheduler", {}, "preempted"),
        ("DeletionByTaintManager", {}, "nodeLost"),
        ("EvictionByEvictionAPI", {}, "clusterDrained"),
        ("TerminationByKubelet", {"reason": "Evicted", "message": "ephemeral-storage is low"}, "evictedForDisk"),
        ("TerminationByKubelet", {"reason": "Evicted", "message": "memory is low"}, "outOfMemory"),
    ],
)  # fmt: skip
def test_end_that_nobody_decided_is_recorded_with_what_the_pod_left(target: str, fields: Json, reason: str) -> None:
    running = with_status(server(), look(server(), 10, pods=(running_pod(),)).status)
    lost = running_pod(state=terminated('{"lines": ["epoch 7"], "oomKills": 3}'))
    lost["status"] |= {"phase": "Failed", **fields}
    lost["status"]["conditions"].append({"type": "DisruptionTarget", "status": "True", "reason": target})
    seen = look(running, 60, pods=(lost, running_pod("mydev-2", 59)))
    assert seen.end is not None
    assert (seen.end.at, seen.end.reason, seen.end.pod) == (at(60), reason, "mydev-1")
    assert (seen.end.lines, seen.end.oom_kills) == (("epoch 7",), 3)
    assert seen.status["lastStop"]["oomKills"] == 3
    assert seen.end.message == seen.status["lastStop"]["message"]
    assert look(with_status(server(), seen.status), 70, pods=(running_pod("mydev-2", 59),)).end is None


def test_end_of_a_pod_that_is_gone_has_what_remains_of_it() -> None:
    running = with_status(server(), look(server(), 10, pods=(running_pod(),)).status)
    remains = running_pod(state=terminated("epoch 7\n"))
    seen = look(running, 60, former_pods=(remains,))
    assert seen.end is not None
    assert (seen.end.reason, seen.end.lines) == ("nodeLost", ("epoch 7",))


def test_end_of_a_container_out_of_memory_has_the_end_of_its_log() -> None:
    pod = running_pod(lastState=terminated("epoch 7\nepoch 8\n", "OOMKilled", 137, 50), restartCount=1)
    seen = look(server(), 60, pods=(pod,))
    assert seen.end is not None
    assert (seen.end.at, seen.end.reason, seen.end.pod) == (at(50), "outOfMemory", "mydev-1")
    assert (seen.end.lines, seen.end.oom_kills) == (("epoch 7", "epoch 8"), 1)
    assert look(with_status(server(), seen.status), 90, pods=(pod,)).end is None


def test_stop_by_a_decision_is_no_end_of_that_kind() -> None:
    running = with_status(server(), look(server(), 10, pods=(running_pod(),)).status)
    gone = running_pod(state=terminated("x", "OOMKilled"), deletionTimestamp=stamp(50))
    stopped = with_status(server(running=False), running.status.to_dict())
    assert look(stopped, 60, pods=(gone,)).end is None
