"""EKS add-ons of a cluster, with the IAM roles of their service accounts.

Invariant: every EKS add-on has its version from the catalog, and rights only as one service account's own.

In two parts. A node is ready when network, proxy and Pod Identity agent run on it: those are there before the first
node and go after the last, so that the CNI still cleans up its network interfaces. All others need nodes to run on; an
add-on without any would be waited for 20 minutes and fail.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi_aws import eks

from infra.aws.addons import csi
from infra.aws.addons.pod_role import pod_role
from infra.aws.cluster.control_plane import Cluster
from infra.aws.cluster.node_groups import Nodes
from infra.aws.cluster.pool_layout import groups_of
from infra.aws.component import Component
from infra.aws.kms_keys import Security
from infra.catalog import VERSIONS
from infra.platform.manifest import Manifest
from infra.platform.namespaces import network_policy
from infra.platform.pools import GPU_LABEL
from infra.settings.aws.models import SYSTEM_NODE_SELECTOR, Aws
from infra.settings.aws.naming import MAX_ROLE_NAME, named

SYSTEM_NAMESPACE = "kube-system"
_EFS_NODE_ROLE = "efs-csi-node"
_NETWORK = {
    "enableNetworkPolicy": "true",
    # 16 addresses at a time: as many pods as the kubelet takes, with fewer calls to EC2.
    "env": {"ENABLE_PREFIX_DELEGATION": "true", "WARM_PREFIX_TARGET": "1"},
}
_ON_SYSTEM_NODES: dict[str, Any] = {"nodeSelector": SYSTEM_NODE_SELECTOR}
_NODE_MONITORING: dict[str, Any] = {
    # What reads the GPUs' health has no toleration of its own, and node repair knows nothing without it.
    "dcgmAgent": {"tolerations": [{"operator": "Exists"}]},
}
_OBSERVABILITY: dict[str, Any] = {
    # All else of it is a DaemonSet. By default it instruments what a Service selects: containers that Pod Security
    # `restricted` refuses, in servers' pods, and another PYTHONPATH in the bastion's.
    "manager": {**_ON_SYSTEM_NODES, "applicationSignals": {"autoMonitor": {"monitorAllServices": False}}},
    "applicationSignals": {"enabled": False},
    # Its own list of instance types has no p5.4xlarge, g7 and g7e: no metric of theirs, and no alarm of idle GPUs.
    "dcgmExporter": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": [{"key": GPU_LABEL, "operator": "In", "values": ["true"]}]}]
    }}}},
}  # fmt: skip


def gpu_health_policy() -> dict[str, Any]:
    """The NetworkPolicy that closes DCGM's server (port 5555) to all but its own node.

    It runs on every GPU node and asks nobody who they are: whoever reaches it reads and sets what the node's GPUs do.
    The node monitoring agent asks it from the node itself, which the VPC CNI always lets in.
    """
    spec = {"podSelector": {"matchLabels": {"k8s-app": "dcgm-server"}}, "policyTypes": ["Ingress"]}
    return network_policy(SYSTEM_NAMESPACE, "dcgm-server", spec)


def efs_node_role_arn(stack: str, aws: Aws) -> str:
    """ARN of the role that mounts shared volumes, known before it is made.

    The file system's policy names it.
    """
    return f"arn:aws:iam::{aws.account_id}:role/{named(stack, _EFS_NODE_ROLE, limit=MAX_ROLE_NAME)}"


class _Addons(Component):
    """Add-ons of one cluster."""

    def __init__(self, name: str, stack: str, aws: Aws, cluster: Cluster, opts: pulumi.ResourceOptions) -> None:
        super().__init__(name, opts)
        self._stack, self._cluster = stack, cluster
        self._versions = VERSIONS[aws.kubernetes.version].addons

    def add(
        self, name: str, configuration: Mapping[str, Any] | None = None, after: Sequence[pulumi.Resource] = ()
    ) -> eks.Addon:
        """Install an add-on.

        Without a configuration, changes that others made to its objects are kept.
        """
        return eks.Addon(
            name,
            cluster_name=self._cluster.name,
            addon_name=name,
            addon_version=self._versions[name],
            configuration_values=json.dumps(configuration, sort_keys=True) if configuration else None,
            resolve_conflicts_on_create="OVERWRITE",
            resolve_conflicts_on_update="OVERWRITE" if configuration else "PRESERVE",
            opts=self.options([self._cluster.resource, *after]),
        )

    def role(
        self,
        name: str,
        account: str,
        *managed: str,
        namespace: str = SYSTEM_NAMESPACE,
        statements: Sequence[Mapping[str, Any]] = (),
    ) -> pulumi.Resource:
        """An add-on's role; its pods take it when they start, so it is there before them."""
        return pod_role(
            self,
            self._stack,
            self._cluster,
            name,
            namespace=namespace,
            account=account,
            managed=managed,
            statements=statements,
        )


class NodeAddons(_Addons):
    """What a node needs to become ready."""

    def __init__(self, stack: str, aws: Aws, cluster: Cluster, opts: pulumi.ResourceOptions) -> None:
        super().__init__("node-addons", stack, aws, cluster, opts)
        agent = self.add("eks-pod-identity-agent")
        self.add("kube-proxy")
        self.add("vpc-cni", _NETWORK, [agent, self.role("vpc-cni", "aws-node", "AmazonEKS_CNI_Policy")])
        self.register_outputs({})


class Addons(_Addons):
    """What runs on nodes: names, volumes, health, measurements."""

    def __init__(
        self, stack: str, aws: Aws, cluster: Cluster, nodes: Nodes, security: Security, opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__("addons", stack, aws, cluster, opts)
        self._nodes = nodes
        self.add_to_nodes("coredns", _ON_SYSTEM_NODES)
        self.add_to_nodes("eks-node-monitoring-agent", _NODE_MONITORING)
        if any(group.size.gpus for group in groups_of(aws)):
            Manifest(gpu_health_policy(), self.options([nodes.system], within=cluster.resource))
        self.add_to_nodes("metrics-server", _ON_SYSTEM_NODES)
        disks = self.role(
            "ebs-csi",
            "ebs-csi-controller-sa",
            # Volumes that a CSI driver made; AmazonEBSCSIDriverPolicy is for every volume of the account.
            "AmazonEBSCSIDriverPolicyV2",
            statements=csi.encrypting(security.data_key.arn),
        )
        # With the kinds of snapshots, before the driver: it takes snapshots where it finds them.
        snapshots = self.add_to_nodes("snapshot-controller", _ON_SYSTEM_NODES)
        self.add_to_nodes("aws-ebs-csi-driver", csi.disks(stack, aws), disks, snapshots)
        if aws.storage.shared:
            files = self.role("efs-csi", "efs-csi-controller-sa", statements=csi.access_points(stack, aws))
            # Its daemons': the add-on itself takes a role for the controller only (aws-efs-csi-driver issue 1759). It
            # has no policy of its own, the file system's says all it may.
            mounts = self.role(_EFS_NODE_ROLE, "efs-csi-node-sa")
            self.add_to_nodes("aws-efs-csi-driver", csi.files(), files, mounts)
        if aws.observability.container_insights:
            agent = self.role(
                "cloudwatch", "cloudwatch-agent", "CloudWatchAgentServerPolicy", namespace="amazon-cloudwatch"
            )
            self.add_to_nodes("amazon-cloudwatch-observability", _OBSERVABILITY, agent)
        self.register_outputs({})

    def add_to_nodes(
        self, name: str, configuration: Mapping[str, Any] | None = None, *after: pulumi.Resource
    ) -> eks.Addon:
        """Install one when the platform's own nodes are there."""
        return self.add(name, configuration, [self._nodes.system, *after])
