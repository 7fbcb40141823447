"""The EKS control plane: endpoint, logs, encryption, access entries and provider."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.preview.graph import Node
from tests.support.infra import iam
from tests.support.infra.environment import ADMINISTRATOR, NAME, follows, graph, part

ARN = f"arn:aws:eks:eu-central-1:111122223333:cluster/{NAME}"


def cluster(**changes: Any) -> Node:
    (node,) = (node for node in graph(**changes).values() if node.type == "eks:index:Cluster")
    return node


def test_cluster_endpoint_by_default_is_private() -> None:
    inputs = cluster().inputs
    assert inputs["endpointPrivateAccess"] is True
    assert inputs["endpointPublicAccess"] is False
    assert "publicAccessCidrs" not in inputs


def test_cluster_endpoint_with_public_cidrs_admits_those_only() -> None:
    inputs = cluster(kubernetes={"publicAccessCidrs": ["203.0.113.0/24"]}).inputs
    assert inputs["endpointPublicAccess"] is True
    assert inputs["publicAccessCidrs"] == ["203.0.113.0/24"]


def test_cluster_authentication_uses_access_entries_only() -> None:
    assert cluster().inputs["authenticationMode"] == "API"


def test_cluster_logs_go_to_a_log_group_created_before() -> None:
    assert set(cluster().inputs["enabledClusterLogTypes"]) == {
        "api", "audit", "authenticator", "controllerManager", "scheduler"
    }  # fmt: skip
    group = part(graph(), "Cluster").one("LogGroup")
    assert group.inputs["name"] == f"/aws/eks/{NAME}/cluster"
    assert group.inputs["retentionInDays"] == 90
    assert follows(graph(), cluster(), group)


def test_cluster_secrets_are_encrypted_with_a_key_created_before() -> None:
    assert cluster().inputs["encryptionConfigKeyArn"].endswith(":cluster")
    (key,) = (each for each in part(graph(), "Security").of("Key") if each.name == "cluster")
    assert follows(graph(), cluster(), key)


def test_cluster_role_has_its_rights_before_the_cluster() -> None:
    made = part(graph(), "Cluster")
    (attached,) = made.of("RolePolicyAttachment")
    assert attached.inputs["policyArn"] == "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"
    (statement,) = iam.documents(graph())["RolePolicy cluster-key.policy"]["Statement"]
    assert statement["Resource"].endswith(":cluster")
    for right in (attached, made.one("RolePolicy")):
        assert follows(graph(), cluster(), right)


def test_cluster_component_creates_no_nodes_or_addons() -> None:
    inputs = cluster().inputs
    assert inputs["skipDefaultNodeGroup"] is True
    assert inputs["createInstanceRole"] is False
    assert inputs["skipDefaultSecurityGroups"] is True
    assert inputs["createOidcProvider"] is False
    assert inputs["useDefaultVpcCni"] is True
    assert inputs["bootstrapSelfManagedAddons"] is False
    assert inputs["kubeProxyAddonOptions"]["enabled"] is inputs["corednsAddonOptions"]["enabled"] is False


def test_cluster_uses_private_subnets() -> None:
    inputs = cluster().inputs
    assert inputs["privateSubnetIds"] == ["private-eu-central-1a-id", "private-eu-central-1b-id"]
    assert "publicSubnetIds" not in inputs
    assert inputs["kubernetesServiceIpAddressRange"] == "172.20.0.0/16"


@pytest.mark.parametrize(
    ("changes", "protected"),
    [({}, False), ({"kubernetes": {"deletionProtection": True}}, True), ({"environment": "prod"}, True)],
)
def test_cluster_deletion_protection_follows_setting_and_environment(changes: dict[str, Any], protected: bool) -> None:
    assert cluster(**changes).inputs["deletionProtection"] is protected


def test_cluster_version_and_support_follow_the_settings() -> None:
    inputs = cluster(kubernetes={"version": "1.35", "support": "EXTENDED"}).inputs
    assert inputs["version"] == "1.35"
    assert inputs["upgradePolicy"] == {"supportType": "EXTENDED"}


def test_administrators_get_cluster_admin_access_entries() -> None:
    made = part(graph(), "Cluster")
    entry, policy = made.one("AccessEntry"), made.one("AccessPolicyAssociation")
    assert entry.inputs["principalArn"] == policy.inputs["principalArn"] == ADMINISTRATOR
    assert policy.inputs["policyArn"].endswith("/AmazonEKSClusterAdminPolicy")
    assert follows(graph(), entry, cluster())
    assert follows(graph(), policy, entry)


def test_cluster_creator_gets_no_second_access_entry() -> None:
    other = ADMINISTRATOR.replace("platform-admins", "on-call")
    access = {"administrators": [ADMINISTRATOR, other], "creator": ADMINISTRATOR}
    made = part(graph(access=access), "Cluster")
    for kind in ("AccessEntry", "AccessPolicyAssociation"):
        assert made.one(kind).inputs["principalArn"] == other


def test_kubernetes_provider_is_identified_by_the_clusters_arn() -> None:
    provider = next(node for node in graph().values() if node.type == "pulumi:providers:kubernetes")
    assert provider.inputs["clusterIdentifier"] == ARN
    assert provider.inputs["enableServerSideApply"] == "true"
    assert json.loads(provider.inputs["kubeconfig"])["current-context"] == "cluster"
    # No secret: whoever uses it signs in with credentials of their own.
    assert "token" not in provider.inputs["kubeconfig"]
