"""Helm releases of controllers: load balancer, autoscaler, device plugins.

Invariant: a controller may touch in AWS only what this environment made, and runs on the platform's own nodes.

By Helm, each of a version in the catalog. A release goes with the cluster when that goes: nobody asks an API server for
it that isn't there any more. The rights are less than the projects' own policies: the load balancer controller here
registers pods with target groups that Pulumi made and nothing else, and the autoscaler changes this cluster's groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi_kubernetes.helm.v3 import Release, RepositoryOptsArgs

from devservers_core.names import LABEL_POOL
from infra.aws import arns
from infra.aws.addons.eks_addons import SYSTEM_NAMESPACE
from infra.aws.addons.pod_role import pod_role
from infra.aws.cluster.control_plane import Cluster
from infra.aws.cluster.node_groups import Nodes
from infra.aws.cluster.pool_layout import groups_of
from infra.aws.component import Component
from infra.aws.network.vpc import Network
from infra.aws.tags import STACK
from infra.catalog import CHARTS, VERSIONS, registry_of_eks
from infra.settings.aws.models import SYSTEM_NODE_SELECTOR, Aws

LOAD_BALANCERS, AUTOSCALER = "aws-load-balancer-controller", "cluster-autoscaler"
"""Release and service account."""
EMPTY_NODE_UTILIZATION = 0.001
"""Of a node: a node goes below it, so 0 would keep empty ones. The least a server asks for is more."""
_INSTALL_TIMEOUT_SECONDS = 600


class Controllers(Component):
    """The Helm releases."""

    def __init__(
        self, stack: str, aws: Aws, cluster: Cluster, network: Network, nodes: Nodes, opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__("controllers", opts)
        self._cluster, self._nodes = cluster, nodes
        groups = groups_of(aws)
        load_balancers = self._role(stack, LOAD_BALANCERS, _registering(aws, stack))
        self.load_balancers = self._release(
            LOAD_BALANCERS, _load_balancer_values(aws, cluster, network), load_balancers
        )
        autoscaler = self._role(stack, AUTOSCALER, _scaling(aws, cluster))
        self._release(AUTOSCALER, _autoscaler_values(aws, cluster), autoscaler)
        if any(group.size.gpus for group in groups):
            # Its pods go where nvidia.com/gpu.present=true is, and tolerate the taint: both are the node groups'.
            self._release("nvidia-device-plugin", {"gfd": {"enabled": False}, "nfd": {"enabled": False}})
        if fast := [group.pool for group in groups if group.efa]:
            self._release("efa-device-plugin", _efa_values(aws, list(dict.fromkeys(fast))))
        self.register_outputs({})

    def _role(self, stack: str, name: str, statements: list[dict[str, Any]]) -> pulumi.Resource:
        return pod_role(
            self, stack, self._cluster, name, namespace=SYSTEM_NAMESPACE, account=name, statements=statements
        )

    def _release(self, name: str, values: Mapping[str, Any], *after: pulumi.Resource) -> Release:
        chart = CHARTS[name]
        return Release(
            name,
            name=name,
            namespace=SYSTEM_NAMESPACE,
            chart=chart.name,
            version=chart.version,
            repository_opts=RepositoryOptsArgs(repo=chart.repository),
            values=dict(values),
            # Ready or rolled back: whatever comes after may count on it.
            atomic=True,
            timeout=_INSTALL_TIMEOUT_SECONDS,
            opts=self.options([self._nodes.system, *after], within=self._cluster.resource),
        )


def _load_balancer_values(aws: Aws, cluster: Cluster, network: Network) -> dict[str, Any]:
    return {
        "clusterName": cluster.name,
        # A pod can't ask the node's metadata for these.
        "region": aws.region,
        "vpcId": network.vpc_id,
        # It would have a say in each Service of the cluster, and refuse them all while it is down.
        "enableServiceMutatorWebhook": False,
        "serviceAccount": {"name": LOAD_BALANCERS},
        "replicaCount": 2,
        "podDisruptionBudget": {"maxUnavailable": 1},
        "nodeSelector": SYSTEM_NODE_SELECTOR,
        # None of it is used, and it has no rights for it.
        "createIngressClassResource": False,
        "ingressClassParams": {"create": False},
        "enableBackendSecurityGroup": False,
        "enableShield": False,
        "enableWaf": False,
        "enableWafv2": False,
    }


def _registering(aws: Aws, stack: str) -> list[dict[str, Any]]:
    """Rights to register pods with the environment's target groups.

    Out of the controller's docs/install policy what TargetGroupBindings of IP targets without `networking` need.
    """
    return [
        {
            "Effect": "Allow",
            "Action": [
                "ec2:DescribeAvailabilityZones",
                "ec2:DescribeInstances",
                "ec2:DescribeNetworkInterfaces",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSubnets",
                "ec2:DescribeVpcs",
                "elasticloadbalancing:DescribeLoadBalancers",
                "elasticloadbalancing:DescribeTags",
                "elasticloadbalancing:DescribeTargetGroupAttributes",
                "elasticloadbalancing:DescribeTargetGroups",
                "elasticloadbalancing:DescribeTargetHealth",
            ],
            "Resource": "*",
        },
        {
            "Effect": "Allow",
            "Action": ["elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:RegisterTargets"],
            "Resource": arns.arn(aws, "elasticloadbalancing", "targetgroup/*/*"),
            "Condition": {"StringEquals": {f"aws:ResourceTag/{STACK}": stack}},
        },
    ]


def _autoscaler_values(aws: Aws, cluster: Cluster) -> dict[str, Any]:
    return {
        "fullnameOverride": AUTOSCALER,
        "cloudProvider": "aws",
        "awsRegion": aws.region,
        # EKS tags the groups it makes: k8s.io/cluster-autoscaler/enabled and .../CLUSTER=owned.
        "autoDiscovery": {"clusterName": cluster.name},
        "image": {"tag": VERSIONS[aws.kubernetes.version].autoscaler},
        "rbac": {"serviceAccount": {"name": AUTOSCALER}},
        "nodeSelector": SYSTEM_NODE_SELECTOR,
        "extraArgs": {
            "expander": "least-waste",
            "balance-similar-node-groups": True,
            # A server is somebody's work: a node goes when it is empty, never to save the rest of one. Daemons
            # don't count.
            "ignore-daemonsets-utilization": True,
            "scale-down-utilization-threshold": EMPTY_NODE_UTILIZATION,
            "scale-down-gpu-utilization-threshold": EMPTY_NODE_UTILIZATION,
            "skip-nodes-with-local-storage": True,
            "skip-nodes-with-system-pods": True,
        },
    }


def _scaling(aws: Aws, cluster: Cluster) -> list[dict[str, Any]]:
    """Rights of the cluster autoscaler: it changes this cluster's groups only.

    The list is the project's own (cloudprovider/aws/README).
    """
    return [
        {
            "Effect": "Allow",
            "Action": [
                "autoscaling:DescribeAutoScalingGroups",
                "autoscaling:DescribeAutoScalingInstances",
                "autoscaling:DescribeLaunchConfigurations",
                "autoscaling:DescribeScalingActivities",
                "autoscaling:DescribeTags",
                "ec2:DescribeImages",
                "ec2:DescribeInstanceTypes",
                "ec2:DescribeLaunchTemplateVersions",
                "ec2:GetInstanceTypesFromInstanceRequirements",
            ],
            "Resource": "*",
        },
        {
            "Effect": "Allow",
            "Action": "eks:DescribeNodegroup",
            "Resource": arns.arn(aws, "eks", f"nodegroup/{cluster.name}/*/*"),
        },
        {
            "Effect": "Allow",
            "Action": ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"],
            "Resource": arns.arn(aws, "autoscaling", "autoScalingGroup:*:autoScalingGroupName/*"),
            "Condition": {"StringEquals": {f"aws:ResourceTag/k8s.io/cluster-autoscaler/{cluster.name}": "owned"}},
        },
    ]


def _efa_values(aws: Aws, pools: list[str]) -> dict[str, Any]:
    return {
        # The chart names us-west-2's, where a node's role may ask for no token. All other charts' images are public.
        "image": {"repository": f"{registry_of_eks(aws.region)}/eks/aws-efa-k8s-device-plugin"},
        # By pool: the chart's own list of instance types is years behind.
        "supportedInstanceLabels": {"keys": [LABEL_POOL], "values": pools},
        "tolerations": [{"operator": "Exists"}],
    }
