"""Pools: allocatable resources, flavors, prices and node groups."""

from __future__ import annotations

import re

import pytest

from devservers.api.shipped_flavors import SHIPPED
from devservers_core.names import GPU as DEVICE
from devservers_core.names import LABEL_POOL
from devservers_core.quantity import parse_quantity
from infra.aws.cluster.pool_layout import groups_of, pools_of, system_of
from infra.aws.stack import Environment
from infra.catalog import FAMILIES, Family, Size
from infra.catalog.allocatable import allocatable, kubelet, max_pods, reserved
from infra.settings.loading import load
from tests.support.infra.environments import CPU, GPU, PRODUCTION, STACKS, TODAY, aws, committed


@pytest.mark.parametrize(
    ("vcpus", "cpu"), [(1, 60), (2, 70), (4, 80), (8, 90), (32, 150), (192, 550)]
)  # awslabs/amazon-eks-ami's table: 6 %, 1 %, 0.5 %, 0.25 %
def test_kubelet_cpu_reserve_matches_the_eks_table(vcpus: int, cpu: int) -> None:
    assert reserved(Size(vcpus, 4 * vcpus)).cpu == cpu


def test_kubelet_memory_reserve_grows_with_max_pods() -> None:
    small, big = Size(8, 32), Size(32, 128)
    assert (max_pods(small), max_pods(big)) == (110, 250)
    assert (reserved(small).memory, reserved(big).memory) == (255 + 11 * 110, 255 + 11 * 250)


def test_kubelet_config_matches_the_computed_reserve() -> None:
    size = Size(8, 32)
    said = kubelet(size)
    assert (said["singleProcessOOMKill"], said["podPidsLimit"]) == (True, 4096)
    assert said["maxPods"] == max_pods(size)
    assert parse_quantity(said["kubeReserved"]["memory"]) == reserved(size).memory * 2**20
    assert parse_quantity(said["kubeReserved"]["cpu"]) * 1000 == reserved(size).cpu


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_allocatable_is_a_plausible_share_of_every_size(family: object) -> None:
    for size in FAMILIES[getattr(family, "name", "")].sizes.values():
        node = allocatable(size)
        assert 0.25 * size.vcpus * 1000 < node.cpu < size.vcpus * 1000
        assert 0.25 * size.memory * 1024 < node.memory < size.memory * 1024 * 0.97


def test_pool_follows_its_settings_entry() -> None:
    _, pool = pools_of(aws(pools=[CPU, GPU | {"family": "g6e", "size": "12xlarge", "gpusPerServer": 2, "max": 3}]))
    flavor = pool.flavor()
    assert flavor is not None
    assert (pool.nodes, pool.gpus, pool.gpu_model, pool.gpu_memory) == (3, 4, "L40S", 48)
    assert pool.quota()[DEVICE] == "12"
    assert flavor.metadata.name == "gpu"
    assert flavor.spec.node_selector == {LABEL_POOL: "gpu"}
    assert flavor.spec.price_per_hour == pytest.approx(10.49264 / 2, abs=1e-4)
    assert flavor.spec.resources.requests[DEVICE] == "2"


def test_pool_flavor_says_where_its_machines_are_and_of_which_kind() -> None:
    """By these devctl refuses a flavor that a home in another zone, or an image, can't follow to."""
    cpu, gpu = pools_of(aws(PRODUCTION, pools=[CPU, GPU | {"zones": ["eu-central-1b", "eu-central-1a"]}]))
    flavor = gpu.flavor()
    assert flavor is not None
    assert flavor.metadata.annotations["devservers.io/zones"] == "eu-central-1b,eu-central-1a"
    assert flavor.metadata.annotations["devservers.io/architecture"] == "amd64"
    assert cpu.zones == aws(PRODUCTION, pools=[CPU]).network.zones


def test_flavors_of_gpu_pools_on_amd64_machines_name_the_gpu_image() -> None:
    arm = GPU | {"name": "arm", "family": "g5g", "size": "xlarge"}
    made = Environment(None, [], pools_of(aws(pools=[CPU, GPU, arm])), {}, None, "registry.example.com/torch:1")  # type: ignore[arg-type]
    images = {flavor.name: flavor.spec.image for flavor in made.offered}
    assert images.pop("gpu") == "registry.example.com/torch:1"
    assert set(images.values()) == {None}
    assert "arm" in images


@pytest.mark.parametrize(
    ("family", "size", "each", "cards"),
    [("p5", "48xlarge", 0, 32), ("p5", "48xlarge", 2, 8), ("g6e", "48xlarge", 4, 2), ("p6-b300", "48xlarge", 1, 2)],
)
def test_efa_pool_flavor_requests_its_share_of_interfaces(family: str, size: str, each: int, cards: int) -> None:
    entry = {"name": "train", "family": family, "size": size, "max": 2, "efa": True, "zones": ["eu-central-1a"]}
    *_, pool = pools_of(aws(pools=[CPU, entry | {"gpusPerServer": each, "pricePerHour": 100}]))
    flavor = pool.flavor()
    assert flavor is not None
    asked = flavor.spec.resources
    assert asked.requests["vpc.amazonaws.com/efa"] == asked.limits["vpc.amazonaws.com/efa"] == str(cards)
    # What comes with a node is not divided by quota (Kueue's excludeResourcePrefixes).
    assert "vpc.amazonaws.com/efa" not in pool.quota()
    *_, plain = pools_of(aws(pools=[CPU, entry | {"efa": False, "pricePerHour": 100}]))
    without = plain.flavor()
    assert without is not None
    assert "vpc.amazonaws.com/efa" not in without.spec.resources.requests
    assert plain.memory - pool.memory == 5128 * 2, "the huge pages that EFA's driver sets aside"


def test_pool_flavor_fits_on_a_node_once_per_gpu_share() -> None:
    for stack in STACKS:
        found = load(stack, committed(stack), {}, TODAY).aws
        assert found is not None
        for pool in pools_of(found):
            flavor = pool.flavor()
            if flavor is None:
                continue
            asks = flavor.spec.resources.requests
            times = pool.gpus // int(asks[DEVICE])
            assert parse_quantity(asks["cpu"]) * 1000 * times <= pool.cpu
            assert parse_quantity(asks["memory"]) * times <= pool.memory * 2**20


def test_pool_price_overrides_the_catalog() -> None:
    assert [pool.price for pool in pools_of(aws(pools=[CPU, GPU | {"pricePerHour": 1.5}]))] == [0.4032, 1.5]


def test_shipped_flavors_fit_in_every_committed_stack() -> None:
    for stack in STACKS:
        found = load(stack, committed(stack), {}, TODAY).aws
        assert found is not None
        rooms = [pool for pool in pools_of(found) if not pool.gpus]
        for flavor in SHIPPED:
            asks = flavor.spec.resources.requests
            cpu, memory = parse_quantity(asks["cpu"]) * 1000, parse_quantity(asks["memory"])
            assert any(cpu <= room.cpu and memory <= room.memory * 2**20 for room in rooms)


class TestGroups:
    """Node groups."""

    def test_groups_exist_per_pool_and_zone(self) -> None:
        groups = groups_of(aws(PRODUCTION, pools=[CPU, GPU | {"zones": ["eu-central-1b"]}]))
        assert [(group.key, group.zones) for group in groups] == [
            *[(f"cpu-1{letter}", (f"eu-central-1{letter}",)) for letter in "abc"],
            ("gpu-1b", ("eu-central-1b",)),
        ]

    @pytest.mark.parametrize(("least", "spread"), [(0, [0, 0, 0]), (1, [1, 0, 0]), (5, [2, 2, 1]), (6, [2, 2, 2])])
    def test_groups_split_the_minimum_and_share_the_maximum(self, least: int, spread: list[int]) -> None:
        groups = groups_of(aws(PRODUCTION, pools=[CPU | {"min": least, "max": 6}]))
        assert [group.min for group in groups] == spread
        assert {group.max for group in groups} == {6}

    def test_groups_with_gpus_have_labels_and_a_taint(self) -> None:
        cpu, *_, gpu = groups_of(aws())
        assert cpu.taints == ()
        assert cpu.labels == {LABEL_POOL: "cpu"}
        assert [dict(taint) for taint in gpu.taints] == [{"key": DEVICE, "value": "present", "effect": "NoSchedule"}]
        assert gpu.labels == {
            LABEL_POOL: "gpu",
            f"{DEVICE}.present": "true",
            "k8s.amazonaws.com/accelerator": "nvidia-l40s",
        }
        # Kueue places a server by what its ResourceFlavor knows, and no older node has the autoscaler's label.
        assert pools_of(aws())[-1].labels() == {LABEL_POOL: "gpu", f"{DEVICE}.present": "true"}

    @pytest.mark.parametrize("family", [each for each in FAMILIES.values() if each.gpu], ids=lambda each: each.name)
    def test_groups_with_gpus_have_a_valid_accelerator_label(self, family: Family) -> None:
        size = next(iter(family.sizes))
        entry = GPU | {"family": family.name, "size": size, "capacity": family.capacities[0], "pricePerHour": 1}
        if family.capacities[0] == "CAPACITY_BLOCK":
            entry |= {"reservationId": "cr-0123456789abcdef0", "zones": ["eu-central-1a"]}
        *_, gpu = groups_of(aws(pools=[CPU, entry]))
        assert re.fullmatch("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", gpu.labels["k8s.amazonaws.com/accelerator"])

    def test_groups_for_the_system_span_all_zones_and_are_no_pool(self) -> None:
        found = aws(PRODUCTION)
        system = system_of(found)
        assert (system.zones, system.key, system.taints) == (found.network.zones, "system", ())
        assert system.labels[LABEL_POOL] not in {pool.name for pool in pools_of(found)}

    def test_groups_of_a_capacity_block_use_its_reservation(self) -> None:
        found = load("prod", committed("prod"), {}, TODAY).aws
        assert found is not None
        (block,) = [group for group in groups_of(found) if group.capacity == "CAPACITY_BLOCK"]
        assert (block.reservation, block.efa, block.min) == ("cr-0123456789abcdef0", True, 0)
        assert (block.size.efa_cards, block.family.ami_type) == (32, "AL2023_x86_64_NVIDIA")
