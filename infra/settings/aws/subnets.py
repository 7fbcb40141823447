"""Subnet addresses of an environment, cut from the VPC's CIDR block.

Invariant: a zone's subnets depend on the VPC's addresses and the zone's place in the list, and never overlap.

The VPC is cut in four. Three quarters are the private subnets of up to three zones, because every pod has an address of
its own there (VPC CNI); the fourth is cut in four again, for their public subnets, which hold gateways and load
balancers only. So a zone added at the end moves nobody.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

MAX_ZONES = 3
MIN_PREFIX_LENGTH, MAX_PREFIX_LENGTH = 16, 20
"""Prefix lengths of a VPC: AWS takes no shorter one (ec2:CreateVpc); at /20 a zone has 1019 addresses for pods."""


@dataclass(frozen=True)
class Subnets:
    """Of one zone."""

    zone: str
    private: str
    public: str


def plan_subnets(cidr: str, zones: tuple[str, ...]) -> tuple[Subnets, ...]:
    """The subnets of each zone, in their order.

    Raises ValueError when ``cidr`` is no network, is shorter than /16 or longer than /20, or there are more than three
    zones.
    """
    network = ipaddress.IPv4Network(cidr)
    if not MIN_PREFIX_LENGTH <= network.prefixlen <= MAX_PREFIX_LENGTH or len(zones) > MAX_ZONES:
        raise ValueError(
            f"{cidr} for {len(zones)} zones: a /{MIN_PREFIX_LENGTH} to /{MAX_PREFIX_LENGTH} holds {MAX_ZONES} zones"
        )
    *private, rest = network.subnets(prefixlen_diff=2)
    public = rest.subnets(prefixlen_diff=2)
    return tuple(
        Subnets(zone, str(inner), str(outer)) for zone, inner, outer in zip(zones, private, public, strict=False)
    )
