"""The phase of a server, its reason, and a message that says what to do."""

from __future__ import annotations

from datetime import timedelta

import pytest

from devservers.api.devserver_status import PHASES
from devservers.api.user import UserStatus
from devservers.observe import pods
from devservers.observe.devserver import Children, observe
from devservers.observe.lifetime.lifecycle import Decision
from devservers_core.types import Json
from tests.support.operator.observe_objects import (
    SCHEDULED,
    at,
    condition,
    ended,
    failing_deployment,
    look,
    pod,
    ready,
    running_pod,
    server,
    stamp,
    user,
    waiting,
    with_status,
)

QUOTA = (
    'pods "mydev-6c9-x2x" is forbidden: exceeded quota: dev-user, requested: requests.cpu=2,requests.memory=4Gi, '
    "used: requests.cpu=7,requests.memory=8Gi, limited: requests.cpu=8,requests.memory=8Gi"
)
UNSCHEDULABLE = condition("PodScheduled", "False", 1, "Unschedulable", "0/3 nodes are available: 3 Insufficient cpu.")


@pytest.mark.parametrize(
    ("children", "phase", "reason", "words"),
    [
        ({}, "Starting", "Starting", "Waiting for Kubernetes to make the pod."),
        ({"user": None}, "Pending", "OwnerNotFound", "no user ann"),
        ({"flavor": None}, "Pending", "FlavorNotFound", "no flavor cpu-small"),
        ({"missing_claims": ("data", "a")}, "Pending", "VolumeNotFound", "no volume claim a, data"),
        ({"workload": failing_deployment(QUOTA)}, "Pending", "QuotaExceeded", "2 CPU and 4Gi memory"),
        (
            {"workload": failing_deployment('pods "x" is forbidden: violates PodSecurity "restricted:latest": a')},
            "Pending",
            "PodRefused",
            "security rules",
        ),
        (
            {"workload": failing_deployment('admission webhook "a.b" denied the request: no')},
            "Pending",
            "PodRefused",
            "webhook",
        ),
        ({"pods": (pod(),)}, "Starting", "Starting", "Waiting for a node."),
        ({"pods": (pod(conditions=[UNSCHEDULABLE]),)}, "Pending", "Unschedulable", "enough free CPU"),
        ({"pods": (pod(conditions=[SCHEDULED]),)}, "Starting", "Starting", "Mounting volumes"),
        (
            {"pods": (pod(conditions=[SCHEDULED], main=waiting("ImagePullBackOff", "manifest unknown")),)},
            "Starting",
            "ImagePullFailed",
            "alpine:3 doesn't exist",
        ),
        (
            {"pods": (pod(conditions=[SCHEDULED], init=waiting("ErrImagePull", "connection refused")),)},
            "Starting",
            "ImagePullFailed",
            "ssh:1 can't be fetched",
        ),
        (
            {"pods": (pod(conditions=[SCHEDULED], main=waiting("CreateContainerConfigError", "no such key")),)},
            "Starting",
            "PodRefused",
            "no such key",
        ),
        (
            {
                "pods": (
                    pod(
                        conditions=[SCHEDULED],
                        main=waiting("CreateContainerConfigError", 'secret "user-secret-hf" not found'),
                    ),
                )
            },
            "Starting",
            "SecretNotFound",
            "The secret hf doesn't exist. `devctl secret set hf` makes it, and the server starts by itself then. "
            "All your servers get it by your set-up: see `devctl setup show`.",
        ),
        (
            {
                "pods": (
                    pod(
                        conditions=[SCHEDULED],
                        main=waiting(
                            "CreateContainerConfigError", "couldn't find key id in Secret dev-ann/user-secret-aws"
                        ),
                    ),
                )
            },
            "Starting",
            "SecretNotFound",
            "The secret aws has no key id. `devctl secret set aws id` makes it",
        ),
        (
            {
                "pods": (
                    pod(
                        conditions=[SCHEDULED],
                        main=waiting("CrashLoopBackOff", "back-off", lastState=ended("Error", 137, 9), restartCount=3),
                    ),
                )
            },
            "Failed",
            "CrashLooping",
            "signal 9",
        ),
        (
            {
                "pods": (
                    pod(
                        conditions=[SCHEDULED],
                        main=waiting("CrashLoopBackOff", "", lastState=ended("OOMKilled", 137, 9), restartCount=3),
                    ),
                )
            },
            "Failed",
            "CrashLooping",
            "running out of memory. Choose a larger flavor",
        ),
        (
            {"pods": (pod(conditions=[SCHEDULED], main=waiting("RunContainerError", "exec format error")),)},
            "Failed",
            "CrashLooping",
            "exec format error",
        ),
        ({"pods": (running_pod(),)}, "Running", "Running", "It is running."),
        ({"pods": (running_pod(),), "flavor": None}, "Running", "Running", "It is running."),
        ({"pods": (running_pod(),), "user": None}, "Running", "Running", "It is running."),
        (
            {"pods": (running_pod(lastState=ended("OOMKilled", 137, 9), restartCount=1),)},
            "Running",
            "Running",
            f"started again at {stamp(9)} after running out of memory",
        ),
        ({"pods": (pod(deletionTimestamp=stamp(5)),)}, "Starting", "Starting", "former pod"),
    ],
)
def test_phase_of_a_server_that_should_run_by_its_children(children: Json, phase: str, reason: str, words: str) -> None:
    status = look(server(owner="ann"), 60, **children).status
    assert status["phase"] == phase
    assert phase in PHASES
    assert ready(status)["reason"] == reason
    assert words in ready(status)["message"]
    assert ready(status)["status"] == ("True" if phase == "Running" else "False")


def test_phase_of_a_pod_on_a_failed_node_names_the_node() -> None:
    lost = running_pod()
    lost["status"]["conditions"][-1]["status"] = "False"
    status = look(server(), 60, pods=(lost,)).status
    assert (status["phase"], ready(status)["reason"]) == ("Starting", "Starting")
    assert "node-1 doesn't answer" in ready(status)["message"]


@pytest.mark.parametrize(
    ("spec", "owner", "reason", "stop_reason", "words"),
    [
        ({"running": False}, {}, "Stopped", "user", "devctl start mydev"),
        ({"lifecycle": {"timeToLive": "1m"}}, {}, "Expired", "expired", "time to live of 1m"),
        ({"lifecycle": {"expirationTime": stamp(10)}}, {}, "Expired", "expired", "expirationTime"),
        ({"owner": "ann"}, {"suspended": True}, "OwnerSuspended", "suspended", "ann is suspended"),
    ],
)
def test_phase_of_a_stopped_server_has_the_stop_reason(
    spec: Json, owner: Json, reason: str, stop_reason: str, words: str
) -> None:
    stopping = look(server(**spec), 90, user(**owner), pods=(running_pod(),)).status
    assert stopping["phase"] == "Stopping"
    stopped = look(server(stopping, **spec), 95, user(**owner)).status
    assert stopped["phase"] == "Stopped"
    assert ready(stopped)["reason"] == reason
    assert stopped["stopReason"] == stop_reason
    assert words in ready(stopped)["message"]
    assert "podName" not in stopped


def test_phase_of_a_server_without_owner_is_owner_not_found() -> None:
    known, halted = server(owner="ann"), Decision(running=False)
    stopping = observe(known, Children(None, None, pods=(running_pod(),)), halted, at(60)).status
    assert (stopping["phase"], ready(stopping)["reason"]) == ("Stopping", "OwnerNotFound")
    pending = observe(known, Children(None, None), halted, at(60)).status
    assert (pending["phase"], ready(pending)["reason"]) == ("Pending", "OwnerNotFound")


def test_phase_of_a_stopped_server_is_stopping_until_its_pod_ends() -> None:
    ending = running_pod()
    ending["metadata"]["deletionTimestamp"] = stamp(30)
    assert look(server(running=False), 40, pods=(ending,)).status["phase"] == "Stopping"
    ending["status"]["phase"] = "Failed"
    assert look(server(running=False), 40, pods=(ending,)).status["phase"] == "Stopped"


@pytest.mark.parametrize(
    ("seen", "generation", "phase"),
    [
        ({}, 1, "Running"),
        ({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1}, 1, "Running"),
        ({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1}, 2, "Starting"),
        ({"observedGeneration": 2, "replicas": 1}, 2, "Starting"),
        ({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1}, 2, "Running"),
        ({"observedGeneration": 2}, 2, "Running"),
    ],
)
def test_phase_of_a_pod_about_to_be_replaced_is_starting(seen: Json, generation: int, phase: str) -> None:
    deployment = {"metadata": {"generation": generation}, "status": seen}
    status = look(server(), 60, pods=(running_pod(),), workload=deployment).status
    assert status["phase"] == phase
    assert ("podName" in status) == (phase == "Running")


def test_phase_with_an_owner_without_uid_waits_for_the_namespace() -> None:
    fresh = user().model_copy(update={"status": UserStatus()})
    assert "namespace of ann to be set up" in ready(look(server(), 1, fresh).status)["message"]


def test_phase_of_a_deleted_server_is_terminating() -> None:
    known = server()
    gone = known.model_copy(update={"metadata": known.metadata.model_copy(update={"deletion_timestamp": at(5)})})
    assert look(gone, 6, pods=(running_pod(),)).status["phase"] == "Terminating"


@pytest.mark.parametrize(
    "children",
    [{"pods": (pod(conditions=[UNSCHEDULABLE]),)}, {"workload": failing_deployment(QUOTA)}],
)
def test_phase_with_a_first_rejection_is_starting_until_it_lasts(children: Json) -> None:
    early = look(server(), 2, **children)
    assert ready(early.status)["reason"] == "Starting"
    assert early.requeue_after == timedelta(seconds=1)
    late = look(with_status(server(), early.status), 3, **children)
    assert ready(late.status)["reason"] in ("Unschedulable", "QuotaExceeded")
    assert late.requeue_after is None


def test_phase_keeps_the_pull_failures_cause_while_the_kubelet_alternates() -> None:
    known, written = server(), []
    for second, (reason, text) in enumerate(
        [
            ("ErrImagePull", 'failed to resolve reference "docker.io/library/alpine:3": not found'),
            ("ImagePullBackOff", 'Back-off pulling image "alpine:3"'),
            ("ErrImagePull", "rpc error: code = NotFound desc = alpine:3: not found"),
            ("ImagePullBackOff", 'Back-off pulling image "alpine:3"'),
        ]
    ):
        status = look(known, 60 + second, pods=(pod(conditions=[SCHEDULED], main=waiting(reason, text)),)).status
        written.append(status)
        known = with_status(known, status)
    assert all(status == written[0] for status in written)


def test_phase_of_a_crash_loop_is_stable_between_two_crashes() -> None:
    end = ended("Error", 1, 9)
    crashed = pod(conditions=[SCHEDULED], main=waiting("CrashLoopBackOff", "", lastState=end, restartCount=2))
    again = pod(
        conditions=[SCHEDULED],
        main={"ready": False, "restartCount": 3, "lastState": end, "state": {"running": {"startedAt": stamp(20)}}},
    )
    first = look(server(), 60, pods=(crashed,)).status
    assert look(with_status(server(), first), 70, pods=(again,)).status == first


@pytest.mark.parametrize(
    ("newer", "expected"),
    [
        (pod("mydev-2", 30), "mydev-2"),
        (pod("mydev-2", 30, deletionTimestamp=stamp(31)), "mydev-1"),
    ],
)
def test_current_pod_is_the_newest_active_one(newer: Json, expected: str) -> None:
    for both in ((running_pod(), newer), (newer, running_pod())):
        found = pods.current_pod(both)
        assert found is not None
        assert found["metadata"]["name"] == expected
