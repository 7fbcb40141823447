"""Invariant: the bastion's pods are targets of the load balancer, and go from it before its controller goes.

Made after the load balancer controller, whose kind the binding is and whose finalizer is on it.
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
        gone = pulumi.ResourceOptions(deleted_with=cluster.resource)
        made: list[pulumi.Resource] = []
        for manifest in binding.manifests(edge.target_group_arn):
            options = pulumi.ResourceOptions.merge(self.options([*made]), gone)
            made.append(Manifest(manifest, options))
        self.register_outputs({})
