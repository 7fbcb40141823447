"""Counts the resources of an environment that cost money by existing.

By a transformation, so that a real update and a simulation count the same, and a resource that is added is counted
without a word here. What controllers make in the cluster isn't Pulumi's, and isn't counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pulumi

NAT = "aws:ec2/natGateway:NatGateway"
ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"
BALANCER = "aws:lb/loadBalancer:LoadBalancer"
KEY = "aws:kms/key:Key"
ZONE = "aws:route53/zone:Zone"
ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
REPOSITORY = "aws:ecr/repository:Repository"


@dataclass
class ResourceCounter:
    """Resources by type, and what a type alone doesn't say."""

    types: Counter[str] = field(default_factory=Counter)
    endpoint_zones: int = 0
    """Interface endpoints times the zones of each."""
    public_balancers: int = 0
    """Load balancers that the internet reaches."""
    query_alarms: int = 0
    """Alarms on a query, which are paid by what they look at."""

    def count(self, args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        """A transformation: counts a resource and changes nothing."""
        self.types[args.type_] += 1
        if args.type_ == ENDPOINT and args.props.get("vpc_endpoint_type") == "Interface":
            subnets = args.props["subnet_ids"]
            if not isinstance(subnets, list):
                raise TypeError(f"an interface endpoint's subnets are a list, as they are counted: {subnets}")
            self.endpoint_zones += len(subnets)
        if args.type_ == BALANCER and not args.props.get("internal"):
            self.public_balancers += 1
        if args.type_ == ALARM and args.props.get("metric_queries"):
            self.query_alarms += 1
        return None
