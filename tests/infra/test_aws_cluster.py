"""The control plane: who reaches it, what it keeps, and what is there before it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.preview.recorder import Node
from tests.support.infra import iam
from tests.support.infra.environment import ADMINISTRATOR, NAME, follows, graph, part

ARN = f"arn:aws:eks:eu-central-1:111122223333:cluster/{NAME}"


def cluster(**changes: Any) -> Node:
    (node,) = (node for node in graph(**changes).values() if node.type == "eks:index:Cluster")
    return node


def test_it_is_reached_from_the_vpc_alone() -> None:
    inputs = cluster().inputs
    assert inputs["endpointPrivateAccess"] is True
    assert inputs["endpointPublicAccess"] is False
    assert "publicAccessCidrs" not in inputs


def test_from_outside_only_by_the_networks_that_are_named() -> None:
    inputs = cluster(kubernetes={"publicAccessCidrs": ["203.0.113.0/24"]}).inputs
    assert inputs["endpointPublicAccess"] is True
    assert inputs["publicAccessCidrs"] == ["203.0.113.0/24"]


def test_only_access_entries_say_who_may() -> None:
    assert cluster().inputs["authenticationMode"] == "API"


def test_all_five_logs_go_to_a_group_that_is_there_before() -> None:
    assert set(cluster().inputs["enabledClusterLogTypes"]) == {
        "api", "audit", "authenticator", "controllerManager", "scheduler"
    }  # fmt: skip
    group = part(graph(), "Cluster").one("LogGroup")
    assert group.inputs["name"] == f"/aws/eks/{NAME}/cluster"
    assert group.inputs["retentionInDays"] == 90
    assert follows(graph(), cluster(), group)


def test_secrets_are_encrypted_under_a_key_that_is_there_before() -> None:
    assert cluster().inputs["encryptionConfigKeyArn"].endswith(":cluster")
    (key,) = (each for each in part(graph(), "Security").of("Key") if each.name == "cluster")
    assert follows(graph(), cluster(), key)


def test_its_role_has_its_rights_before_it_and_nothing_but_these() -> None:
    made = part(graph(), "Cluster")
    (attached,) = made.of("RolePolicyAttachment")
    assert attached.inputs["policyArn"] == "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"
    (statement,) = iam.documents(graph())["RolePolicy cluster-key.policy"]["Statement"]
    assert statement["Resource"].endswith(":cluster")
    for right in (attached, made.one("RolePolicy")):
        assert follows(graph(), cluster(), right)


def test_nodes_and_add_ons_are_not_pulumi_ekss() -> None:
    inputs = cluster().inputs
    assert inputs["skipDefaultNodeGroup"] is True
    assert inputs["createInstanceRole"] is False
    assert inputs["skipDefaultSecurityGroups"] is True
    assert inputs["createOidcProvider"] is False
    assert inputs["useDefaultVpcCni"] is True
    assert inputs["bootstrapSelfManagedAddons"] is False
    assert inputs["kubeProxyAddonOptions"]["enabled"] is inputs["corednsAddonOptions"]["enabled"] is False


def test_it_is_in_private_subnets() -> None:
    inputs = cluster().inputs
    assert inputs["privateSubnetIds"] == ["private-eu-central-1a-id", "private-eu-central-1b-id"]
    assert "publicSubnetIds" not in inputs
    assert inputs["kubernetesServiceIpAddressRange"] == "172.20.0.0/16"


@pytest.mark.parametrize(
    ("changes", "protected"),
    [({}, False), ({"kubernetes": {"deletionProtection": True}}, True), ({"environment": "prod"}, True)],
)
def test_eks_refuses_to_delete_it(changes: dict[str, Any], protected: bool) -> None:
    assert cluster(**changes).inputs["deletionProtection"] is protected


def test_version_and_support_are_the_settings() -> None:
    inputs = cluster(kubernetes={"version": "1.35", "support": "EXTENDED"}).inputs
    assert inputs["version"] == "1.35"
    assert inputs["upgradePolicy"] == {"supportType": "EXTENDED"}


def test_administrators() -> None:
    made = part(graph(), "Cluster")
    entry, policy = made.one("AccessEntry"), made.one("AccessPolicyAssociation")
    assert entry.inputs["principalArn"] == policy.inputs["principalArn"] == ADMINISTRATOR
    assert policy.inputs["policyArn"].endswith("/AmazonEKSClusterAdminPolicy")
    assert follows(graph(), entry, cluster())
    assert follows(graph(), policy, entry)


def test_who_creates_the_cluster_is_given_no_second_entry() -> None:
    other = ADMINISTRATOR.replace("platform-admins", "on-call")
    access = {"administrators": [ADMINISTRATOR, other], "creator": ADMINISTRATOR}
    made = part(graph(access=access), "Cluster")
    for kind in ("AccessEntry", "AccessPolicyAssociation"):
        assert made.one(kind).inputs["principalArn"] == other


def test_the_provider_stays_the_same_when_the_address_changes() -> None:
    provider = next(node for node in graph().values() if node.type == "pulumi:providers:kubernetes")
    assert provider.inputs["clusterIdentifier"] == ARN
    assert provider.inputs["enableServerSideApply"] == "true"
    assert json.loads(provider.inputs["kubeconfig"])["current-context"] == "cluster"
    # No secret: whoever uses it signs in with credentials of their own.
    assert "token" not in provider.inputs["kubeconfig"]
