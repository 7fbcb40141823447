"""The condition Interrupted: reported once with its cause, kept until the owner acts."""

from __future__ import annotations

from typing import Any

import pytest

from devservers_core.names import ANNOTATION_INPUT_HASH, ANNOTATION_RESTARTED_AT
from devservers_core.types import Json
from tests.support.operator.observe_objects import condition, look, running_pod, server, stamp, with_status

STARTED_WITH = {ANNOTATION_INPUT_HASH: "a"}
FULL = "Pod ephemeral local storage usage exceeds the total limit of containers 100Mi"
DEPLOYMENT = {"metadata": {"annotations": STARTED_WITH}, "spec": {"replicas": 1}}


def interrupted(status: Json) -> Json | None:
    return next((each for each in status["conditions"] if each["type"] == "Interrupted"), None)


def ending(reason: str = "", *, annotations: dict[str, str] | None = None, message: str = "") -> Json:
    found = running_pod(first=1)
    found["metadata"] |= {"deletionTimestamp": stamp(40), "annotations": annotations or STARTED_WITH}
    if reason:
        found["status"]["conditions"].append(condition("DisruptionTarget", "True", 10, reason, "told"))
    found["status"]["message"] = message
    return found


def failed(pod: Json) -> Json:
    """As devserver-agent leaves a pod: its exit code is that of a signal."""
    pod["status"]["phase"] = "Failed"
    return pod


def ran(**spec: Any) -> Json:
    return look(server(**spec), 8, pods=(running_pod(),), workload=DEPLOYMENT).status


@pytest.mark.parametrize(
    ("pod", "reason", "words"),
    [
        (ending("EvictionByEvictionAPI"), "Evicted", "evicted from its node node-1, which is what a drain does"),
        (ending("DeletionByTaintManager"), "NodeLost", "node-1 stopped answering"),
        (ending("DeletionByPodGC"), "NodeLost", "node-1 is gone"),
        (ending("TerminationByKubelet", message="low on memory"), "EndedByNode", "node-1 ended it: low on memory"),
        (ending("PreemptionByScheduler"), "Preempted", "more priority"),
        (ending(), "PodDeleted", "not by you"),
        (failed(ending()), "PodDeleted", "not by you"),
        (failed(ending(message=FULL)), "EndedByNode", f"node-1 ended it: {FULL}"),
    ],
)
def test_lost_pod_is_reported_with_its_cause(pod: Json, reason: str, words: str) -> None:
    known = with_status(server(persistentHomeSize="1Gi"), ran(persistentHomeSize="1Gi"))
    found = look(known, 11, pods=(pod,), workload=DEPLOYMENT)
    condition_now = interrupted(found.status)
    assert condition_now is not None
    assert condition_now["reason"] == reason
    assert words in condition_now["message"]
    assert "Its home is kept." in condition_now["message"]
    assert [each.type for each in found.events if each.reason == reason] == ["Warning"]


def test_interruption_is_kept_until_the_owner_restarts() -> None:
    first = look(with_status(server(), ran()), 11, pods=(ending("EvictionByEvictionAPI"),), workload=DEPLOYMENT)
    again = look(with_status(server(), first.status), 30, pods=(running_pod("mydev-2", 12),), workload=DEPLOYMENT)
    assert interrupted(again.status) == interrupted(first.status)
    assert not [each for each in again.events if each.reason == "Evicted"]
    restarted = server(annotations={ANNOTATION_RESTARTED_AT: stamp(40)})
    later = look(with_status(restarted, again.status), 50, pods=(running_pod("mydev-3", 42),), workload=DEPLOYMENT)
    assert interrupted(later.status) is None


@pytest.mark.parametrize("annotations", [{ANNOTATION_INPUT_HASH: "former"}, {"none": "of ours"}])
def test_pod_replaced_by_a_change_is_no_interruption(annotations: dict[str, str]) -> None:
    pod = ending(annotations=annotations)
    assert interrupted(look(with_status(server(), ran()), 11, pods=(pod,), workload=DEPLOYMENT).status) is None


def test_stop_is_no_interruption() -> None:
    known = with_status(server(running=False), ran())
    assert interrupted(look(known, 11, pods=(ending(),), workload=DEPLOYMENT).status) is None


def test_pod_deleted_unobserved_is_reported_as_lost() -> None:
    found = look(with_status(server(), ran()), 60, pods=(running_pod("mydev-2", 50),), workload=DEPLOYMENT)
    condition_now = interrupted(found.status)
    assert condition_now is not None
    assert condition_now["reason"] == "PodLost"
    assert "files in /home/dev are lost" in condition_now["message"]
