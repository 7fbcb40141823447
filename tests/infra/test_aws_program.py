"""The Pulumi program with cluster aws: environment, then platform."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import pulumi
import pytest

from infra import ROOT
from infra.policy.subject import at, decoded
from infra.preview.recorder import Run, run
from tests.support.infra.environment import CONFIGURATION, NAME, STACK, follows, part

IMAGES = {name: f"registry.example.com/devservers/{name}:1" for name in ("operator", "agent", "base", "bastion")}
LOOKS = """
import sys
import infra.settings.loading, infra.local.provider, infra.platform.stack, infra.preview.recorder
print([name for name in ("pulumi_aws", "pulumi_eks") if name in sys.modules])
"""


def program(preview: bool = False, **changes: object) -> Run:
    config = {"cluster": "aws", "images": IMAGES, **CONFIGURATION, **changes}
    environment: Mapping[str, str] = {"HOME": "/nowhere"}
    return run(config, environment, preview, STACK)


@pytest.fixture(scope="module")
def made() -> Run:
    return program()


def test_program_preview_registers_the_same_resources(made: Run) -> None:
    assert set(program(preview=True).graph) == set(made.graph)


def test_platform_deployments_depend_on_nodes_and_controllers(made: Run) -> None:
    whole = made.graph
    nodes = part(whole, "Nodes").of("NodeGroup")
    releases = part(whole, "Controllers").of("Release")
    objects = [node for node in whole.values() if "apiVersion" in node.inputs and node.inputs["kind"] == "Deployment"]
    assert nodes
    assert releases
    assert objects
    for node in objects:
        assert "providers:kubernetes::cluster::" in node.provider
        assert all(follows(whole, node, earlier) for earlier in (*nodes, *releases)), node.name


def test_operator_closes_the_vpcs_networks_to_servers(made: Run) -> None:
    """Nodes, other people's pods, the API server and VPC endpoints have addresses of the VPC there."""
    (operator,) = (
        node
        for node in made.graph.values()
        if node.inputs.get("kind") == "Deployment" and node.inputs["metadata"]["name"] == "devservers-operator"
    )
    (container,) = operator.inputs["spec"]["template"]["spec"]["containers"]
    env = {each["name"]: each["value"] for each in container["env"]}
    assert env["DEVSERVERS_CLOSED_NETWORKS"] == "10.0.0.0/16,172.20.0.0/16"
    assert "DEVSERVERS_NAME_SERVERS" not in env


def test_flavors_on_aws_have_no_overcommit(made: Run) -> None:
    flavors = made.graph.of("DevServerFlavor")
    assert flavors
    assert not any("devservers.io/overcommit" in str(each.inputs["metadata"]) for each in flavors)


DAEMONS = {
    "eks-node-monitoring-agent",
    "eks-pod-identity-agent",
    "kube-proxy",
    "vpc-cni",
    "efa-device-plugin",
    "nvidia-device-plugin",
}
"""Add-ons and charts of DaemonSets alone, which belong on every node that needs them."""
SELECTORS = {
    "amazon-cloudwatch-observability": "manager.nodeSelector",
    "aws-ebs-csi-driver": "controller.nodeSelector",
    "aws-efs-csi-driver": "controller.nodeSelector",
    "kueue": "controllerManager.nodeSelector",
}
"""Where the others take a node selector, if not in `nodeSelector`."""


def test_deployments_and_charts_run_on_system_nodes(made: Run) -> None:
    """On people's nodes it would take their room, and keep the nodes from going when they are empty."""
    found: dict[str, object] = {}
    for node in made.graph.values():
        if node.kind in ("Deployment", "StatefulSet", "Job", "CronJob"):
            found[node.name] = at(node.inputs, "spec.template.spec.nodeSelector")
        if node.kind in ("Addon", "Release") and node.name not in DAEMONS:
            key = "configurationValues" if node.kind == "Addon" else "values"
            found[node.name] = at(decoded(node.inputs.get(key)), SELECTORS.get(node.name, "nodeSelector"))
    assert {"coredns", "metrics-server", "kueue", "cluster-autoscaler", *SELECTORS} < set(found)
    assert any("operator" in name for name in found)
    assert {name: value for name, value in found.items() if value != {"devservers.io/pool": "system"}} == {}


def test_flavors_output_lists_shipped_flavors_and_gpu_pools(made: Run) -> None:
    assert made.outputs["flavors"] == ["cpu-small", "cpu-medium", "cpu-large", "l40s", "h100", "block"]


def test_program_outputs_name_cluster_region_and_namespace(made: Run) -> None:
    assert made.outputs["clusterName"] == NAME
    assert made.outputs["region"] == "eu-central-1"
    assert made.outputs["namespace"] == "devservers-system"
    assert {"clusterArn", "kubeconfig", "vpcId"} <= set(made.outputs)


def test_program_with_bad_settings_raises_one_error() -> None:
    with pytest.raises(pulumi.RunError, match="devservers:region"):
        program(region="nowhere")


def test_program_of_the_local_stack_imports_no_aws_sdk() -> None:
    seen = subprocess.run([sys.executable, "-c", LOOKS], cwd=ROOT, capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "[]"
