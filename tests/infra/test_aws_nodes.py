"""Node groups: launch templates, scaling, EFA, taints and autoscaler tags."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from infra.catalog import FAMILIES
from infra.catalog.allocatable import kubelet
from infra.preview.graph import Node
from tests.support.infra import iam
from tests.support.infra.environment import NAME, POOLS, ZONES, follows, graph, part

GROUPS = ["block-1b", "cpu-1a", "h100-1a", "l40s-1a", "l40s-1b", "system"]
GPUS = ["block-1b", "h100-1a", "l40s-1a", "l40s-1b"]
ONE = [{"name": "t4", "family": "g4dn", "size": "xlarge", "max": 2}]


def group(name: str) -> dict[str, Any]:
    return next(node for node in part(graph(), "Nodes").of("NodeGroup") if node.name == name).inputs


def templates() -> dict[str, dict[str, Any]]:
    return {node.name: node.inputs for node in part(graph(), "Nodes").of("LaunchTemplate")}


def config(name: str) -> dict[str, Any]:
    text = base64.b64decode(templates()[name]["userData"]).decode()
    (body,) = (line for line in text.splitlines() if line.startswith("{"))
    assert "Content-Type: application/node.eks.aws\n\n{" in text
    assert text.endswith("--//--\n")
    return dict(json.loads(body))


def test_node_groups_exist_per_pool_and_zone_and_for_the_system() -> None:
    made = part(graph(), "Nodes")
    assert [node.name for node in made.of("NodeGroup")] == GROUPS
    assert sorted(templates()) == GROUPS
    assert group("l40s-1b")["subnetIds"] == [f"private-{ZONES[1]}-id"]
    assert group("system")["subnetIds"] == [f"private-{zone}-id" for zone in ZONES]


def test_node_config_of_efa_pools_raises_the_memlock_limit() -> None:
    """EFA pins the memory it sends from; with containerd's 8 MiB NCCL falls back to TCP without a word."""
    for name in GROUPS:
        limits = config(name)["spec"].get("containerd", {}).get("baseRuntimeSpec", {}).get("process", {})
        if name not in ("block-1b", "h100-1a"):
            assert limits == {}, name
            continue
        found = {each["type"]: each for each in limits["rlimits"]}
        locked = found["RLIMIT_MEMLOCK"]
        # More than the largest node has, and a number that JSON readers don't round.
        assert 4096 * 2**30 < locked["soft"] == locked["hard"] < 2**53
        assert found["RLIMIT_NOFILE"] == {"type": "RLIMIT_NOFILE", "soft": 65536, "hard": 1048576}


def test_node_group_names_are_prefixes() -> None:
    for name in GROUPS:
        inputs = group(name)
        assert "nodeGroupName" not in inputs
        assert inputs["nodeGroupNamePrefix"].startswith(NAME)
        assert len(inputs["nodeGroupNamePrefix"]) <= 63 - 26


def test_node_groups_with_another_pool_stay_unchanged() -> None:
    before = graph(pools=ONE)
    after = graph(pools=[{**ONE[0], "name": "a-first"}, *ONE])
    assert set(before) < set(after)
    for urn, node in before.items():
        assert after[urn].inputs == node.inputs, urn


@pytest.mark.parametrize("name", GROUPS)
class TestEveryTemplate:
    def test_launch_template_restricts_metadata_to_the_node(self, name: str) -> None:
        assert templates()[name]["metadataOptions"] == {
            "httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 1
        }  # fmt: skip

    def test_launch_template_disks_are_encrypted(self, name: str) -> None:
        for device in templates()[name]["blockDeviceMappings"]:
            disk = device["ebs"]
            assert disk["encrypted"] == "true"
            assert disk["kmsKeyId"].endswith(":data")
            assert disk["volumeType"] == "gp3"

    def test_launch_template_assigns_no_public_address(self, name: str) -> None:
        cards = templates()[name]["networkInterfaces"]
        assert all(card.get("associatePublicIpAddress", "false") == "false" for card in cards)
        assert len(cards) > 1 or cards[0]["associatePublicIpAddress"] == "false"
        assert all("sg-cluster" in card["securityGroups"] for card in cards)

    def test_launch_template_tags_instance_volume_and_interface(self, name: str) -> None:
        tagged = {each["resourceType"]: each["tags"] for each in templates()[name]["tagSpecifications"]}
        assert set(tagged) == {"instance", "volume", "network-interface"}
        for tags in tagged.values():
            assert {"Environment", "Owner", "CostCenter", "Project", "Stack", "Name"} == set(tags)

    def test_launch_template_has_no_field_that_eks_refuses(self, name: str) -> None:
        assert not {"imageId", "iamInstanceProfile", "keyName"} & set(templates()[name])
        assert not any("subnetId" in card for card in templates()[name]["networkInterfaces"])

    def test_instance_type_is_set_in_template_or_group_not_both(self, name: str) -> None:
        assert ("instanceType" in templates()[name]) != ("instanceTypes" in group(name))

    def test_node_group_repairs_and_updates_one_node_at_a_time(self, name: str) -> None:
        assert group(name)["nodeRepairConfig"] == {"enabled": True}
        assert group(name)["updateConfig"] == {"maxUnavailable": 1}

    def test_node_group_ignores_the_desired_size(self, name: str) -> None:
        (node,) = (each for each in part(graph(), "Nodes").of("NodeGroup") if each.name == name)
        assert node.ignores == ("scalingConfig.desiredSize",)

    def test_node_group_has_the_clusters_version_and_current_template(self, name: str) -> None:
        assert group(name)["version"] == "1.36"
        assert group(name)["launchTemplate"] == {"id": f"{name}-id", "version": "1"}


@pytest.mark.parametrize("name", GPUS)
def test_gpu_node_group_has_labels_and_the_gpu_taint(name: str) -> None:
    inputs = group(name)
    assert inputs["amiType"] == "AL2023_x86_64_NVIDIA"
    pool = name.rpartition("-")[0]
    assert inputs["labels"] == {
        "devservers.io/pool": pool,
        "nvidia.com/gpu.present": "true",
        "k8s.amazonaws.com/accelerator": {"block": "nvidia-h200"}.get(pool, f"nvidia-{pool}"),
    }
    assert inputs["taints"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}]


def test_cpu_node_groups_have_no_taint() -> None:
    for name in ("cpu-1a", "system"):
        assert group(name)["taints"] == []
        assert group(name)["amiType"] == "AL2023_x86_64_STANDARD"
    assert group("system")["labels"] == {"devservers.io/pool": "system"}


def test_node_group_sizes_follow_the_pools() -> None:
    sizes = {name: tuple(group(name)["scalingConfig"][key] for key in ("minSize", "maxSize")) for name in GROUPS}
    assert sizes == {
        "block-1b": (0, 2), "cpu-1a": (0, 4), "h100-1a": (0, 8), "l40s-1a": (2, 6), "l40s-1b": (1, 6), "system": (2, 4)
    }  # fmt: skip
    for name in GROUPS:
        assert group(name)["scalingConfig"]["desiredSize"] == group(name)["scalingConfig"]["minSize"]


def test_capacity_block_pool_targets_its_reservation() -> None:
    template = templates()["block-1b"]
    assert group("block-1b")["capacityType"] == "CAPACITY_BLOCK"
    assert template["instanceMarketOptions"] == {"marketType": "capacity-block"}
    assert template["instanceType"] == "p5en.48xlarge"
    assert "placement" not in template
    assert template["capacityReservationSpecification"] == {
        "capacityReservationTarget": {"capacityReservationId": "cr-0123456789abcdef1"}
    }


def test_capacity_block_pool_with_a_minimum_starts_at_zero() -> None:
    pool = {**POOLS[3], "min": 2}
    (made,) = (node for node in part(graph(pools=[pool]), "Nodes").of("NodeGroup") if node.name == "block-1b")
    assert made.inputs["scalingConfig"] == {"minSize": 0, "desiredSize": 0, "maxSize": 2}


def test_reserved_pool_without_a_block_targets_its_reservation() -> None:
    template = templates()["h100-1a"]
    assert "instanceMarketOptions" not in template
    assert template["capacityReservationSpecification"]["capacityReservationTarget"] == {
        "capacityReservationId": "cr-0123456789abcdef0"
    }
    assert not {"instanceMarketOptions", "capacityReservationSpecification"} & set(templates()["l40s-1a"])


def test_spot_pool_has_spot_capacity() -> None:
    assert group("cpu-1a")["capacityType"] == "SPOT"
    assert group("cpu-1a")["instanceTypes"] == ["m7i.2xlarge"]


class TestEfa:
    def test_efa_pool_has_an_interface_per_card(self) -> None:
        cards = templates()["h100-1a"]["networkInterfaces"]
        assert len(cards) == FAMILIES["p5"].sizes["48xlarge"].efa_cards == 32
        assert [card["networkCardIndex"] for card in cards] == list(range(32))
        assert [card["interfaceType"] for card in cards] == ["efa", *["efa-only"] * 31]
        assert [card["deviceIndex"] for card in cards] == [0, *[1] * 31]

    def test_efa_pool_whose_first_card_is_ip_only_has_efa_on_the_rest(self) -> None:
        size = FAMILIES["p6-b300"].sizes["48xlarge"]
        pool = {"name": "b300", "family": "p6-b300", "size": "48xlarge", "max": 1, "efa": True, "zones": ZONES[:1]}
        made = part(graph(pools=[pool]), "Nodes")
        (template,) = (node for node in made.of("LaunchTemplate") if node.name == "b300-1a")
        first, *rest = template.inputs["networkInterfaces"]
        assert "interfaceType" not in first
        assert first["networkCardIndex"] == 0
        assert [card["networkCardIndex"] for card in rest] == list(range(1, size.efa_cards + 1))
        assert {card["interfaceType"] for card in rest} == {"efa-only"}

    def test_efa_pool_has_a_cluster_placement_group(self) -> None:
        placement = part(graph(), "Nodes").one("PlacementGroup")
        assert placement.name == "h100-1a"
        assert placement.inputs["strategy"] == "cluster"
        assert templates()["h100-1a"]["placement"] == {"groupName": placement.inputs["name"]}

    def test_efa_security_group_admits_itself_only(self) -> None:
        made = part(graph(), "Nodes")
        for kind in ("SecurityGroupIngressRule", "SecurityGroupEgressRule"):
            inputs = made.one(kind).inputs
            assert inputs["securityGroupId"] == inputs["referencedSecurityGroupId"] == "efa-id"
            assert "cidrIpv4" not in inputs
        for name in GROUPS:
            cards = templates()[name]["networkInterfaces"]
            assert all(("efa-id" in card["securityGroups"]) == (name in ("block-1b", "h100-1a")) for card in cards)

    def test_efa_security_group_without_an_efa_pool_is_absent(self) -> None:
        assert not part(graph(pools=ONE), "Nodes").of("SecurityGroup")


def test_node_config_has_the_kubelet_reserve_of_its_size() -> None:
    assert config("system")["spec"] == {"kubelet": {"config": kubelet(FAMILIES["m7i"].sizes["large"])}}
    spec = config("l40s-1a")["spec"]
    assert spec["kubelet"]["config"] == kubelet(FAMILIES["g6e"].sizes["12xlarge"])
    assert spec["instance"] == {"localStorage": {"strategy": "RAID0"}}


def test_node_role_has_three_managed_policies() -> None:
    made = part(graph(), "Nodes")
    assert {node.inputs["policyArn"].rpartition("/")[2] for node in made.of("RolePolicyAttachment")} == {
        "AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly", "AmazonSSMManagedInstanceCore"
    }  # fmt: skip
    assert not made.of("RolePolicy")
    (statement,) = iam.documents(graph())["Role node.assumeRolePolicy"]["Statement"]
    assert statement["Principal"] == {"Service": "ec2.amazonaws.com"}


def tags(name: str, **changes: Any) -> dict[str, str]:
    made = part(graph(**changes), "Nodes").of("Tag")
    mine: list[Node] = [node for node in made if node.inputs["autoscalingGroupName"] == f"asg-{name}"]
    assert not any(node.inputs["tag"]["propagateAtLaunch"] for node in mine)
    return {node.inputs["tag"]["key"]: node.inputs["tag"]["value"] for node in mine}


def test_autoscaler_tags_describe_nodes_of_an_empty_group() -> None:
    template = "k8s.io/cluster-autoscaler/node-template"
    assert tags("h100-1a") == {
        f"{template}/label/devservers.io/pool": "h100",
        f"{template}/label/k8s.amazonaws.com/accelerator": "nvidia-h100",
        f"{template}/label/nvidia.com/gpu.present": "true",
        f"{template}/taint/nvidia.com/gpu": "present:NoSchedule",
        f"{template}/resources/nvidia.com/gpu": "8",
        f"{template}/resources/vpc.amazonaws.com/efa": "32",
    }
    assert tags("cpu-1a") == {f"{template}/label/devservers.io/pool": "cpu"}
    assert tags("system") == {}


def test_node_groups_depend_on_addons_policies_and_routes() -> None:
    whole = graph()
    before = part(whole, "NodeAddons")
    for node in part(whole, "Nodes").of("NodeGroup"):
        for earlier in (*before.of("Addon"), *part(whole, "Nodes").of("RolePolicyAttachment")):
            assert follows(whole, node, earlier), (node.name, earlier.name)
        for way in part(whole, "Network").of("Route"):
            assert follows(whole, node, way)
