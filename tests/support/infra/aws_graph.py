"""An AWS environment of network, cluster and edge, recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_aws

from infra import ROOT
from infra.aws.cluster.control_plane import Cluster
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
from infra.preview.graph import Graph, Node
from infra.preview.recorder import record
from infra.settings.aws import ecr_images
from infra.settings.aws.models import Aws
from infra.settings.stack import Images

ACCOUNT = "111122223333"
ZONES = ("eu-central-1a", "eu-central-1b", "eu-central-1c")
REPOSITORY = "acme/platform"
DEV: dict[str, Any] = {
    "environment": "dev",
    "region": "eu-central-1",
    "accountId": ACCOUNT,
    "owner": "platform",
    "costCenter": "ml",
    "network": {"zones": ZONES[:2], "nat": "zonal"},
    "pools": [{"name": "gpu", "family": "g6e", "size": "2xlarge", "max": 4}],
    "edge": {
        "hostname": "ssh.dev.example.com",
        "hostedZone": {"name": "dev.example.com"},
        "allowedCidrs": ["203.0.113.0/24", "198.51.100.7/32"],
    },
    "registry": {"build": True},
    "access": {
        "github": {"repository": REPOSITORY},
        "stateBucket": "acme-state",
        "stateKey": f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/01234567-89ab-cdef-0123-456789abcdef",
    },
    "observability": {"emails": ["ops@example.com", "ml@example.com"], "monthlyBudget": 5000},
}
PROD: dict[str, Any] = DEV | {"environment": "prod", "network": {"zones": ZONES}}


def settings(base: Mapping[str, Any] = DEV, /, **changes: Any) -> Aws:
    """The settings of an environment, with some changed; what is changed to None is left out."""
    whole = dict(base) | changes
    given = {key: value for key, value in whole.items() if value is not None}
    return Aws.model_validate(given, by_alias=True, by_name=False)


def recorded(aws: Aws, stack: str = "dev", preview: bool = False, images: Mapping[str, str] | None = None) -> Graph:
    """What these parts register; ``images`` are references that the stack names itself."""
    named = {**ecr_images.references(stack, aws, ROOT), **(images or {})}

    def build() -> None:
        provider = pulumi_aws.Provider("aws", region=aws.region)
        first = pulumi.ResourceOptions(providers=[provider])
        boundary = Boundary(stack, aws, first)
        first = pulumi.ResourceOptions(providers=[provider], transformations=[boundary.on_roles()])
        security = Security(stack, aws, first)
        network = Network(stack, aws, security, first)
        cluster = Cluster(stack, aws, network, security, first)
        logs = Logs(aws, cluster, security, first)
        after = pulumi.ResourceOptions(providers=[provider, cluster.provider], depends_on=[logs])
        if aws.home_backup_days:
            Backup(stack, aws, security, first)
        storage = Storage(stack, aws, network, cluster, security, after)
        edge = Edge(stack, aws, network, cluster, first)
        Registry(stack, aws, Images.model_validate(named), security, first)
        Access(stack, aws, cluster, first)
        Observability(stack, aws, network, cluster, storage, edge, security, first)

    return record(build, preview, stack)


def part(graph: Graph, component: str) -> Graph:
    """What one component made."""
    inside = f"devservers:aws:{component}$"
    return Graph({urn: node for urn, node in graph.items() if inside in urn})


def by_name(graph: Graph, kind: str) -> dict[str, Node]:
    """The resources of a kind."""
    return {node.name: node for node in graph.of(kind)}
