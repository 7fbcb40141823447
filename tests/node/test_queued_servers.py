"""Servers that wait for quota, with real Kueue and operator and pretended GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devservers_core.names import INTERACTIVE, KUEUE_API_VERSION, KUEUE_NAMESPACE
from tests.support.node import queueing
from tests.support.node.person import Person, Platform
from tests.support.node.queue_latency import schedule_latency
from tests.support.node.wait import eventually

pytestmark = pytest.mark.timeout(400)

SYSTEM = "devservers-system"
MOST_SECONDS = 3.0
"""From quota that comes free to the next pod scheduled."""


@pytest.fixture(scope="module")
def gpus(platform: Platform) -> Iterator[Platform]:
    """The platform with four pretended GPUs, and sizes that take them."""
    platform.run("up", "--no-demo", "--fake-gpus", "4")
    queueing.apply(platform, queueing.gpu_flavor("gpu-all", 4), queueing.gpu_flavor("gpu-nine", 9))
    yield platform
    platform.run("up", "--no-demo", "--fake-gpus", "0")


@pytest.fixture
def two(gpus: Platform, ann: Person) -> Iterator[tuple[str, str]]:
    """A server that holds all GPUs, and one that waits for them."""
    ann.devctl("create", "holder", "gpu-all", "--wait", "3m")
    done = ann.devctl("create", "waiter", "gpu-all", "--ephemeral", "--wait", "20s", check=False)
    assert done.returncode == 5, done.stderr
    assert "Waits for quota: needs 4 GPUs, 0 of 4 are free in pool gpu-fake" in done.stderr
    yield "holder", "waiter"
    ann.devctl("delete", "holder", "--yes", "--purge", check=False)
    ann.devctl("delete", "waiter", "--yes", check=False)

    # The namespace is everybody's of this session: the next one finds all of the quota.
    selector = "devservers.io/name in (holder,waiter)"
    eventually(lambda: not gpus.get("pods", "-n", ann.namespace, "-l", selector)["items"], "their pods to be gone", 90)


def await_reason(ann: Person, name: str, wanted: str, what: str, seconds: float = 60.0) -> None:
    """Wait until a server's condition Ready has this reason; a failure shows the condition and the queue."""
    eventually(
        lambda: reason(ann, name) == wanted,
        what,
        seconds,
        report=lambda: f"{ready(ann, name)}\n{queueing.state(ann.platform, ann.namespace)}",
    )


def reason(ann: Person, name: str) -> str:
    return str(ready(ann, name).get("reason"))


def ready(ann: Person, name: str) -> dict[str, Any]:
    found = ann.server(name).get("status", {}).get("conditions", [])
    return next((each for each in found if each["type"] == "Ready"), {})


def test_waiting_server_shows_reason_and_position_and_runs_after_the_other_stops(
    ann: Person, two: tuple[str, str]
) -> None:
    shown = next(line for line in ann.devctl("list").stdout.splitlines() if line.startswith("waiter"))
    assert "Pending" in shown
    assert "Waits for quota: needs 4 GPUs, 0 of 4 are free" in shown
    described = ann.devctl("describe", "waiter").stdout
    assert "In the queue: 1st of 1 in interactive" in described
    assert "0 of 4 are free in pool gpu-fake; starts by itself" in described
    free = next(line for line in ann.devctl("flavors").stdout.splitlines() if line.startswith("gpu-all"))
    assert "0 of 1" in free
    seconds = schedule_latency(ann, *two)
    print(f"quota free to pod scheduled: {seconds:.2f} s")
    assert seconds < MOST_SECONDS
    await_reason(ann, "waiter", "Running", "the waiting server to run")
    stages = [each["stage"] for each in ann.server("waiter")["status"]["timeline"]]
    assert stages[:4] == ["Accepted", "Queued", "Admitted", "Scheduled"]


def test_gpu_server_has_one_run_at_a_time_unless_they_share_it(
    ann: Person, two: tuple[str, str], tmp_path: Path
) -> None:
    words = ("run", two[0], "--dir", str(tmp_path), "--detach", "--name")
    ann.devctl(*words, "first", "--", "sleep", "600")
    refused = ann.devctl(*words, "second", "--", "true", check=False)
    assert refused.returncode == 1
    assert "run first has the server's GPUs" in refused.stderr
    ann.devctl(*words, "third", "--share", "--", "true")
    ann.devctl("cancel", two[0], "first")
    assert ann.devctl("attach", two[0], "first", check=False).returncode == 130


def test_restart_of_a_gpu_server_admits_the_waiting_one(ann: Person, two: tuple[str, str]) -> None:
    done = ann.devctl("restart", "holder", check=False)
    assert done.returncode == 2
    assert "its GPU goes back to the queue" in done.stderr
    ann.devctl("restart", "holder", "--yes")
    await_reason(ann, "waiter", "Running", "the one that waited to run", 90)
    await_reason(ann, "holder", "Queued", "the restarted one to wait")
    ann.devctl("stop", "waiter")
    await_reason(ann, "holder", "Running", "the restarted one to run", 90)


def test_preempted_server_shows_the_preemptor_and_resumes_with_its_home(gpus: Platform, ann: Person) -> None:
    ann.devctl("create", "holder", "gpu-all", "--wait", "3m")
    ann.ssh("holder", "echo precious > work")
    first = ann.server("holder")["status"]["podName"]
    urgent = {"apiVersion": KUEUE_API_VERSION, "kind": "WorkloadPriorityClass", "metadata": {"name": "urgent"},
              "value": 100000}  # fmt: skip
    image = queueing.default_image(gpus)
    queueing.apply(gpus, urgent, queueing.pod("taker", ann.namespace, image, 4, INTERACTIVE, "urgent"))
    try:
        await_reason(ann, "holder", "Preempted", "the loss to be told", 90)
        message = ready(ann, "holder")["message"]
        assert "Its place was taken by a workload of ann with priority urgent" in message
        assert "Its home is kept" in message
        eventually(
            lambda: "0 of 4 are free in pool gpu-fake" in ready(ann, "holder")["message"], "what it waits for", 90
        )
        assert reason(ann, "holder") == "Preempted"
    finally:
        gpus.cluster.kubectl("delete", "pod", "taker", "-n", ann.namespace, "--wait=false")
    await_reason(ann, "holder", "Running", "it to run again", 90)
    assert ann.server("holder")["status"]["podName"] != first
    assert ann.ssh("holder", "cat work").stdout == "precious\n"
    gpus.cluster.kubectl("delete", "workloadpriorityclass", "urgent")
    ann.devctl("delete", "holder", "--yes", "--purge")


def test_create_beyond_the_whole_quota_is_refused_and_shown(gpus: Platform, ann: Person) -> None:
    done = ann.devctl("create", "toobig", "gpu-nine", check=False)
    assert done.returncode == 6
    assert "take gpu-all, the nearest that fits" in done.stderr
    ann.devctl("create", "toobig", "gpu-nine", "--ephemeral", "--allow-missing")
    await_reason(ann, "toobig", "ExceedsQuota", "it to be told")
    message = ready(ann, "toobig")["message"]
    assert "asks for 9 GPUs, and the whole quota is 4 in pool gpu-fake" in message
    assert "The nearest flavor that fits is gpu-all" in message
    ann.devctl("delete", "toobig", "--yes")


def test_operator_rollout_restarts_neither_running_nor_waiting_servers(
    gpus: Platform, ann: Person, two: tuple[str, str]
) -> None:
    before = {name: ann.server(name)["status"]["podName"] for name in two}
    gpus.cluster.kubectl("rollout", "restart", "deployment", "devservers-operator", "-n", SYSTEM)
    gpus.cluster.kubectl("rollout", "status", "deployment", "devservers-operator", "-n", SYSTEM, "--timeout=120s")
    # It leads and works when it has done something new.
    ann.devctl("create", "probe", "--ephemeral", "--wait", "2m")
    ann.devctl("delete", "probe", "--yes")
    assert {name: ann.server(name)["status"]["podName"] for name in two} == before
    assert reason(ann, "waiter") == "Queued"


def test_server_without_kueue_shows_the_outage_and_runs_after_it_returns(gpus: Platform, ann: Person) -> None:
    manager = ("deployment", "kueue-controller-manager", "-n", KUEUE_NAMESPACE)
    gpus.cluster.kubectl("scale", *manager, "--replicas=0")
    try:
        eventually(lambda: not gpus.get("pods", "-n", KUEUE_NAMESPACE)["items"], "Kueue to be gone")
        ann.devctl("create", "patient", "--ephemeral")
        await_reason(ann, "patient", "KueueUnavailable", "it to be told")
        assert "doesn't answer" in ready(ann, "patient")["message"]
    finally:
        gpus.cluster.kubectl("scale", *manager, "--replicas=1")
        gpus.cluster.kubectl("rollout", "status", *manager, "--timeout=120s")
    await_reason(ann, "patient", "Running", "it to run", 200)
    ann.devctl("delete", "patient", "--yes")
