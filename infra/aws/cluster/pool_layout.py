"""The layout of an environment's pools and node groups, from the stack's `pools` list.

Invariant: a stack's `pools` list is read in one place; node groups and the platform get the same pools.

Pure, for settings that infra/settings/aws/checks.py found nothing wrong with.

Who runs where: every server is admitted by Kueue, which gives its pod the label of the pool it was admitted to. So
CPU pools need no taint, and the shipped cpu flavors, which name no pool, land on whichever has room. GPU pools have
the GPU taint. The platform's own nodes carry the pool label `system`, which no ResourceFlavor selects: no server gets
there, and they need no taint either, which every add-on, chart and job of an administrator would have to tolerate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from infra.catalog import FAMILIES, Capacity, Family, Size
from infra.catalog.allocatable import allocatable
from infra.platform.pools import Pool
from infra.settings.aws.models import SYSTEM_NODE_SELECTOR, SYSTEM_POOL, Aws, PoolSettings
from infra.settings.aws.naming import MAX_NODE_GROUP_PREFIX, named

ROOT_FOR_SERVERS_GIB = 140
"""Of a GPU node's root disk (launch_template.py): the rest is for images."""
ACCELERATOR = "k8s.amazonaws.com/accelerator"
"""By this label the cluster autoscaler knows a GPU node whose device plugin has not registered yet; without it, the
node counts as one without GPUs, and another is bought (cluster-autoscaler, cloudprovider/aws/README, GPU nodes)."""
LOCAL_DISK_GIB = 100
"""For each GPU, where a node has local disks: what the smallest of them has (g4dn.xlarge, 125 GB)."""


@dataclass(frozen=True)
class Group:
    """One EKS node group."""

    pool: str
    zones: tuple[str, ...]
    """One, as homes are EBS volumes and those stay in their zone; all of the network's for the system nodes."""
    min: int
    max: int
    """Of a pool over several zones every group may grow to the pool's maximum; Kueue's quota keeps the sum."""
    family: Family
    size: Size
    instance_type: str
    capacity: Capacity
    efa: bool
    """Whether it wants all EFA cards of its size, and a cluster placement group."""
    reservation: str
    """Id of the capacity block or reservation it runs in, or empty."""
    labels: Mapping[str, str] = field(hash=False)
    taints: tuple[Mapping[str, str], ...] = field(hash=False)

    @property
    def key(self) -> str:
        """Its name within the stack, `POOL-1a` or `system`.

        It depends on the pool's name and the zone only.
        """
        return self.pool if self.pool == SYSTEM_POOL else f"{self.pool}-{self.zones[0].rpartition('-')[2]}"

    def prefix(self, stack: str) -> str:
        """The beginning of the node group's name; Pulumi's provider adds a suffix."""
        return named(stack, self.key, limit=MAX_NODE_GROUP_PREFIX)


def pools_of(aws: Aws) -> tuple[Pool, ...]:
    """The pools as the platform sees them, in the order of the list."""
    return tuple(_pool(pool, aws.zones_of(pool)) for pool in aws.pools)


def groups_of(aws: Aws) -> tuple[Group, ...]:
    """The node groups of all pools, one for each pool and zone, in their order.

    A pool's minimum is spread over its zones, the first ones getting what is left over.
    """
    return tuple(group for pool in aws.pools for group in _groups(pool, aws.zones_of(pool)))


def system_of(aws: Aws) -> Group:
    """The node group of the platform itself, over all zones.

    Nothing on it has a volume that binds it to one zone.
    """
    family = FAMILIES[aws.system.family]
    return Group(
        pool=SYSTEM_POOL,
        zones=aws.network.zones,
        min=aws.system.min,
        max=aws.system.max,
        family=family,
        size=family.sizes[aws.system.size],
        instance_type=family.instance_type(aws.system.size),
        capacity="ON_DEMAND",
        efa=False,
        reservation="",
        labels=SYSTEM_NODE_SELECTOR,
        taints=(),
    )


def _pool(pool: PoolSettings, zones: tuple[str, ...]) -> Pool:
    family = FAMILIES[pool.family]
    size = family.sizes[pool.size]
    node = allocatable(size, efa=pool.efa)
    return Pool(
        name=pool.name,
        nodes=pool.max,
        cpu=node.cpu,
        memory=node.memory,
        disk=LOCAL_DISK_GIB * size.gpus if family.instance_store else ROOT_FOR_SERVERS_GIB,
        gpus=size.gpus,
        gpus_per_server=pool.gpus_per_server or size.gpus,
        efa=size.efa_cards if pool.efa else 0,
        gpu_model=family.gpu,
        gpu_memory=family.gpu_memory,
        instance_type=family.instance_type(pool.size),
        capacity=pool.capacity,
        zones=zones,
        architecture=family.architecture,
        price=pool.node_price,
    )


def _accelerator(family: Family) -> dict[str, str]:
    """The autoscaler's label of GPU nodes, whose value may be anything."""
    return {ACCELERATOR: f"nvidia-{family.gpu.lower().replace(' ', '-')}"} if family.gpu else {}


def _groups(pool: PoolSettings, zones: tuple[str, ...]) -> list[Group]:
    seen = _pool(pool, zones)
    family = FAMILIES[pool.family]
    first = Group(
        pool=pool.name,
        zones=zones[:1],
        min=0,
        max=pool.max,
        family=family,
        size=family.sizes[pool.size],
        instance_type=seen.instance_type,
        capacity=pool.capacity,
        efa=pool.efa,
        reservation=pool.reservation_id,
        labels=seen.labels() | _accelerator(family),
        taints=tuple(seen.taints()),
    )
    each, over = divmod(pool.min, len(zones))
    return [replace(first, zones=(zone,), min=each + (place < over)) for place, zone in enumerate(zones)]
