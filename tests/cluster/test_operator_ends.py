"""Ends of servers that nobody asked for, and of deleted ones, on a real API server: the records and their lines."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from devservers_core.types import Json
from tests.support.cluster.devctl import Devctl
from tests.support.cluster.harness import ApiServer
from tests.support.cluster.operator_process import FakeKubelet, OperatorProcess, World, flavor, operator_for, server_of
from tests.support.wait import eventually

LEFT = '{"reason":"","lines":["epoch 7","\\u001b[2Jepoch 8"],"oomKills":2}'
LINES = "epoch 7\n [2Jepoch 8"

_names = itertools.count(1)


@pytest.fixture(scope="module")
def operator(controllers: ApiServer) -> Iterator[OperatorProcess]:
    controllers.admin.apply(flavor("cpu-small"))
    with FakeKubelet(controllers.admin), operator_for(controllers) as process:
        yield process


@pytest.fixture(scope="module")
def world(operator: OperatorProcess) -> World:
    return World(operator.server.admin)


@pytest.fixture
def eve(world: World) -> str:
    """A user of this test's own."""
    name = f"ends{next(_names)}"
    world.add_user(name)
    return name


@pytest.fixture
def pod(world: World, eve: str) -> Json:
    """The pod of a running server, on a node: there it takes its time to end."""
    world.admin.create(server_of(eve, "mydev", persistentHomeSize="1Gi"))
    world.wait_reason(eve, "mydev", "Running")
    (running,) = world.pods(eve, "mydev")
    target = {"apiVersion": "v1", "kind": "Node", "name": "node-7"}
    name = running["metadata"]["name"]
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
    world.admin.request("POST", f"{_path(running)}/binding", binding)
    return dict(world.admin.get("v1", "Pod", name, f"dev-{eve}"))


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("PreemptionByScheduler", "preempted"),
        ("DeletionByTaintManager", "nodeLost"),
        ("EvictionByEvictionAPI", "clusterDrained"),
    ],
)
def test_end_of_a_deleted_pod_is_recorded_and_its_lines_come_with_its_deletion(
    operator: OperatorProcess, world: World, eve: str, pod: Json, tmp_path: Path, target: str, reason: str
) -> None:
    _disrupt(world, pod, target)
    world.admin.request("DELETE", _path(pod))
    data = _record(world, eve, lambda data: True)
    assert (data["reason"], data.get("lines"), data["pod"]) == (reason, None, pod["metadata"]["name"])
    _end(world, pod)
    # As a kubelet does it: both events reach the operator as one.
    world.admin.request("DELETE", _path(pod), {"gracePeriodSeconds": 0})
    data = _record(world, eve, lambda data: "lines" in data)
    assert (data["reason"], data["lines"], data["oomKills"]) == (reason, LINES, "2")
    last = world.wait_reason(eve, "mydev", "Running")["status"]["lastStop"]
    assert (last["reason"], last["at"]) == (reason, data["at"])
    devctl = Devctl(tmp_path, operator.server.kubeconfig_for("test-admin", ("system:masters",)), eve)
    shown = devctl("describe", "mydev").stdout
    assert f" ago, {reason}" in shown
    assert "Last output before it ended:\n  epoch 7\n   [2Jepoch 8\n" in shown


@pytest.mark.parametrize(("text", "reason"), [("ephemeral-storage", "evictedForDisk"), ("memory", "outOfMemory")])
def test_end_by_a_kubelet_is_recorded_with_its_lines(world: World, eve: str, pod: Json, text: str, reason: str) -> None:
    """The pod stays, failed."""
    evicted = {"reason": "Evicted", "message": f"The node was low on resource: {text}. Threshold quantity: 1Gi"}
    _disrupt(world, pod, "TerminationByKubelet", phase="Failed", **evicted, **_ended(pod))
    data = _record(world, eve, lambda data: "lines" in data)
    assert (data["reason"], data["lines"]) == (reason, LINES)
    server = world.wait(
        eve, "mydev", lambda server: server["status"].get("podName") != pod["metadata"]["name"], "another pod"
    )
    assert server["status"]["lastStop"]["reason"] == reason


def test_end_of_a_container_out_of_memory_is_recorded_with_the_end_of_its_log(
    world: World, eve: str, pod: Json
) -> None:
    killed = {"exitCode": 137, "reason": "OOMKilled", "startedAt": _now(), "finishedAt": _now(), "message": "epoch 7\n"}
    status = pod["status"]["containerStatuses"][0] | {"restartCount": 1, "lastState": {"terminated": killed}}
    _patch(world, pod, containerStatuses=[status])
    data = _record(world, eve, lambda data: "lines" in data)
    assert (data["reason"], data["lines"], data["oomKills"], data["at"]) == (
        "outOfMemory", "epoch 7", "1", killed["finishedAt"],
    )  # fmt: skip
    last = world.wait(eve, "mydev", lambda server: "lastStop" in server["status"], "the status")["status"]["lastStop"]
    assert (last["reason"], last["oomKills"]) == ("outOfMemory", 1)


def test_server_deleted_while_it_runs_gets_a_record_with_its_lines(
    operator: OperatorProcess, world: World, eve: str, pod: Json, tmp_path: Path
) -> None:
    world.admin.delete("devservers.io/v1", "DevServer", "mydev", f"dev-{eve}")
    data = _record(world, eve, lambda data: True)
    assert (data["deleted"], data["reason"]) == ("true", "user")
    _end(world, pod)
    world.admin.request("DELETE", _path(pod), {"gracePeriodSeconds": 0})
    _record(world, eve, lambda data: data.get("lines") == LINES)
    devctl = Devctl(tmp_path, operator.server.kubeconfig_for("test-admin", ("system:masters",)), eve)
    shown = devctl("describe", "mydev").stdout
    assert "Phase:        Deleted" in shown
    assert "2 processes killed because memory ran out" in shown
    assert "  epoch 7\n" in shown


def _record(world: World, user: str, check: Callable[[Json], bool]) -> Json:
    def found() -> Json | None:
        record = world.admin.find("v1", "ConfigMap", "mydev-ended", f"dev-{user}")
        return record["data"] if record is not None and check(record["data"]) else None

    return dict(eventually(found, "the record of the end"))


def _path(pod: Json) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def _disrupt(world: World, pod: Json, target: str, **status: object) -> None:
    condition = {"type": "DisruptionTarget", "status": "True", "reason": target, "lastTransitionTime": _now()}
    _patch(world, pod, conditions=[*pod["status"]["conditions"], condition], **status)


def _end(world: World, pod: Json) -> None:
    _patch(world, pod, phase="Failed", **_ended(pod))


def _ended(pod: Json) -> Json:
    ended = {"exitCode": 143, "reason": "Error", "startedAt": _now(), "finishedAt": _now(), "message": LEFT}
    status = pod["status"]["containerStatuses"][0] | {"ready": False, "state": {"terminated": ended}}
    return {"containerStatuses": [status]}


def _patch(world: World, pod: Json, **status: object) -> None:
    metadata = pod["metadata"]
    world.admin.patch(
        "v1", "Pod", metadata["name"], {"status": status}, metadata["namespace"], subresource="status"
    )  # fmt: skip


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
