"""Kueue on a real node with pretended GPUs: admission, waiting and preemption."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from devservers_core.names import COHORT, GPU, INTERACTIVE, PRIORITY_INTERACTIVE, PRIORITY_TRAINING, TRAINING
from tests.support.node import queueing
from tests.support.node.person import Person, Platform
from tests.support.node.wait import eventually

pytestmark = pytest.mark.timeout(300)

VISIBILITY = "/apis/visibility.kueue.x-k8s.io/v1beta2"


@pytest.fixture(scope="module")
def gpus(platform: Platform) -> Iterator[Platform]:
    """The platform with four pretended GPUs; without any afterwards."""
    platform.run("up", "--no-demo", "--fake-gpus", "4")
    yield platform
    platform.run("up", "--no-demo", "--fake-gpus", "0")
    assert GPU not in platform.get("node", "devservers")["status"]["capacity"]


@pytest.fixture
def namespace(gpus: Platform, ann: Person) -> Iterator[str]:
    """The person's namespace with its queues, and nothing of this module's in it afterwards."""
    queueing.apply(gpus, *queueing.local_queues(ann.namespace))
    yield ann.namespace
    kinds = "jobs.batch,pods"
    gpus.cluster.kubectl("delete", kinds, "-n", ann.namespace, "-l", "kueue.x-k8s.io/queue-name", "--wait=false")
    eventually(
        lambda: not workloads(gpus, ann.namespace),
        "the queues to be empty",
        report=partial(queueing.state, gpus, ann.namespace),
    )


def workloads(platform: Platform, namespace: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = platform.get("workloads.kueue.x-k8s.io", "-n", namespace)["items"]
    return [each for each in found if GPU in json.dumps(each["spec"])]


def phase(platform: Platform, namespace: str, name: str) -> str:
    return str(platform.get("pod", name, "-n", namespace)["status"]["phase"])


def conditions(thing: dict[str, Any]) -> dict[str, str]:
    return {each["type"]: each["status"] for each in thing.get("status", {}).get("conditions", [])}


def test_kueue_after_up_serves_all_its_apis_and_queues(platform: Platform) -> None:
    deployment = platform.get("deployment", "kueue-controller-manager", "-n", "kueue-system")
    assert conditions(deployment)["Available"] == "True"
    for version in ("v1beta1", "v1beta2"):
        assert conditions(platform.get("apiservice", f"{version}.visibility.kueue.x-k8s.io"))["Available"] == "True"
    for name in (INTERACTIVE, TRAINING):
        queue = platform.get("clusterqueue", name)
        assert conditions(queue)["Active"] == "True"
        assert queue["spec"]["cohortName"] == COHORT
    ((group,), (training,)) = (
        platform.get("clusterqueue", q)["spec"]["resourceGroups"] for q in (INTERACTIVE, TRAINING)
    )
    owned = {each["name"]: each["nominalQuota"] for each in group["flavors"][0]["resources"]}
    allocatable = platform.get("node", "devservers")["status"]["allocatable"]
    assert (
        0 < int(owned["cpu"].removesuffix("m")) * (1 if "m" in owned["cpu"] else 1000) < int(allocatable["cpu"]) * 1000
    )
    assert {each["nominalQuota"] for each in training["flavors"][0]["resources"]} == {"0"}


def test_pretended_gpus_are_allocatable_and_described_as_no_gpu(gpus: Platform, ann: Person) -> None:
    node = gpus.get("node", "devservers")
    assert node["status"]["allocatable"][GPU] == "4"
    offered = {
        each["metadata"]["name"]: each for each in json.loads(ann.devctl("flavors", "-o", "json").stdout)["items"]
    }
    assert "no GPU" in offered["gpu-fake"]["spec"]["description"]


def test_second_up_keeps_the_gpus_and_changes_nothing(gpus: Platform) -> None:
    shown = gpus.run("up", "--no-demo").stdout
    assert "unchanged" in shown
    assert not [word for word in (" created", " updated", " deleted", " replaced") if word in shown], shown
    shown = gpus.run("preview").stdout
    assert not [word for word in ("to create", "to update", "to delete", "to replace") if word in shown], shown


def test_up_after_a_kubelet_restart_restores_the_gpus(gpus: Platform) -> None:
    running = gpus.cluster.processes()
    (kubelet,) = (pid for pid, name in running.items() if name == "kubelet")
    os.kill(kubelet, signal.SIGKILL)
    eventually(
        lambda: "kubelet" in [name for pid, name in gpus.cluster.processes().items() if pid != kubelet], "a new kubelet"
    )
    gpus.run("up", "--no-demo")
    eventually(lambda: gpus.get("node", "devservers")["status"]["allocatable"].get(GPU) == "4", "the GPUs", 30)


def test_queue_without_free_quota_starts_second_pod_after_the_first_is_deleted(gpus: Platform, namespace: str) -> None:
    image = queueing.default_image(gpus)
    queueing.apply(gpus, queueing.pod("first", namespace, image, 3, INTERACTIVE, PRIORITY_INTERACTIVE))
    eventually(
        lambda: phase(gpus, namespace, "first") == "Running",
        "the first pod to run",
        report=partial(queueing.state, gpus, namespace),
    )
    queueing.apply(gpus, queueing.pod("second", namespace, image, 3, INTERACTIVE, PRIORITY_INTERACTIVE))

    def waiting() -> list[str]:
        path = f"{VISIBILITY}/namespaces/{namespace}/localqueues/{INTERACTIVE}/pendingworkloads"
        return [each["metadata"]["name"] for each in json.loads(gpus.cluster.kubectl("get", "--raw", path))["items"]]

    eventually(waiting, "the second pod in the queue", report=partial(queueing.state, gpus, namespace))
    (pending,) = waiting()
    assert pending.startswith("pod-second-")
    assert conditions(gpus.get("pod", "second", "-n", namespace))["PodScheduled"] == "False"

    def reason_is_shown() -> bool:
        """It is in the queue before the scheduler has looked."""
        status = json.dumps(gpus.get("workload.kueue.x-k8s.io", pending, "-n", namespace).get("status", {}))
        return "insufficient" in status and GPU in status

    eventually(reason_is_shown, "why it waits", report=partial(queueing.state, gpus, namespace))

    gpus.cluster.kubectl("delete", "pod", "first", "-n", namespace, "--wait=false")
    eventually(
        lambda: phase(gpus, namespace, "second") == "Running",
        "the second pod to run",
        report=partial(queueing.state, gpus, namespace),
    )


def test_training_on_borrowed_quota_is_preempted_by_a_server_and_resumes(gpus: Platform, namespace: str) -> None:
    image = queueing.default_image(gpus)
    queueing.apply(gpus, queueing.job("train", namespace, image, 4, TRAINING, PRIORITY_TRAINING))
    eventually(
        lambda: gpus.get("job", "train", "-n", namespace)["status"].get("ready") == 1,
        "the job to run",
        report=partial(queueing.state, gpus, namespace),
    )
    usage = gpus.get("clusterqueue", TRAINING)["status"]["flavorsUsage"]
    borrowed = {each["name"]: each.get("borrowed") for flavor in usage for each in flavor["resources"]}
    assert borrowed[GPU] == "4"

    queueing.apply(gpus, queueing.pod("server", namespace, image, 1, INTERACTIVE, PRIORITY_INTERACTIVE))
    eventually(
        lambda: phase(gpus, namespace, "server") == "Running",
        "the server to run",
        report=partial(queueing.state, gpus, namespace),
    )
    job = gpus.get("job", "train", "-n", namespace)
    assert job["spec"]["suspend"] is True
    # It goes on in the queue, and comes back when the server goes.
    gpus.cluster.kubectl("delete", "pod", "server", "-n", namespace, "--wait=false")
    eventually(
        lambda: gpus.get("job", "train", "-n", namespace)["status"].get("ready") == 1,
        "the job to run again",
        report=partial(queueing.state, gpus, namespace),
    )


def test_kueue_ignores_pods_without_a_queue_and_other_namespaces(gpus: Platform, namespace: str) -> None:
    image = queueing.default_image(gpus)
    queueing.apply(
        gpus,
        queueing.pod("plain", namespace, image, 0),
        queueing.pod("elsewhere", "default", image, 0, INTERACTIVE, PRIORITY_INTERACTIVE),
    )
    try:
        for name, where in (("plain", namespace), ("elsewhere", "default")):
            found = gpus.get("pod", name, "-n", where)
            assert "schedulingGates" not in found["spec"]
            assert "finalizers" not in found["metadata"]
    finally:
        gpus.cluster.kubectl("delete", "pod", "plain", "-n", namespace, "--now")
        gpus.cluster.kubectl("delete", "pod", "elsewhere", "-n", "default", "--now")
