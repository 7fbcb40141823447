"""Invariant: what AWS takes for things that cost by being there, with the date and the page of each figure.

US dollars, us-east-1, without taxes, discounts and free tiers; other regions are up to a third dearer. Instances are in
infra/catalog_instances.py.
"""

from __future__ import annotations

AS_OF = "2026-11-21"
"""When these were written down; none could be asked of AWS's price list here."""
HOURS = 730.0
"""Of a month, as AWS counts it (365 * 24 / 12)."""

CLUSTER = 0.10
"""An EKS cluster an hour while its version has standard support (aws.amazon.com/eks/pricing)."""
CLUSTER_EXTENDED = 0.60
"""In extended support (the same)."""
NAT_GATEWAY = 0.045
"""A NAT gateway an hour and zone; a GB through it costs as much again (aws.amazon.com/vpc/pricing)."""
INTERFACE_ENDPOINT = 0.01
"""An interface endpoint an hour and zone (aws.amazon.com/privatelink/pricing)."""
PUBLIC_ADDRESS = 0.005
"""A public IPv4 address an hour (aws.amazon.com/vpc/pricing)."""
LOAD_BALANCER = 0.0225
"""A network load balancer an hour, without its capacity units (aws.amazon.com/elasticloadbalancing/pricing)."""
KEY = 1.0
"""A KMS key a month, as much again for each of its first two rotations (aws.amazon.com/kms/pricing)."""
ZONE = 0.50
"""A hosted zone a month (aws.amazon.com/route53/pricing)."""
ALARM = 0.10
"""A CloudWatch alarm a month (aws.amazon.com/cloudwatch/pricing)."""
DISK = 0.08
"""A GB of gp3 a month (aws.amazon.com/ebs/pricing)."""
FILES = 0.30
"""A GB of EFS Standard a month (aws.amazon.com/efs/pricing)."""
NAT_TRAFFIC = 0.045
"""A GB through a NAT gateway."""
LOGS = 0.50
"""A GB of logs taken in (aws.amazon.com/cloudwatch/pricing)."""
