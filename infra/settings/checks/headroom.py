"""Checks of fast starts against a stack's pools, and how many nodes headroom takes.

Invariant: headroom that passes here fits on the nodes of a pool on AWS. What a local cluster has is measured later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from devservers.api.shipped_flavors import SHIPPED
from devservers_core.names import DEFAULT_FLAVOR
from devservers_core.quantity import parse_quantity
from infra.catalog import FAMILIES
from infra.catalog.allocatable import allocatable
from infra.settings.aws.models import Aws, PoolSettings
from infra.settings.checks.flavors import LOCAL_POOL
from infra.settings.platform.fast_starts import FastStarts, Headroom
from infra.settings.problems import Problem, problem

_SIZES = {flavor.metadata.name: flavor.spec.resources.requests for flavor in SHIPPED}


def flavor_of(entry: Headroom, pool: PoolSettings | None) -> str:
    """The flavor whose servers an entry keeps room for; None stands for the pool of a local cluster."""
    return entry.flavor or (pool.name if pool and FAMILIES[pool.family].gpu else DEFAULT_FLAVOR)


def nodes(pool: PoolSettings, headroom: Sequence[Headroom]) -> int:
    """The most nodes that the placeholders of a pool take; 0 without any."""
    mine = (entry for entry in headroom if entry.pool == pool.name)
    return sum(-(-entry.servers // max(1, _per_node(pool, flavor_of(entry, pool)))) for entry in mine)


def problems_of(settings: FastStarts, aws: Aws | None) -> list[Problem]:
    """Everything wrong with pre-pulled images and headroom; ``aws`` None stands for a local stack."""
    pools = [pool.name for pool in aws.pools] if aws else [LOCAL_POOL]
    return [*_pre_pull(settings, pools), *_headroom(settings, pools, aws)]


def _pre_pull(settings: FastStarts, pools: Sequence[str]) -> Iterator[Problem]:
    images = [entry.image for entry in settings.pre_pull]
    for place, entry in enumerate(settings.pre_pull):
        at = f"fastStarts.prePull[{place}]"
        if images.index(entry.image) < place:
            first = f"fastStarts.prePull[{images.index(entry.image)}]"
            yield problem(
                f"{at}.image", entry.image, f"it is there twice, first as {first}", "name its pools in one entry"
            )
        for index, pool in enumerate(entry.pools):
            if pool not in pools:
                yield _no_such_pool(f"{at}.pools[{index}]", pool, pools)


def _headroom(settings: FastStarts, pools: Sequence[str], aws: Aws | None) -> Iterator[Problem]:
    seen: set[tuple[str, str]] = set()
    for place, entry in enumerate(settings.headroom):
        at = f"fastStarts.headroom[{place}]"
        if entry.pool not in pools:
            yield _no_such_pool(f"{at}.pool", entry.pool, pools)
            continue
        pool = next((each for each in aws.pools if each.name == entry.pool), None) if aws else None
        flavor = flavor_of(entry, pool)
        if (entry.pool, flavor) in seen:
            reason = f"pool {entry.pool} has an entry for flavor {flavor} already"
            yield problem(at, flavor, reason, "add its servers to the first one")
        seen.add((entry.pool, flavor))
        offered = [pool.name] if pool and FAMILIES[pool.family].gpu else list(_SIZES)
        if flavor not in offered:
            reason = f"servers of that flavor don't run in pool {entry.pool}"
            yield problem(f"{at}.flavor", flavor, reason, f"use {' or '.join(offered)}")
        elif pool and not _per_node(pool, flavor):
            kind = FAMILIES[pool.family].instance_type(pool.size)
            reason = f"a node of pool {pool.name} ({kind}) has no room for a server of that flavor"
            yield problem(f"{at}.flavor", flavor, reason, "use a smaller flavor, or a pool of larger nodes")
        elif pool and (needed := nodes(pool, [entry])) > pool.max:
            reason = f"{entry.servers} servers of {flavor} take {needed} nodes, and the pool has at most {pool.max}"
            most = pool.max * _per_node(pool, flavor)
            yield problem(f"{at}.servers", entry.servers, reason, f"use at most {most}, or raise the pool's max")


def _per_node(pool: PoolSettings, flavor: str) -> int:
    """How many servers of a flavor one node of a pool has room for."""
    size = FAMILIES[pool.family].sizes[pool.size]
    if size.gpus:
        return size.gpus // (pool.gpus_per_server or size.gpus)
    room = allocatable(size, efa=pool.efa)
    cpu, memory = (parse_quantity(_SIZES[flavor][name]) for name in ("cpu", "memory"))
    return min(int(room.cpu // (cpu * 1000)), int(room.memory // (memory / 2**20)))


def _no_such_pool(path: str, pool: str, pools: Sequence[str]) -> Problem:
    near = get_close_matches(pool, pools, 1)
    remedy = f"use {near[0]}" if near else f"use {' or '.join(pools)}"
    return problem(path, pool, "this stack has no such pool", remedy)
