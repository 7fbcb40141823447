"""Invariant: the bastion's pods are targets of the load balancer as long as its controller is there.

Made after the load balancer controller, whose kind the binding is and whose finalizer is on it, and gone before it; on
a destroy of all it goes with the cluster, and the target group takes the targets along.
"""

from __future__ import annotations

import pulumi

from infra.aws import binding
from infra.aws.cluster import Cluster
from infra.aws.component import Component
from infra.aws.edge import Edge
from infra.platform.manifest import Manifest


class Entrance(Component):
    """The bastion's namespace, its Service, and the TargetGroupBinding that joins them to the edge."""

    def __init__(self, cluster: Cluster, edge: Edge, opts: pulumi.ResourceOptions) -> None:
        super().__init__("entrance", opts)
        made: list[pulumi.Resource] = []
        for manifest in binding.manifests(edge.target_group_arn):
            made.append(Manifest(manifest, self.options(made, within=cluster.resource)))
        self.register_outputs({})
