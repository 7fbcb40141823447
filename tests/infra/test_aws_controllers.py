"""Helm releases of the AWS controllers: charts, values, rights and order."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from infra.catalog import CHARTS, VERSIONS, registry_of_eks
from infra.preview.graph import Node
from tests.support.infra import iam
from tests.support.infra.environment import NAME, follows, graph, part

CPU = [{"name": "cpu", "family": "m7i", "size": "xlarge", "max": 2}]
GPU = [{"name": "t4", "family": "g4dn", "size": "xlarge", "max": 2}]
ALWAYS = ["aws-load-balancer-controller", "cluster-autoscaler"]
HOME = {"devservers.io/pool": "system"}


def releases(**changes: Any) -> list[Node]:
    return part(graph(**changes), "Controllers").of("Release")


def values(name: str) -> dict[str, Any]:
    (node,) = (node for node in releases() if node.name == name)
    return dict(node.inputs["values"])


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({"pools": CPU}, []),
        ({"pools": GPU}, ["nvidia-device-plugin"]),
        ({}, ["efa-device-plugin", "nvidia-device-plugin"]),
    ],
)
def test_controllers_follow_the_pools_hardware(changes: dict[str, Any], more: list[str]) -> None:
    assert [node.name for node in releases(**changes)] == sorted([*ALWAYS, *more])


def test_controller_charts_are_the_catalogs_and_atomic() -> None:
    for node in releases():
        chart = CHARTS[node.name]
        assert (node.inputs["chart"], node.inputs["version"]) == (chart.name, chart.version)
        assert node.inputs["repositoryOpts"] == {"repo": chart.repository}
        assert node.inputs["namespace"] == "kube-system"
        assert node.inputs["name"] == node.name
        assert node.inputs["atomic"] is True
        assert "skipAwait" not in node.inputs


def test_controller_releases_are_deleted_with_the_cluster() -> None:
    for node in releases():
        assert node.deleted_with.endswith("eks:index:Cluster::cluster")


def test_controllers_depend_on_system_nodes_and_addons() -> None:
    whole = graph()
    earlier = [node for node in part(whole, "Nodes").of("NodeGroup") if node.name == "system"]
    earlier += part(whole, "Addons").of("Addon")
    assert len(earlier) == 8
    for node in releases():
        for each in earlier:
            assert follows(whole, node, each), (node.name, each.name)


def test_load_balancer_controller_reads_no_metadata_and_mutates_no_service() -> None:
    said = values("aws-load-balancer-controller")
    assert (said["clusterName"], said["region"], said["vpcId"]) == (NAME, "eu-central-1", "vpc-id")
    assert said["enableServiceMutatorWebhook"] is False
    assert said["enableBackendSecurityGroup"] is False
    assert said["nodeSelector"] == HOME


def test_load_balancer_controller_policy_registers_targets_of_this_stack_only() -> None:
    looks, registers = iam.documents(graph())["RolePolicy aws-load-balancer-controller.policy"]["Statement"]
    assert all(action.partition(":")[2].startswith("Describe") for action in looks["Action"])
    assert registers["Action"] == ["elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:RegisterTargets"]
    assert registers["Condition"] == {"StringEquals": {"aws:ResourceTag/Stack": "dev"}}
    assert registers["Resource"] == "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/*/*"


def test_autoscaler_has_the_clusters_version_and_discovers_by_tags() -> None:
    said = values("cluster-autoscaler")
    assert said["image"] == {"tag": VERSIONS["1.36"].autoscaler}
    assert said["autoDiscovery"] == {"clusterName": NAME}
    assert said["awsRegion"] == "eu-central-1"
    assert said["extraArgs"]["expander"] == "least-waste"
    assert said["nodeSelector"] == HOME


def test_autoscaler_thresholds_keep_nodes_with_a_server() -> None:
    said = values("cluster-autoscaler")["extraArgs"]
    # The least a server asks for, of the biggest node: more than the autoscaler takes for nothing.
    assert 0.25 / 192 > said["scale-down-utilization-threshold"] > 0
    assert 1 / 8 > said["scale-down-gpu-utilization-threshold"] > 0


def test_autoscaler_policy_covers_this_clusters_groups_only() -> None:
    looks, asks, changes = iam.documents(graph())["RolePolicy cluster-autoscaler.policy"]["Statement"]
    assert all(action.partition(":")[2].startswith(("Describe", "Get")) for action in looks["Action"])
    assert asks["Resource"] == f"arn:aws:eks:eu-central-1:111122223333:nodegroup/{NAME}/*/*"
    assert changes["Action"] == ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"]
    assert changes["Condition"] == {"StringEquals": {f"aws:ResourceTag/k8s.io/cluster-autoscaler/{NAME}": "owned"}}


@pytest.mark.parametrize("name", ALWAYS)
def test_controller_role_is_bound_to_its_service_account(name: str) -> None:
    (made,) = (node for node in part(graph(), "Controllers").of("PodIdentityAssociation") if node.name == name)
    assert (made.inputs["namespace"], made.inputs["serviceAccount"]) == ("kube-system", name)
    (release,) = (node for node in releases() if node.name == name)
    assert follows(graph(), release, made)


def test_nvidia_device_plugin_disables_feature_discovery() -> None:
    said = values("nvidia-device-plugin")
    assert said["nfd"] == said["gfd"] == {"enabled": False}


def ecrs(value: object) -> list[str]:
    """Regions of the private registries that chart values name."""
    return re.findall(r"\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com", json.dumps(value))


def test_controller_images_are_regional_or_public() -> None:
    """A node's role can ask no other region for a token.

    Charts' defaults are in no value: the one that names a private registry is EFA's, of us-west-2.
    """
    assert ecrs(values("efa-device-plugin")["image"]) == ["eu-central-1"]
    for node in releases():
        assert set(ecrs(node.inputs["values"])) <= {"eu-central-1"}, node.name


@pytest.mark.parametrize(("region", "account"), [("eu-central-1", "602401143452"), ("eu-south-2", "455263428931")])
def test_eks_registry_of_an_opt_in_region_has_its_own_account(region: str, account: str) -> None:
    assert registry_of_eks(region) == f"{account}.dkr.ecr.{region}.amazonaws.com"


def test_efa_device_plugin_selects_efa_pools_and_tolerates_every_taint() -> None:
    said = values("efa-device-plugin")
    assert said["supportedInstanceLabels"] == {"keys": ["devservers.io/pool"], "values": ["h100", "block"]}
    assert said["tolerations"] == [{"operator": "Exists"}]
