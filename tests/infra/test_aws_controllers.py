"""The controllers: charts, what they are told, and how little they may."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from infra.catalog import CHARTS, VERSIONS, registry_of_eks
from infra.preview.recorder import Node
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
def test_which_there_are(changes: dict[str, Any], more: list[str]) -> None:
    assert [node.name for node in releases(**changes)] == sorted([*ALWAYS, *more])


def test_charts_are_the_catalogs_and_ready_or_rolled_back() -> None:
    for node in releases():
        chart = CHARTS[node.name]
        assert (node.inputs["chart"], node.inputs["version"]) == (chart.name, chart.version)
        assert node.inputs["repositoryOpts"] == {"repo": chart.repository}
        assert node.inputs["namespace"] == "kube-system"
        assert node.inputs["name"] == node.name
        assert node.inputs["atomic"] is True
        assert "skipAwait" not in node.inputs


def test_nobody_asks_a_cluster_that_goes_for_them() -> None:
    for node in releases():
        assert node.deleted_with.endswith("eks:index:Cluster::cluster")


def test_they_come_after_the_platforms_nodes_and_add_ons_and_go_before_them() -> None:
    whole = graph()
    earlier = [node for node in part(whole, "Nodes").of("NodeGroup") if node.name == "system"]
    earlier += part(whole, "Addons").of("Addon")
    assert len(earlier) == 7
    for node in releases():
        for each in earlier:
            assert follows(whole, node, each), (node.name, each.name)


def test_the_load_balancer_controller_needs_no_metadata_and_has_no_say_in_services() -> None:
    said = values("aws-load-balancer-controller")
    assert (said["clusterName"], said["region"], said["vpcId"]) == (NAME, "eu-central-1", "vpc-id")
    assert said["enableServiceMutatorWebhook"] is False
    assert said["enableBackendSecurityGroup"] is False
    assert said["nodeSelector"] == HOME


def test_it_registers_pods_with_target_groups_of_this_stack_and_changes_nothing_else() -> None:
    looks, registers = iam.documents(graph())["RolePolicy aws-load-balancer-controller.policy"]["Statement"]
    assert all(action.partition(":")[2].startswith("Describe") for action in looks["Action"])
    assert registers["Action"] == ["elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:RegisterTargets"]
    assert registers["Condition"] == {"StringEquals": {"aws:ResourceTag/Stack": "dev"}}
    assert registers["Resource"] == "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/*/*"


def test_the_autoscaler_is_the_clusters_minor_version_and_finds_groups_by_tags() -> None:
    said = values("cluster-autoscaler")
    assert said["image"] == {"tag": VERSIONS["1.36"].autoscaler}
    assert said["autoDiscovery"] == {"clusterName": NAME}
    assert said["awsRegion"] == "eu-central-1"
    assert said["extraArgs"]["expander"] == "least-waste"
    assert said["nodeSelector"] == HOME


def test_a_node_with_somebodys_work_on_it_stays() -> None:
    said = values("cluster-autoscaler")["extraArgs"]
    # The least a server asks for, of the biggest node: more than the autoscaler takes for nothing.
    assert 0.25 / 192 > said["scale-down-utilization-threshold"] > 0
    assert 1 / 8 > said["scale-down-gpu-utilization-threshold"] > 0


def test_the_autoscaler_changes_this_clusters_groups_only() -> None:
    looks, asks, changes = iam.documents(graph())["RolePolicy cluster-autoscaler.policy"]["Statement"]
    assert all(action.partition(":")[2].startswith(("Describe", "Get")) for action in looks["Action"])
    assert asks["Resource"] == f"arn:aws:eks:eu-central-1:111122223333:nodegroup/{NAME}/*/*"
    assert changes["Action"] == ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"]
    assert changes["Condition"] == {"StringEquals": {f"aws:ResourceTag/k8s.io/cluster-autoscaler/{NAME}": "owned"}}


@pytest.mark.parametrize("name", ALWAYS)
def test_their_roles_are_their_service_accounts(name: str) -> None:
    (made,) = (node for node in part(graph(), "Controllers").of("PodIdentityAssociation") if node.name == name)
    assert (made.inputs["namespace"], made.inputs["serviceAccount"]) == ("kube-system", name)
    (release,) = (node for node in releases() if node.name == name)
    assert follows(graph(), release, made)


def test_no_feature_discovery_is_waited_for_to_label_gpu_nodes() -> None:
    said = values("nvidia-device-plugin")
    assert said["nfd"] == said["gfd"] == {"enabled": False}


def ecrs(value: object) -> list[str]:
    """Regions of the private registries that chart values name."""
    return re.findall(r"\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com", json.dumps(value))


def test_images_are_of_the_environments_own_region_or_public() -> None:
    """A node's role can ask no other region for a token. Charts' defaults are in no value: the one that names a
    private registry is EFA's, of us-west-2."""
    assert ecrs(values("efa-device-plugin")["image"]) == ["eu-central-1"]
    for node in releases():
        assert set(ecrs(node.inputs["values"])) <= {"eu-central-1"}, node.name


@pytest.mark.parametrize(("region", "account"), [("eu-central-1", "602401143452"), ("eu-south-2", "455263428931")])
def test_regions_to_opt_in_to_have_accounts_of_their_own(region: str, account: str) -> None:
    assert registry_of_eks(region) == f"{account}.dkr.ecr.{region}.amazonaws.com"


def test_efa_is_offered_where_pools_have_it_through_every_taint() -> None:
    said = values("efa-device-plugin")
    assert said["supportedInstanceLabels"] == {"keys": ["devservers.io/pool"], "values": ["h100", "block"]}
    assert said["tolerations"] == [{"operator": "Exists"}]
