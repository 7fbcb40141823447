"""Invariant: what a stack may name of AWS is in these tables, and nothing that AWS no longer offers.

Pure data. EC2's own enumeration lists what can't be had any more (p3 is still in it), so it is no oracle; a test holds
every instance type, AMI type and capacity type here against botocore's models. Prices: US dollars an hour, Linux, on
demand, us-east-1, as of PRICES_AS_OF; a pool says its own where it pays another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

PRICES_AS_OF = "2026-11-21"
Capacity = Literal["ON_DEMAND", "SPOT", "CAPACITY_BLOCK"]
ON_DEMAND_OR_SPOT: tuple[Capacity, ...] = ("ON_DEMAND", "SPOT")


@dataclass(frozen=True)
class Size:
    """One instance type. Memory in GiB; price None where it can be had in capacity blocks only."""

    vcpus: int
    memory: int
    gpus: int
    price: float | None
    efa_cards: int = 0


@dataclass(frozen=True)
class Family:
    """Instances with the same processor and GPU."""

    name: str
    architecture: Literal["amd64", "arm64"]
    ami_type: str
    capacities: tuple[Capacity, ...]
    sizes: dict[str, Size] = field(hash=False)
    gpu: str = ""
    gpu_memory: int = 0
    """Of one GPU, GiB."""
    instance_store: bool = False
    """Local NVMe disks, joined by nodeadm (RAID 0)."""

    def instance_type(self, size: str) -> str:
        """`g6e.2xlarge`."""
        return f"{self.name}.{size}"


FAMILIES: dict[str, Family] = {}
"""By name; filled below, CPU families first."""
RETIRED: dict[str, str] = {
    "p3": "g6e, or p5 with size 4xlarge",
    "p3dn": "g6e, or p5 with size 4xlarge",
    "p2": "g6",
    "g2": "g6",
    "g3": "g6",
    "g3s": "g6",
}
"""Families EC2 no longer offers (p3: dstackai/gpuhunt#233), with what to take instead."""


@dataclass(frozen=True)
class Kubernetes:
    """A minor version on EKS: the end of its standard support and the add-ons that go with it."""

    standard_until: str
    addons: dict[str, str] = field(hash=False)


VERSIONS: dict[str, Kubernetes] = {}
"""By minor version."""
DEFAULT_VERSION = "1.36"
