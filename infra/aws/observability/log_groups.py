"""CloudWatch log groups of Container Insights.

Invariant: a log group is there before what writes to it, so nothing is ever logged without a key and an end.

The agent of the CloudWatch add-on would make its groups by itself, unencrypted and for ever.
"""

from __future__ import annotations

import pulumi
from pulumi_aws import cloudwatch

from infra.aws.cluster.control_plane import Cluster
from infra.aws.component import Component
from infra.aws.kms_keys import Security
from infra.settings.aws.models import Aws

KINDS = ("application", "dataplane", "host", "performance")
"""The groups of the add-on, below /aws/containerinsights/CLUSTER (Container Insights, log groups)."""


def group(cluster: str, kind: str) -> str:
    """The name of one of the add-on's log groups."""
    return f"/aws/containerinsights/{cluster}/{kind}"


class Logs(Component):
    """The log groups of Container Insights; none without it. Made before the add-ons."""

    def __init__(self, aws: Aws, cluster: Cluster, security: Security, opts: pulumi.ResourceOptions) -> None:
        super().__init__("logs", opts)
        if aws.observability.container_insights:
            for kind in KINDS:
                cloudwatch.LogGroup(
                    kind,
                    name=group(cluster.name, kind),
                    retention_in_days=aws.observability.log_days,
                    kms_key_id=security.logs_key.arn,
                    opts=self.options(),
                )
        self.register_outputs({})
