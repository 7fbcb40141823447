"""Commands that list and delete a cluster's unused elastic network interfaces (ENIs).

Invariant: only network interfaces of this cluster that nobody uses are ever deleted, and only after asking.

The VPC CNI can leave some behind when its node goes before it has let go of them; they hold subnets and security
groups fast, and destroy ends in DependencyViolation. Pure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

TAG = "cluster.k8s.amazonaws.com/name"
"""What the VPC CNI tags its interfaces with (amazon-vpc-cni-k8s, CLUSTER_NAME)."""


@dataclass(frozen=True)
class NetworkInterface:
    """A network interface nobody uses."""

    id: str
    description: str


def list_command(aws: str, cluster: str, region: str) -> list[str]:
    """The command that lists a cluster's interfaces that are attached to nothing."""
    if not cluster:
        raise ValueError("no cluster's name: every cluster's interfaces would be meant")
    filters = [f"Name=tag:{TAG},Values={cluster}", "Name=status,Values=available"]
    query = "NetworkInterfaces[].{id:NetworkInterfaceId,description:Description,status:Status}"
    arguments = ["ec2", "describe-network-interfaces", "--region", region, "--filters", *filters]
    return [aws, *arguments, "--query", query, "--output", "json"]


def delete_command(aws: str, interface: NetworkInterface, region: str) -> list[str]:
    """The command that deletes one; AWS refuses it for an interface that is attached."""
    return [aws, "ec2", "delete-network-interface", "--region", region, "--network-interface-id", interface.id]


def parse(text: str) -> list[NetworkInterface]:
    """What :func:`list_command` printed; anything in use is left out, whatever the filter did."""
    unused = [each for each in json.loads(text or "[]") or [] if each.get("status") == "available"]
    return sorted(
        (NetworkInterface(each["id"], each.get("description") or "") for each in unused), key=lambda each: each.id
    )
