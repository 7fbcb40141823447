"""An environment on AWS: its components and the order they come in.

Invariant: an environment's parts come in one order, and go in the other.

Keys before what they encrypt, network before the cluster, nodes before what runs on them; load balancer and network
interfaces are gone before the network. The platform goes on top, by the cluster's own provider.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws

from devservers.api.flavor import DevServerFlavor
from devservers.api.shipped_flavors import SHIPPED
from infra.aws.addons.controllers import Controllers
from infra.aws.addons.eks_addons import Addons, NodeAddons
from infra.aws.cluster.control_plane import Cluster
from infra.aws.cluster.node_groups import Nodes
from infra.aws.cluster.pool_layout import pools_of
from infra.aws.iam.boundary import Boundary
from infra.aws.iam.github_roles import Access
from infra.aws.kms_keys import Security
from infra.aws.load_balancer import Edge
from infra.aws.network.vpc import Network
from infra.aws.observability.alarms import Observability
from infra.aws.observability.log_groups import Logs
from infra.aws.storage.backup import Backup
from infra.aws.storage.registry import Registry
from infra.aws.storage.volumes import Storage
from infra.aws.tags import tags_of
from infra.platform.bastion.target_group_binding import SERVICE_PORT
from infra.platform.pools import Pool
from infra.platform.stack import Endpoint
from infra.settings.aws.models import Aws
from infra.settings.stack import Settings


@dataclass(frozen=True)
class Environment:
    """What the platform needs of an environment."""

    provider: pulumi.ProviderResource
    """Of the EKS cluster, for Kubernetes objects."""
    ready: list[pulumi.Resource]
    """What must be there before anything of the platform runs: nodes, add-ons, controllers."""
    pools: tuple[Pool, ...]
    """What the queues divide."""
    outputs: dict[str, Any]
    """The stack's, beside the platform's."""
    endpoint: Endpoint
    """The bastion's, at the load balancer."""
    gpu_image: str | None = None
    """Of servers of GPU flavors that name none, on amd64 machines; None for the platform's default."""

    @property
    def offered(self) -> list[DevServerFlavor]:
        """What people may choose: the shipped sizes, and one for each pool with GPUs."""
        flavors = (pool.flavor(self.gpu_image if pool.architecture == "amd64" else None) for pool in self.pools)
        return [*SHIPPED, *filter(None, flavors)]


def environment(
    stack: str, settings: Settings, transformations: Sequence[pulumi.ResourceTransformation] = ()
) -> Environment:
    """Make an environment; ``settings.aws`` must be set.

    Its resources pass through ``transformations`` first.
    """
    aws = settings.aws
    if aws is None:
        raise ValueError("these settings have no environment on AWS")
    account = pulumi_aws.Provider(
        "aws",
        region=aws.region,
        # Whoever's credentials are of another account gets no further.
        allowed_account_ids=[aws.account_id],
        default_tags=pulumi_aws.ProviderDefaultTagsArgs(tags=tags_of(stack, aws)),
    )

    limits: list[pulumi.ResourceTransformation] = [*transformations]

    def after(*others: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(providers=[account], depends_on=list(others), transformations=[*limits])

    if aws.access.github:
        # Before the first role: deployers may change only roles that carry it.
        limits.append(Boundary(stack, aws, after()).on_roles())
    security = Security(stack, aws, after())
    network = Network(stack, aws, security, after())
    cluster = Cluster(stack, aws, network, security, after())
    logs = Logs(aws, cluster, security, after())
    node_addons = NodeAddons(stack, aws, cluster, after())
    # A node without routes out of the VPC never joins, and on destroy it needs them to the end.
    nodes = Nodes(stack, aws, cluster, network, security, after(network, node_addons))

    def inside(*others: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(
            providers=[account, cluster.provider], depends_on=list(others), transformations=[*limits]
        )

    addons = Addons(stack, aws, cluster, nodes, security, inside(logs))
    controllers = Controllers(stack, aws, cluster, network, nodes, inside(addons))
    storage = Storage(stack, aws, network, cluster, security, inside(addons))
    if aws.home_backup_days:
        Backup(stack, aws, security, after())
    edge = Edge(stack, aws, network, cluster, after(network))
    registry = Registry(stack, aws, settings.images, security, after())
    access = Access(stack, aws, cluster, after())
    observability = Observability(
        stack, aws, network, cluster, storage, edge, security, after(), settings.bastion.enabled
    )
    outputs = {
        "region": aws.region,
        "clusterName": cluster.name,
        "clusterArn": cluster.arn,
        "kubeconfig": cluster.kubeconfig,
        "vpcId": network.vpc_id,
        "address": edge.address,
        "targetGroupArn": edge.target_group_arn,
        "nameServers": edge.name_servers,
        "roles": access.roles,
        "alarmTopic": observability.topic_arn,
    }
    # The edge too: a pod of the bastion is ready when the load balancer's listener sends people to it.
    ready: list[pulumi.Resource] = [nodes, addons, controllers, storage, registry, edge]
    endpoint = _endpoint(aws, edge)
    return Environment(cluster.provider, ready, pools_of(aws), outputs, endpoint, settings.images.pytorch)


def _endpoint(aws: Aws, edge: Edge) -> Endpoint:
    """The load balancer, by the stack's name for it and by its own."""
    name = pulumi.Output.from_input(edge.address)
    address = name if aws.edge.port == SERVICE_PORT else name.apply(lambda host: f"{host}:{aws.edge.port}")
    hosts = [name, edge.load_balancer.dns_name] if aws.edge.hostname else [name]
    return Endpoint(address, hosts, edge.target_group_arn)
