"""A distributed server under the operator with its own rights, on a real API server with its controllers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress

import pytest

from devservers_core.errors import ApiError
from devservers_core.types import Json
from tests.support.cluster.harness import ApiServer
from tests.support.cluster.operator_process import (
    FakeKubelet,
    OperatorProcess,
    World,
    condition_of,
    operator_for,
    ready,
    server_of,
)
from tests.support.wait import eventually

OPERATOR_USER = "system:serviceaccount:devservers-system:devservers-operator"
_names = itertools.count(1)


@pytest.fixture(scope="module")
def operator(controllers: ApiServer) -> Iterator[OperatorProcess]:
    begun = controllers.audit_mark()
    with FakeKubelet(controllers.admin), operator_for(controllers) as process:
        yield process
        refused = {(w.resource, w.verb) for w in controllers.writes(OPERATOR_USER, begun) if w.code == 403}
        assert refused <= {("persistentvolumeclaims", "patch")}


@pytest.fixture(scope="module")
def world(operator: OperatorProcess) -> World:
    return World(operator.server.admin)


@pytest.fixture
def ann(world: World) -> str:
    """A user of this test's own."""
    name = f"many{next(_names)}"
    world.add_user(name)
    return name


def distributed(user: str, replicas: int, home: str | None = None) -> Json:
    made = server_of(user, "train", mode="distributed", distributed={"replicas": replicas})
    made["spec"] |= {"persistentHomeSize": home} if home else {}
    return made


def pod_names(world: World, user: str) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in world.pods(user, "train"))


def wait_ready(world: World, user: str, text: str) -> Json:
    return world.wait(user, "train", lambda server: server.get("status", {}).get("ready") == text, text, 60)


def end_pods(world: World, user: str) -> None:
    """What a kubelet does with pods that are deleted."""
    for pod in world.pods(user, "train"):
        if pod["metadata"].get("deletionTimestamp"):
            path = f"/api/v1/namespaces/dev-{user}/pods/{pod['metadata']['name']}"
            with suppress(ApiError):  # gone meanwhile
                world.admin.request("DELETE", path, {"gracePeriodSeconds": 0})


def test_server_becomes_ready_with_a_home_for_each_replica_and_then_rests(
    operator: OperatorProcess, world: World, ann: str
) -> None:
    world.admin.create(distributed(ann, 3, "1Gi"))
    status = wait_ready(world, ann, "3/3")["status"]
    assert (status["phase"], status["podName"]) == ("Running", "train-0")
    assert pod_names(world, ann) == ["train-0", "train-1", "train-2"]
    for number in range(3):
        claim = world.child("PersistentVolumeClaim", ann, f"home-train-{number}")
        assert claim is not None
        assert not claim["metadata"].get("ownerReferences")
        assert claim["metadata"]["annotations"]["devservers.io/home-of"] == "train"
    (pod,) = [each for each in world.pods(ann, "train") if each["metadata"]["name"] == "train-1"]
    assert pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "1"
    assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("train-1", "train-replicas")
    mark = operator.server.audit_mark()
    world.admin.patch("devservers.io/v1", "DevServer", "train", {"metadata": {"labels": {"a": "b"}}}, f"dev-{ann}")
    eventually(lambda: world.server(ann, "train")["metadata"]["labels"], "the label")
    wait_ready(world, ann, "3/3")
    writes = [w for w in operator.server.writes(OPERATOR_USER, mark) if w.resource in ("statefulsets", "services")]
    assert not writes, writes


def test_home_of_every_replica_grows(world: World, ann: str) -> None:
    world.admin.create(distributed(ann, 2, "1Gi"))
    wait_ready(world, ann, "2/2")
    grown = {"spec": {"persistentHomeSize": "2Gi"}}
    world.admin.patch("devservers.io/v1", "DevServer", "train", grown, f"dev-{ann}")

    def asked() -> bool:
        # Where no class can grow, the refusal is the server's condition.
        claims = [world.child("PersistentVolumeClaim", ann, f"home-train-{number}") for number in range(2)]
        sizes = {claim["spec"]["resources"]["requests"]["storage"] for claim in claims if claim}
        return sizes == {"2Gi"} or condition_of(world.server(ann, "train"), "HomeResized").get("status") == "False"

    eventually(asked, "both homes to be asked to grow", 60)
    assert world.server(ann, "train")["status"]["phase"] == "Running"


def test_lost_replica_comes_back_and_the_server_says_so_meanwhile(world: World, ann: str) -> None:
    world.admin.create(distributed(ann, 2))
    wait_ready(world, ann, "2/2")
    (before,) = [pod for pod in world.pods(ann, "train") if pod["metadata"]["name"] == "train-1"]
    world.admin.delete("v1", "Pod", "train-1", f"dev-{ann}")
    end_pods(world, ann)

    def returned() -> bool:
        return any(
            pod["metadata"]["name"] == "train-1" and pod["metadata"]["uid"] != before["metadata"]["uid"]
            for pod in world.pods(ann, "train")
        )

    eventually(returned, "another train-1", 60)
    wait_ready(world, ann, "2/2")


def test_stop_start_and_a_change_of_replicas_end_all_pods_first(world: World, ann: str) -> None:
    world.admin.create(distributed(ann, 2, "1Gi"))
    wait_ready(world, ann, "2/2")
    first = (world.child("StatefulSet", ann, "train") or {})["metadata"]["uid"]

    def change(**spec: object) -> None:
        world.admin.patch("devservers.io/v1", "DevServer", "train", {"spec": spec}, f"dev-{ann}")

    def no_pods() -> bool:
        end_pods(world, ann)
        return not pod_names(world, ann)

    def is_ready(text: str) -> bool:
        end_pods(world, ann)
        return bool(world.server(ann, "train").get("status", {}).get("ready") == text)

    def status() -> str:
        return str(world.server(ann, "train").get("status"))

    change(running=False)
    eventually(no_pods, "no pods", 60)
    world.wait_reason(ann, "train", "Stopped", 60)
    change(running=True)
    eventually(lambda: is_ready("2/2"), "2/2", 90, report=status)
    change(distributed={"replicas": 3})
    eventually(lambda: is_ready("3/3"), "3/3", 90, report=status)
    assert (world.child("StatefulSet", ann, "train") or {})["metadata"]["uid"] != first
    assert pod_names(world, ann) == ["train-0", "train-1", "train-2"]
    assert world.child("PersistentVolumeClaim", ann, "home-train-2") is not None


def test_world_size_that_is_not_replicas_times_processes_is_invalid_and_makes_nothing(world: World, ann: str) -> None:
    """Without nprocsPerNode only the operator knows the flavor's GPUs."""
    wrong = server_of(ann, "train", mode="distributed", distributed={"replicas": 2, "worldSize": 5})
    world.admin.create(wrong)
    server = world.wait_reason(ann, "train", "InvalidSpec")
    assert "worldsize 5 is not 2 replicas" in ready(server)["message"].lower()
    assert world.child("StatefulSet", ann, "train") is None


def test_deleted_server_leaves_its_homes_and_nothing_else(world: World, ann: str) -> None:
    world.admin.create(distributed(ann, 2, "1Gi"))
    wait_ready(world, ann, "2/2")
    assert world.child("Secret", ann, "train-replica-key") is not None
    world.admin.delete("devservers.io/v1", "DevServer", "train", f"dev-{ann}")
    children = (
        ("StatefulSet", "train"),
        ("Service", "train-replicas"),
        ("NetworkPolicy", "train-replicas"),
        ("ConfigMap", "train-launch"),
        ("Secret", "train-replica-key"),
    )

    def gone() -> bool:
        end_pods(world, ann)
        return all(world.child(kind, ann, name) is None for kind, name in children)

    eventually(gone, "its children to be collected", 90)
    assert world.child("PersistentVolumeClaim", ann, "home-train-1") is not None
    assert world.child("Secret", ann, "train-host-key") is not None
