"""AWS's prices of resources that cost by existing, with page and date.

They were written down from memory.

US dollars, us-east-1, without taxes, discounts and free tiers. None could be asked of AWS's price list, and no page was
opened on that day. Instances are in infra/catalog/prices.json.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

HOURS = 730.0
"""Of a month, as AWS counts it (365 * 24 / 12)."""


@dataclass(frozen=True)
class Fee:
    """One price: US dollars for each hour, month, GB or metric."""

    usd: float
    per: Literal["h", "month", "GB", "GB a month", "metric a month"]
    page: str
    as_of: str

    @property
    def month(self) -> float:
        """What it comes to in a month."""
        return self.usd * HOURS if self.per == "h" else self.usd

    @property
    def source(self) -> str:
        """Where the price is from, and of when."""
        return f"https://{self.page}, as remembered on {self.as_of}"

    def __str__(self) -> str:
        return f"${self.usd:g}/{self.per}" if self.per in ("h", "month") else f"${self.usd:g} for each {self.per}"


CLUSTER = Fee(0.10, "h", "aws.amazon.com/eks/pricing", "2026-11-21")
"""An EKS cluster while its version has standard support."""
CLUSTER_EXTENDED = Fee(0.60, "h", "aws.amazon.com/eks/pricing", "2026-11-21")
"""In extended support."""
NAT_GATEWAY = Fee(0.045, "h", "aws.amazon.com/vpc/pricing", "2026-11-21")
"""A NAT gateway, for each zone."""
NAT_TRAFFIC = Fee(0.045, "GB", "aws.amazon.com/vpc/pricing", "2026-11-21")
"""Through a NAT gateway."""
INTERFACE_ENDPOINT = Fee(0.01, "h", "aws.amazon.com/privatelink/pricing", "2026-11-21")
"""An interface endpoint, for each zone."""
PUBLIC_ADDRESS = Fee(0.005, "h", "aws.amazon.com/vpc/pricing", "2026-11-21")
"""A public IPv4 address."""
LOAD_BALANCER = Fee(0.0225, "h", "aws.amazon.com/elasticloadbalancing/pricing", "2026-11-21")
"""A network load balancer, without its capacity units."""
KEY = Fee(1.0, "month", "aws.amazon.com/kms/pricing", "2026-11-21")
"""A KMS key; as much again for each of its first two rotations."""
ZONE = Fee(0.50, "month", "aws.amazon.com/route53/pricing", "2026-11-21")
"""A hosted zone."""
ALARM = Fee(0.10, "month", "aws.amazon.com/cloudwatch/pricing", "2026-11-21")
"""A CloudWatch alarm on one metric."""
QUERY_ALARM = Fee(0.10, "metric a month", "aws.amazon.com/cloudwatch/pricing", "2026-11-30")
"""A CloudWatch alarm on a Metrics Insights query, for each metric that it analyzes."""
DISK = Fee(0.08, "GB a month", "aws.amazon.com/ebs/pricing", "2026-11-21")
"""Of gp3."""
SNAPSHOT = Fee(0.05, "GB a month", "aws.amazon.com/ebs/pricing", "2026-11-30")
"""Of EBS snapshots, which AWS Backup's copies of volumes are."""
FILES = Fee(0.30, "GB a month", "aws.amazon.com/efs/pricing", "2026-11-21")
"""Of EFS Standard."""
LOGS = Fee(0.50, "GB", "aws.amazon.com/cloudwatch/pricing", "2026-11-21")
"""Of logs taken in."""
ALL = tuple(each for each in list(globals().values()) if isinstance(each, Fee))
