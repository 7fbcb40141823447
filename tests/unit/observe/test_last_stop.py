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
