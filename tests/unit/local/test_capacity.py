"""What a local cluster has for servers: by one rule, the same at every `up`."""

from __future__ import annotations

from typing import Any

import pytest

from devservers_core.names import GPU, LOCAL_IMAGES
from infra.local.capacity import VARIABLE, Capacity, flavors, measured, pools, read
from infra.settings.platform.bastion import Bastion
from infra.settings.problems import SettingsError
from infra.settings.stack import Images, Operator, Queueing, Settings

IMAGES = Images(
    operator="localhost/op:1", agent="localhost/agent:1", base="localhost/base:1", bastion="localhost/bastion:1"
)
SETTINGS = Settings(cluster="local", images=IMAGES)
NAMESPACES: list[dict[str, Any]] = [
    {"metadata": {"name": "kube-system"}},
    {"metadata": {"name": "devservers-system", "labels": {"app.kubernetes.io/part-of": "devservers"}}},
    {"metadata": {"name": "kueue-system"}},
    {"metadata": {"name": "dev-ann", "labels": {"devservers.io/user": "ann"}}},
]


def node(name: str = "one", cpu: str = "2", memory: str = "8032380Ki", **spec: Any) -> dict[str, Any]:
    gpus = spec.pop("gpus", None)
    allocatable = {"cpu": cpu, "memory": memory} | ({GPU: gpus} if gpus else {})
    return {"metadata": {"name": name}, "spec": spec, "status": {"allocatable": allocatable}}


def pod(namespace: str, cpu: str = "100m", memory: str = "70Mi", **more: str) -> dict[str, Any]:
    containers = [{"resources": {"requests": {"cpu": cpu, "memory": memory}}}, {}]
    spec = {"nodeName": more.get("on", "one"), "containers": containers}
    return {"metadata": {"namespace": namespace}, "spec": spec, "status": {"phase": more.get("phase", "Running")}}


BARE = Capacity(cpu=2000, memory=7808)
TAINT = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
CASES = [
    ([node()], [], BARE),
    ([node(), node("two", "500m", "1Gi")], [], Capacity(cpu=2500, memory=7808 + 1024)),
    ([node(), node("two", taints=[TAINT])], [], BARE),
    ([node(), node("two", unschedulable=True)], [], BARE),
    ([node(taints=[{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}])], [], BARE),
    ([node(taints=[{"key": "x", "effect": "PreferNoSchedule"}])], [], BARE),
    # The cluster's own pods are taken off; the platform's, people's and those that are over are not.
    ([node()], [pod("kube-system"), pod("kube-system")], Capacity(cpu=1800, memory=7680)),
    ([node()], [pod("devservers-system"), pod("kueue-system"), pod("dev-ann", "1", "2Gi")], BARE),
    ([node()], [pod("kube-system", phase="Succeeded"), pod("kube-system", on="elsewhere")], BARE),
    ([node()], [pod("kube-system", "4", "64Gi")], Capacity(cpu=0, memory=0)),
    # A few KiB more or less are no change.
    ([node(memory="8032340Ki")], [], BARE),
]


@pytest.mark.parametrize(("nodes", "pods", "expected"), CASES)
def test_what_is_measured(nodes: list[dict[str, Any]], pods: list[dict[str, Any]], expected: Capacity) -> None:
    assert measured(nodes, pods, NAMESPACES, 0) == expected


def test_real_and_pretended_gpus_are_told_apart() -> None:
    assert measured([node(gpus="4")], [], NAMESPACES, 4) == Capacity(2000, 7808, fake_gpus=4)
    assert measured([node(gpus="2")], [], NAMESPACES, 0) == Capacity(2000, 7808, gpus=2)


@pytest.mark.parametrize("capacity", [BARE, Capacity(100, 64, gpus=2), Capacity(100, 64, fake_gpus=4)])
def test_what_is_handed_over_arrives(capacity: Capacity) -> None:
    assert read({VARIABLE: str(capacity)}) == capacity


@pytest.mark.parametrize(
    "text", ["", "lots", "[]", '{"cpu": "2"}', '{"cpu": 1}', '{"cpu": -1, "memory": 1}', '{"x": 1}']
)
def test_anything_else_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read({VARIABLE: text} if text else {})
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{VARIABLE} = {text or '(unset)'}: not what a cluster can give; allowed: ")
    assert "make up" in second
    assert "devservers:queueing.enabled" in second


def test_the_platform_s_own_requests_come_off() -> None:
    (local,) = pools(BARE, SETTINGS)
    # Twice the operator (50m, 128Mi) and the bastion (20m, 256Mi, and thrice 10m, 48Mi), Kueue once (100m, 128Mi).
    assert local.quota() == {"cpu": "1700m", "memory": "6624Mi", GPU: "0"}
    assert (local.labels(), local.taints()) == ({}, [])
    more = SETTINGS.model_copy(
        update={"operator": Operator(replicas=1), "queueing": Queueing(replicas=2), "bastion": Bastion(enabled=False)}
    )
    (local,) = pools(BARE, more)
    assert (local.cpu, local.memory) == (2000 - 50 - 200, 7808 - 128 - 256)


def test_a_machine_too_small_for_the_platform_has_nothing_to_give() -> None:
    (local,) = pools(Capacity(100, 64), SETTINGS)
    assert (local.cpu, local.memory) == (0, 0)


def test_pretended_gpus_are_a_pool_and_a_flavor_that_says_so() -> None:
    capacity = Capacity(2000, 7808, fake_gpus=4)
    _, fake = pools(capacity, SETTINGS)
    assert (fake.name, fake.quota()) == ("gpu-fake", {"cpu": "0m", "memory": "0Mi", GPU: "4"})
    (flavor,) = flavors(capacity)
    assert flavor.name == fake.name
    assert "There is no GPU behind it" in flavor.spec.description
    assert flavor.spec.resources.requests[GPU] == flavor.spec.resources.limits[GPU] == "1"
    assert flavors(BARE) == ()


def test_local_gpu_flavors_name_a_pytorch_image_that_sees_their_gpu() -> None:
    both = Capacity(2000, 7808, gpus=1, fake_gpus=1)
    built = f"{LOCAL_IMAGES}/pytorch:1"
    assert {flavor.name: flavor.spec.image for flavor in flavors(both, built)} == {"gpu": None, "gpu-fake": built}
    named = "registry.example.com/torch:1"
    assert {flavor.spec.image for flavor in flavors(both, named)} == {named}
    assert {flavor.spec.image for flavor in flavors(both)} == {None}
