"""EKS managed node groups, one for each pool and zone.

Invariant: a node group is one pool in one zone, and adding or removing a pool touches no other's nodes.

The platform's own nodes are a group over all zones. EKS says how many nodes there are, the cluster autoscaler changes
it, and a program run later leaves that alone. A group that must be replaced (another instance type, another
zone) is created before the old one is deleted; this works because only a prefix of its name is set.
"""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
from pulumi_aws import autoscaling, ec2, eks, iam, vpc

from devservers_core.names import GPU
from infra.aws import arns
from infra.aws.cluster.control_plane import Cluster
from infra.aws.cluster.launch_template import launch_template, template_sets_instance_type
from infra.aws.cluster.pool_layout import Group, groups_of, system_of
from infra.aws.component import Component, trusted
from infra.aws.kms_keys import Security
from infra.aws.network.vpc import Network
from infra.aws.tags import tags_of
from infra.platform.pools import EFA
from infra.settings.aws.models import Aws
from infra.settings.aws.naming import MAX_ROLE_NAME, named

POLICIES = ("AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly", "AmazonSSMManagedInstanceCore")
"""Joining, pulling images, and Session Manager for when SSH is of no help. The CNI has a role of its own."""
_TEMPLATE = "k8s.io/cluster-autoscaler/node-template"
_EFFECTS = {"NoSchedule": "NO_SCHEDULE", "PreferNoSchedule": "PREFER_NO_SCHEDULE", "NoExecute": "NO_EXECUTE"}
"""EKS's names (eks:CreateNodegroup) by Kubernetes'."""


class Nodes(Component):
    """All node groups; the class's name is part of its Pulumi type.

    What makes a node ready must be in ``opts.depends_on``, so that it is deleted after them.
    """

    def __init__(
        self,
        stack: str,
        aws: Aws,
        cluster: Cluster,
        network: Network,
        security: Security,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("nodes", opts)
        self._stack, self._aws = stack, aws
        self._cluster, self._network, self._security = cluster, network, security
        groups = groups_of(aws)
        self._role, self._rights = self._make_role()
        self._efa_group = self._make_efa_group() if any(group.efa for group in groups) else None
        self.system: pulumi.Resource = self._group(system_of(aws))
        self.groups: list[pulumi.Resource] = []
        for group in groups:
            made = self._group(group)
            self._scaled_from_zero(group, made)
            self.groups.append(made)
        self.register_outputs({})

    def _make_role(self) -> tuple[iam.Role, list[pulumi.Resource]]:
        role = iam.Role(
            "node",
            name=named(self._stack, "node", limit=MAX_ROLE_NAME),
            assume_role_policy=trusted("ec2.amazonaws.com"),
            opts=self.options(),
        )
        attached: list[pulumi.Resource] = [
            iam.RolePolicyAttachment(policy, role=role.name, policy_arn=arns.managed(policy), opts=self.options())
            for policy in POLICIES
        ]
        return role, attached

    def _make_efa_group(self) -> ec2.SecurityGroup:
        """A security group that allows all traffic with itself, as EFA requires.

        The rule for outgoing traffic must name the group (EC2 User Guide, EFA).
        """
        group = ec2.SecurityGroup(
            "efa",
            name=named(self._stack, "efa"),
            vpc_id=self._network.vpc_id,
            description="Between GPU nodes, by EFA",
            tags={"Name": named(self._stack, "efa")},
            opts=self.options(),
        )
        vpc.SecurityGroupIngressRule(
            "efa",
            security_group_id=group.id,
            referenced_security_group_id=group.id,
            ip_protocol="-1",
            description="From each other",
            opts=self.options(),
        )
        vpc.SecurityGroupEgressRule(
            "efa",
            security_group_id=group.id,
            referenced_security_group_id=group.id,
            ip_protocol="-1",
            description="To each other",
            opts=self.options(),
        )
        return group

    def _group(self, group: Group) -> eks.NodeGroup:
        security_groups: list[pulumi.Input[str]] = [self._cluster.security_group_id]
        if group.efa and self._efa_group is not None:
            security_groups.append(self._efa_group.id)
        template = launch_template(
            self,
            self._stack,
            group,
            key=self._security.data_key.arn,
            security_groups=security_groups,
            tags=tags_of(self._stack, self._aws),
        )
        # A capacity block has no machines before it starts, and EKS would wait for them (EKS User Guide).
        least = 0 if group.capacity == "CAPACITY_BLOCK" else group.min
        return eks.NodeGroup(
            group.key,
            node_group_name_prefix=f"{group.prefix(self._stack)}",
            cluster_name=self._cluster.name,
            node_role_arn=self._role.arn,
            version=self._aws.kubernetes.version,
            subnet_ids=[self._network.private_subnets[zone] for zone in group.zones],
            ami_type=group.family.ami_type,
            capacity_type=group.capacity,
            instance_types=None if template_sets_instance_type(group) else [group.instance_type],
            launch_template=eks.NodeGroupLaunchTemplateArgs(id=template.id, version=template.latest_version.apply(str)),
            scaling_config=eks.NodeGroupScalingConfigArgs(min_size=least, desired_size=least, max_size=group.max),
            update_config=eks.NodeGroupUpdateConfigArgs(max_unavailable=1),
            node_repair_config=eks.NodeGroupNodeRepairConfigArgs(enabled=True),
            labels=dict(group.labels),
            taints=[
                eks.NodeGroupTaintArgs(key=taint["key"], value=taint["value"], effect=_EFFECTS[taint["effect"]])
                for taint in group.taints
            ],
            opts=self.options([self._cluster.resource, *self._rights], ignore=["scalingConfig.desiredSize"]),
        )

    def _scaled_from_zero(self, group: Group, made: eks.NodeGroup) -> None:
        """Tags that describe a group's nodes to the autoscaler while there are none.

        EKS makes the Auto Scaling group, so its name is an answer; how many tags there are is not.
        """
        name = made.resources.apply(_scaling_group)
        for key, value in template_tags(group).items():
            autoscaling.Tag(
                f"{group.key}/{key}",
                autoscaling_group_name=name,
                tag=autoscaling.TagTagArgs(key=f"{_TEMPLATE}/{key}", value=value, propagate_at_launch=False),
                opts=self.options([made]),
            )


def _scaling_group(resources: Sequence[eks.outputs.NodeGroupResource]) -> str:
    """The name of the Auto Scaling group behind a node group; it has just one."""
    return next(each.name or "" for resource in resources for each in resource.autoscaling_groups or ())


def template_tags(group: Group) -> dict[str, str]:
    """Labels, taints and extended resources of a group's nodes, by tag suffix."""
    labels = {f"label/{key}": value for key, value in group.labels.items()}
    taints = {f"taint/{taint['key']}": f"{taint['value']}:{taint['effect']}" for taint in group.taints}
    resources = {GPU: group.size.gpus, EFA: group.size.efa_cards if group.efa else 0}
    return labels | taints | {f"resources/{key}": str(count) for key, count in resources.items() if count}
