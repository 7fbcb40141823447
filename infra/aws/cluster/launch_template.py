"""EC2 launch templates of the node groups.

Invariant: every node starts the same way: no credentials for pods in its metadata, encrypted disks, no public
address, the tags of the environment, and the kubelet's reserve that infra/catalog/allocatable.py counts with.

EKS takes the AMI from the node group, so a node's image is never pinned here. What EKS refuses in a template (an
instance profile, subnets, an AMI's own bootstrap) is not in it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi_aws import ec2

from infra.aws.cluster.pool_layout import Group
from infra.aws.component import Component
from infra.catalog import Size
from infra.catalog.allocatable import kubelet

ROOT_DEVICE = "/dev/xvda"
"""Of Amazon Linux 2023."""
ROOT_GIB, GPU_ROOT_GIB = 100, 200
"""PyTorch images are 10 to 20 GiB each. Where there are local disks images and pods' own files are on those."""
_MAX_LOCKED_MEMORY = 2**43
"""Bytes (8 TiB) that a process may lock: more than any node has. EFA locks the memory it sends from, and without this
containers inherit containerd's limit of 8 MiB. The capability IPC_LOCK, which lifts the limit, is refused to our pods;
`unlimited` is a number that JSON readers round."""
_LIMITS_WITH_EFA = [
    {"type": "RLIMIT_MEMLOCK", "soft": _MAX_LOCKED_MEMORY, "hard": _MAX_LOCKED_MEMORY},
    # As the AMI has it: a list is replaced whole (awslabs/amazon-eks-ami, nodeadm, container RLIMITs).
    {"type": "RLIMIT_NOFILE", "soft": 65536, "hard": 1048576},
]
TAGGED_RESOURCES = ("instance", "volume", "network-interface")
"""What EC2 creates with a node; the provider's default tags reach the template only."""


def launch_template(
    component: Component,
    stack: str,
    group: Group,
    *,
    key: pulumi.Input[str],
    security_groups: list[pulumi.Input[str]],
    tags: Mapping[str, str],
) -> ec2.LaunchTemplate:
    """The launch template of a node group.

    ``key`` is the ARN of the key that encrypts its disks.
    """
    placement = None
    # The instances of a capacity block are close together anyway (EC2 User Guide, Capacity Blocks).
    if group.efa and group.capacity != "CAPACITY_BLOCK":
        together = ec2.PlacementGroup(
            group.key, name=group.prefix(stack), strategy=ec2.PlacementStrategy.CLUSTER, opts=component.options()
        )
        placement = ec2.LaunchTemplatePlacementArgs(group_name=together.name)
    target = ec2.LaunchTemplateCapacityReservationSpecificationCapacityReservationTargetArgs(
        capacity_reservation_id=group.reservation
    )
    reserved = ec2.LaunchTemplateCapacityReservationSpecificationArgs(capacity_reservation_target=target)
    block = ec2.LaunchTemplateInstanceMarketOptionsArgs(market_type="capacity-block")
    return ec2.LaunchTemplate(
        group.key,
        name_prefix=f"{group.prefix(stack)}-",
        update_default_version=True,
        # Set in one place only: here with EFA or a capacity block, otherwise in the node group.
        instance_type=group.instance_type if template_sets_instance_type(group) else None,
        metadata_options=ec2.LaunchTemplateMetadataOptionsArgs(
            http_endpoint="enabled",
            http_tokens="required",
            # One hop ends on the node itself: no pod gets its credentials.
            http_put_response_hop_limit=1,
        ),
        block_device_mappings=[
            ec2.LaunchTemplateBlockDeviceMappingArgs(
                device_name=ROOT_DEVICE,
                ebs=ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
                    volume_type="gp3",
                    volume_size=root_gib(group.size),
                    encrypted="true",
                    kms_key_id=key,
                    delete_on_termination="true",
                ),
            )
        ],
        network_interfaces=network_interfaces(group, security_groups),
        placement=placement,
        instance_market_options=block if group.capacity == "CAPACITY_BLOCK" else None,
        capacity_reservation_specification=reserved if group.reservation else None,
        user_data=user_data(group),
        tag_specifications=[
            ec2.LaunchTemplateTagSpecificationArgs(
                resource_type=what, tags={**tags, "Name": f"{group.prefix(stack)}-node"}
            )
            for what in TAGGED_RESOURCES
        ],
        opts=component.options(),
    )


def root_gib(size: Size) -> int:
    """Size of a node's root disk, which is paid for while the node exists."""
    return GPU_ROOT_GIB if size.gpus else ROOT_GIB


def template_sets_instance_type(group: Group) -> bool:
    """Whether the template sets the instance type, and not the node group."""
    return group.efa or group.capacity == "CAPACITY_BLOCK"


def network_interfaces(
    group: Group, security_groups: list[pulumi.Input[str]]
) -> list[ec2.LaunchTemplateNetworkInterfaceArgs]:
    """Network interfaces of a node: one with an address, and EFA on the others.

    EC2 refuses associate_public_ip_address when there are several interfaces; the subnets give no public addresses.
    """
    cards = range(group.size.efa_first, group.size.efa_first + group.size.efa_cards) if group.efa else range(0)
    first = ec2.LaunchTemplateNetworkInterfaceArgs(
        device_index=0,
        network_card_index=0,
        interface_type="efa" if 0 in cards else None,
        associate_public_ip_address=None if len(cards) > 1 else "false",
        security_groups=security_groups,
        delete_on_termination="true",
    )
    rest = [
        ec2.LaunchTemplateNetworkInterfaceArgs(
            device_index=1,
            network_card_index=card,
            interface_type="efa-only",
            security_groups=security_groups,
            delete_on_termination="true",
        )
        for card in cards
        if card
    ]
    return [first, *rest]


def node_config(group: Group) -> dict[str, Any]:
    """The NodeConfig that nodeadm merges into EKS's own (awslabs/amazon-eks-ami)."""
    spec: dict[str, Any] = {"kubelet": {"config": kubelet(group.size)}}
    if group.efa:
        spec["containerd"] = {"baseRuntimeSpec": {"process": {"rlimits": _LIMITS_WITH_EFA}}}
    if group.family.instance_store:
        spec["instance"] = {"localStorage": {"strategy": "RAID0"}}
    return {"apiVersion": "node.eks.aws/v1alpha1", "kind": "NodeConfig", "spec": spec}


def user_data(group: Group) -> str:
    """The configuration as EC2 takes it: a MIME part, in base64."""
    lines = (
        "MIME-Version: 1.0",
        'Content-Type: multipart/mixed; boundary="//"',
        "",
        "--//",
        "Content-Type: application/node.eks.aws",
        "",
        json.dumps(node_config(group), sort_keys=True),
        "--//--",
        "",
    )
    return base64.b64encode("\n".join(lines).encode()).decode()
