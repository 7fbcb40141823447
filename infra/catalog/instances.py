"""EC2 instance types that pools may name: CPUs, memory, GPUs and EFA.

Their prices are in infra/catalog/prices.json. Where the figures are from, and how sure they are:

- CPUs, memory, GPUs: EC2 User Guide and the announcements; g7 from its announcement and p6e-gb200 from HyperPod's
  table only.
- EFA: the most interfaces (EfaInfo.MaximumEfaInterfaces) as the EC2 User Guide had them; g7e beyond 8xlarge and
  p6-b300 by their bandwidth only. g7 and p6e-gb200 have EFA, but how their cards are numbered is not verified, so here
  they have none. `aws ec2 describe-instance-types --instance-types TYPE --query InstanceTypes[0].NetworkInfo` tells.
- GPU memory: as NVIDIA names it, per GPU.

Bare-metal sizes are left out: they take a quarter of an hour to start, which scaling from zero can't wait for. So are
g6f and gr6f, whose GPUs are parts of one, of another memory in each size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Capacity = Literal["ON_DEMAND", "SPOT", "CAPACITY_BLOCK"]
Architecture = Literal["amd64", "arm64"]
ON_DEMAND_OR_SPOT: tuple[Capacity, ...] = ("ON_DEMAND", "SPOT")
ANY: tuple[Capacity, ...] = (*ON_DEMAND_OR_SPOT, "CAPACITY_BLOCK")
BLOCK_ONLY: tuple[Capacity, ...] = ("CAPACITY_BLOCK",)
_AMI: dict[tuple[str, bool], str] = {
    ("amd64", False): "AL2023_x86_64_STANDARD",
    ("amd64", True): "AL2023_x86_64_NVIDIA",
    ("arm64", False): "AL2023_ARM_64_STANDARD",
    ("arm64", True): "AL2023_ARM_64_NVIDIA",
}


@dataclass(frozen=True)
class Size:
    """One instance type. Memory in GiB."""

    vcpus: int
    memory: int
    gpus: int = 0
    efa_cards: int = 0
    """EFA interfaces, one on each network card from ``efa_first`` on; 0 where it can't have EFA."""
    efa_first: int = 0
    """The first network card with EFA; on p6-b300 card 0 is for IP alone."""
    price: float | None = None
    """US dollars an hour, Linux, on demand, us-east-1; infra/catalog puts it there. None: see WITHOUT_PRICE."""


@dataclass(frozen=True)
class Family:
    """Instances with the same processor and GPU."""

    name: str
    sizes: dict[str, Size] = field(hash=False)
    architecture: Architecture = "amd64"
    capacities: tuple[Capacity, ...] = ON_DEMAND_OR_SPOT
    gpu: str = ""
    gpu_memory: int = 0
    """Of one GPU, GiB."""
    instance_store: bool = False
    """Local NVMe disks, joined by nodeadm (RAID 0)."""

    @property
    def ami_type(self) -> str:
        """EKS's AMI type: Amazon Linux 2023, with NVIDIA's driver where there are GPUs."""
        return _AMI[self.architecture, bool(self.gpu)]

    def instance_type(self, size: str) -> str:
        """`g6e.2xlarge`."""
        return f"{self.name}.{size}"


_STEPS = {"medium": 1, "large": 2, "xlarge": 4, "2xlarge": 8, "4xlarge": 16, "8xlarge": 32}
_STEPS |= {"12xlarge": 48, "16xlarge": 64, "24xlarge": 96, "32xlarge": 128, "48xlarge": 192}
"""vCPUs by size, of the general families."""


def _general(name: str, ratio: int, sizes: str, architecture: Architecture = "amd64") -> Family:
    """A CPU family: ``ratio`` GiB for each vCPU."""
    each = {size: _STEPS[size] for size in sizes.split()}
    return Family(name, {size: Size(cpus, cpus * ratio) for size, cpus in each.items()}, architecture)


_SEVENTH = "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 48xlarge"
CPU_FAMILIES: tuple[Family, ...] = (
    _general("m7i", 4, _SEVENTH),
    _general("m7a", 4, f"{_SEVENTH} 32xlarge"),
    _general("m7g", 4, "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge", "arm64"),
    _general("c7i", 2, _SEVENTH),
    _general("r7i", 8, _SEVENTH),
    _general("m8g", 4, _SEVENTH, "arm64"),
    Family(
        "t3",
        {
            # Smaller ones have too few addresses for the daemons of every node.
            "medium": Size(2, 4),
            "large": Size(2, 8),
            "xlarge": Size(4, 16),
            "2xlarge": Size(8, 32),
        },
    ),
)

GPU_FAMILIES: tuple[Family, ...] = (
    Family(
        "g4dn",
        {
            "xlarge": Size(4, 16, 1),
            "2xlarge": Size(8, 32, 1),
            "4xlarge": Size(16, 64, 1),
            "8xlarge": Size(32, 128, 1, 1),
            "12xlarge": Size(48, 192, 4, 1),
            "16xlarge": Size(64, 256, 1, 1),
        },
        gpu="T4",
        gpu_memory=16,
        instance_store=True,
    ),
    Family(
        "g5",
        {
            "xlarge": Size(4, 16, 1),
            "2xlarge": Size(8, 32, 1),
            "4xlarge": Size(16, 64, 1),
            "8xlarge": Size(32, 128, 1, 1),
            "12xlarge": Size(48, 192, 4, 1),
            "16xlarge": Size(64, 256, 1, 1),
            "24xlarge": Size(96, 384, 4, 1),
            "48xlarge": Size(192, 768, 8, 1),
        },
        gpu="A10G",
        gpu_memory=24,
        instance_store=True,
    ),
    Family(
        "g5g",
        {
            "xlarge": Size(4, 8, 1),
            "2xlarge": Size(8, 16, 1),
            "4xlarge": Size(16, 32, 1),
            "8xlarge": Size(32, 64, 1),
            "16xlarge": Size(64, 128, 2),
        },
        "arm64",
        gpu="T4G",
        gpu_memory=16,
    ),
    Family(
        "g6",
        {
            "xlarge": Size(4, 16, 1),
            "2xlarge": Size(8, 32, 1),
            "4xlarge": Size(16, 64, 1),
            "8xlarge": Size(32, 128, 1, 1),
            "12xlarge": Size(48, 192, 4, 1),
            "16xlarge": Size(64, 256, 1, 1),
            "24xlarge": Size(96, 384, 4, 1),
            "48xlarge": Size(192, 768, 8, 1),
        },
        gpu="L4",
        gpu_memory=24,
        instance_store=True,
    ),
    Family(
        "gr6",
        {"4xlarge": Size(16, 128, 1), "8xlarge": Size(32, 256, 1, 1)},
        gpu="L4",
        gpu_memory=24,
        instance_store=True,
    ),
    Family(
        "g6e",
        {
            "xlarge": Size(4, 32, 1),
            "2xlarge": Size(8, 64, 1),
            "4xlarge": Size(16, 128, 1),
            "8xlarge": Size(32, 256, 1, 1),
            "12xlarge": Size(48, 384, 4, 1),
            "16xlarge": Size(64, 512, 1, 1),
            "24xlarge": Size(96, 768, 4, 2),
            "48xlarge": Size(192, 1536, 8, 4),
        },
        gpu="L40S",
        gpu_memory=48,
        instance_store=True,
    ),
    Family(
        "g7",
        {
            "2xlarge": Size(8, 32, 1),
            "4xlarge": Size(16, 64, 1),
            "8xlarge": Size(32, 128, 1),
            "12xlarge": Size(48, 192, 2),
            "24xlarge": Size(96, 384, 4),
            "48xlarge": Size(192, 768, 8),
        },
        gpu="RTX PRO 4500",
        gpu_memory=32,
        instance_store=True,
    ),
    Family(
        "g7e",
        {
            "2xlarge": Size(8, 64, 1),
            "4xlarge": Size(16, 128, 1),
            "8xlarge": Size(32, 256, 1, 1),
            "12xlarge": Size(48, 512, 2, 1),
            "24xlarge": Size(96, 1024, 4, 2),
            "48xlarge": Size(192, 2048, 8, 4),
        },
        gpu="RTX PRO 6000",
        gpu_memory=96,
        instance_store=True,
    ),
    Family(
        "p4d",
        {"24xlarge": Size(96, 1152, 8, 4)},
        capacities=ANY,
        gpu="A100",
        gpu_memory=40,
        instance_store=True,
    ),
    Family(
        "p4de",
        {"24xlarge": Size(96, 1152, 8, 4)},
        capacities=ANY,
        gpu="A100",
        gpu_memory=80,
        instance_store=True,
    ),
    Family(
        "p5",
        {"4xlarge": Size(16, 256, 1, 1), "48xlarge": Size(192, 2048, 8, 32)},
        capacities=ANY,
        gpu="H100",
        gpu_memory=80,
        instance_store=True,
    ),
    Family(
        "p5e",
        {"48xlarge": Size(192, 2048, 8, 32)},
        capacities=BLOCK_ONLY,
        gpu="H200",
        gpu_memory=141,
        instance_store=True,
    ),
    Family(
        "p5en",
        {"48xlarge": Size(192, 2048, 8, 16)},
        capacities=ANY,
        gpu="H200",
        gpu_memory=141,
        instance_store=True,
    ),
    Family(
        "p6-b200",
        {"48xlarge": Size(192, 2048, 8, 8)},
        capacities=ANY,
        gpu="B200",
        gpu_memory=180,
        instance_store=True,
    ),
    Family(
        "p6-b300",
        {"48xlarge": Size(192, 4096, 8, 16, efa_first=1)},
        capacities=ANY,
        gpu="B300",
        gpu_memory=268,
        instance_store=True,
    ),
    Family(
        "p6e-gb200",
        {"36xlarge": Size(144, 960, 4)},
        "arm64",
        capacities=BLOCK_ONLY,
        gpu="GB200",
        gpu_memory=185,
        instance_store=True,
    ),
)

WITHOUT_PRICE: dict[str, str] = {
    "p5e.48xlarge": "AWS sells it by capacity blocks only",
    "p6e-gb200.36xlarge": "AWS sells it by capacity blocks only",
}
"""Types that AWS's price list of us-east-1 on demand doesn't have, with the reason: a pool says its own price."""

RETIRED: dict[str, str] = {
    "p3": "g6e, or p5 with size 4xlarge",
    "p3dn": "g6e, or p5 with size 4xlarge",
    "p2": "g6",
    "g2": "g6",
    "g3": "g6",
    "g3s": "g6",
}
"""Families EC2 no longer offers (p3: dstackai/gpuhunt#233), with what to take instead."""
