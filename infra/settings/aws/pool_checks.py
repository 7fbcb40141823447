"""Validation of node pools: instance types, capacity, zones, GPUs and EFA.

Invariant: pools that pass here are ones AWS has, are told apart by their names, and have room for every flavor.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator

from devservers.api.shipped_flavors import SHIPPED
from devservers_core.quantity import parse_quantity
from infra.catalog import FAMILIES, PRICES_AS_OF, RETIRED, Family, Size
from infra.catalog.allocatable import allocatable
from infra.settings.aws.models import SYSTEM_POOL, Aws, PoolSettings
from infra.settings.problems import Problem, problem

MAX_NODE_GROUPS = 30
"""EKS's quota of managed node groups in a cluster (EKS service quotas)."""
FLAVORS = {flavor.metadata.name for flavor in SHIPPED}


def problems_of(aws: Aws) -> list[Problem]:
    """Everything wrong with the pools and the platform's own nodes."""
    found = list(_system(aws))
    for place, pool in enumerate(aws.pools):
        at = f"pools[{place}]"
        found += _name(aws, at, pool, place)
        found += _node_counts(at, pool)
        found += _zones(aws, at, pool)
        family, size = _instance(at, pool.family, pool.size, found)
        if family and size:
            found += _capacity(at, pool, family)
            found += _gpus(at, pool, family, size)
            found += _efa_and_zones(aws, at, pool, family, size)
    found += _too_many_node_groups(aws)
    # Which flavors have room depends on every pool, so it is worth saying only when all of them are right.
    return found or list(_flavors_without_pool(aws))


def _instance(at: str, name: str, size: str, found: list[Problem]) -> tuple[Family | None, Size | None]:
    """The family and size; an unknown one is a problem."""
    family = FAMILIES.get(name)
    if family is None:
        near = difflib.get_close_matches(name, FAMILIES, n=1)
        if name in RETIRED:
            reason, remedy = "EC2 no longer offers this family", f"use {RETIRED[name]}"
        else:
            reason = "no family of infra/catalog"
            remedy = f"use {near[0]} (nearest)" if near else f"use one of {', '.join(FAMILIES)}"
        found.append(problem(f"{at}.family", name, reason, remedy))
        return None, None
    if size not in family.sizes:
        remedy = f"use one of {', '.join(family.sizes)}"
        found.append(problem(f"{at}.size", size, f"{name} has no such size", remedy))
    return family, family.sizes.get(size)


def _system(aws: Aws) -> Iterator[Problem]:
    found: list[Problem] = []
    family, _ = _instance("system", aws.system.family, aws.system.size, found)
    yield from found
    if family and family.gpu:
        reason = "the platform's own nodes need no GPU"
        yield problem("system.family", family.name, reason, "use a CPU family, like m7i")
    if aws.system.min > aws.system.max:
        yield _min_above_max("system", aws.system.min, aws.system.max)


def _name(aws: Aws, at: str, pool: PoolSettings, place: int) -> Iterator[Problem]:
    names = [each.name for each in aws.pools]
    key, first = f"{at}.name", names.index(pool.name)
    if first < place:
        reason = f"pool {pool.name} is there twice, first as pools[{first}]"
        yield problem(key, pool.name, reason, "give each pool a name of its own")
    if pool.name == SYSTEM_POOL:
        yield problem(key, pool.name, "that is the name of the platform's own nodes", "take another name")
    if pool.name in FLAVORS and not _without_gpus(pool):
        reason = "a GPU pool's name is also its flavor's, and this one is shipped with the platform"
        yield problem(key, pool.name, reason, f"take another name, like {pool.family}-{pool.size}")


def _node_counts(at: str, pool: PoolSettings) -> Iterator[Problem]:
    if pool.min > pool.max:
        yield _min_above_max(at, pool.min, pool.max)


def _min_above_max(at: str, least: int, most: int) -> Problem:
    return problem(f"{at}.min", least, f"more than {at}.max, which is {most}", f"set {at}.max to {least} or more")


def _zones(aws: Aws, at: str, pool: PoolSettings) -> Iterator[Problem]:
    for place, zone in enumerate(pool.zones):
        key = f"{at}.zones[{place}]"
        if zone not in aws.network.zones:
            there = ", ".join(aws.network.zones) or "none"
            yield problem(key, zone, f"the network has no subnets there; it has {there}", "take one of those")
        if zone in pool.zones[:place]:
            yield problem(key, zone, "it is there twice", "remove one of them")


def _capacity(at: str, pool: PoolSettings, family: Family) -> Iterator[Problem]:
    if pool.capacity not in family.capacities:
        has = ", ".join(family.capacities)
        yield problem(f"{at}.capacity", pool.capacity, f"{family.name} has no such capacity", f"set it to {has}")
    if pool.capacity == "CAPACITY_BLOCK":
        if not pool.reservation_id:
            yield problem(
                f"{at}.reservationId",
                "",
                "a capacity block is bought before its nodes can start",
                f"buy one (aws ec2 purchase-capacity-block) and set {at}.reservationId to its id, cr-...",
            )
        if pool.min:
            reason = "a block ends, and EKS would go on asking for nodes that can't come"
            yield problem(f"{at}.min", pool.min, reason, "set it to 0")
    elif pool.capacity == "SPOT" and pool.reservation_id:
        reason = "spot nodes don't run in reservations"
        remedy = f"remove it, or set {at}.capacity to ON_DEMAND or CAPACITY_BLOCK"
        yield problem(f"{at}.reservationId", pool.reservation_id, reason, remedy)


def _gpus(at: str, pool: PoolSettings, family: Family, size: Size) -> Iterator[Problem]:
    each = pool.gpus_per_server
    key = f"{at}.gpusPerServer"
    if each and not size.gpus:
        yield problem(key, each, f"{family.name} has no GPUs", "remove it, or take a GPU family, like g6e")
    elif each and size.gpus % each:
        fits = ", ".join(str(count) for count in range(1, size.gpus + 1) if size.gpus % count == 0)
        whole = f"{family.instance_type(pool.size)} has {size.gpus}, and some would never be used"
        yield problem(key, each, whole, f"use one of {fits}")
    if pool.node_price is None:
        # Budgets and the cost in a preview would count such a node as nothing.
        kind = family.instance_type(pool.size)
        yield problem(
            f"{at}.pricePerHour",
            "",
            f"AWS's price list of {PRICES_AS_OF} has no price of {kind} in us-east-1, and budgets would count nothing",
            f"set {at}.pricePerHour to what a node costs you in an hour, in US dollars",
        )


def _efa_and_zones(aws: Aws, at: str, pool: PoolSettings, family: Family, size: Size) -> Iterator[Problem]:
    """What ties a pool to one zone."""
    if pool.efa and not size.efa_cards:
        has = [name for name, each in family.sizes.items() if each.efa_cards]
        use = f"use size {' or '.join(has)}" if has else "use a family with it, like g6e, p5 or p5en"
        yield problem(
            f"{at}.efa", "true", f"{family.instance_type(pool.size)} has no EFA", f"{use}; or set it to false"
        )
    each = pool.gpus_per_server or size.gpus
    if pool.efa and size.gpus and size.gpus % each == 0 and size.efa_cards * each % size.gpus:
        fits = [n for n in range(1, size.gpus + 1) if size.gpus % n == 0 and size.efa_cards * n % size.gpus == 0]
        yield problem(
            f"{at}.gpusPerServer",
            each,
            f"{family.instance_type(pool.size)} has {size.efa_cards} EFA interfaces for {size.gpus} GPUs, and servers "
            "can't share one",
            f"use {' or '.join(map(str, fits))}, or set {at}.efa to false",
        )
    reasons = {
        "a cluster placement group, which EFA wants, is in one zone": pool.efa,
        "a capacity block is in one zone": pool.capacity == "CAPACITY_BLOCK",
        "a reservation is in one zone": bool(pool.reservation_id) and pool.capacity == "ON_DEMAND",
    }
    zones = aws.zones_of(pool)
    if len(zones) != 1:
        for reason in (reason for reason, holds in reasons.items() if holds):
            yield problem(
                f"{at}.zones",
                list(pool.zones) or "",
                reason,
                f"set {at}.zones to that zone alone, like {json.dumps(zones[:1])}",
            )


def _too_many_node_groups(aws: Aws) -> Iterator[Problem]:
    groups = 1 + sum(len(aws.zones_of(pool)) for pool in aws.pools)
    if groups > MAX_NODE_GROUPS:
        yield problem(
            "pools",
            f"{len(aws.pools)} pools",
            f"with one node group for each pool and zone and one of the platform's own they are {groups}; EKS takes "
            f"{MAX_NODE_GROUPS} in a cluster",
            "give pools fewer zones (pools[].zones), or remove some",
        )


def _flavors_without_pool(aws: Aws) -> Iterator[Problem]:
    """Flavors that fit on no pool's nodes: their servers would wait for ever."""
    pools = [pool for pool in aws.pools if _without_gpus(pool)]
    names = f"{len(aws.pools)} pools" if len(aws.pools) > 1 else "1 pool"
    if not pools:
        yield problem(
            "pools",
            names,
            f"all have GPUs, and servers of the flavors without ({', '.join(sorted(FLAVORS))}) would wait for ever",
            'add a CPU pool: {"name": "cpu", "family": "m7i", "size": "2xlarge", "max": 4}',
        )
        return
    rooms = [allocatable(FAMILIES[pool.family].sizes[pool.size]) for pool in pools]
    for flavor in SHIPPED:
        asks = flavor.spec.resources.requests
        cpu, memory = parse_quantity(asks["cpu"]) * 1000, parse_quantity(asks["memory"]) / 2**20
        if not any(room.cpu >= cpu and room.memory >= memory for room in rooms):
            yield problem(
                "pools",
                names,
                f"no CPU pool's node has room for a server of flavor {flavor.metadata.name} ({asks['cpu']} CPU and "
                f"{asks['memory']} memory), so it would wait for ever",
                "give one of them a bigger size, like xlarge or 2xlarge",
            )


def _without_gpus(pool: PoolSettings) -> bool:
    """Whether it is a pool of a known CPU family."""
    return pool.family in FAMILIES and not FAMILIES[pool.family].gpu
