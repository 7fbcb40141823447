"""Estimates an environment's monthly cost from settings and resource counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from infra.aws.cluster.launch_template import root_gib
from infra.aws.cluster.pool_layout import pools_of, system_of
from infra.catalog import FAMILIES, PRICES_AS_OF, VERSIONS, Size
from infra.catalog.prices import PRICES
from infra.cost import fees, resource_counter
from infra.cost.estimate import Estimate, Line, Server
from infra.cost.fees import HOURS, Fee
from infra.cost.resource_counter import ResourceCounter
from infra.settings.aws.models import SYSTEM_POOL, Aws, PoolSettings
from infra.settings.checks import headroom as placeholders
from infra.settings.platform.fast_starts import Headroom

HOURS_A_DAY, DAYS = 8, 21
"""Of a server that somebody works on: 8 hours on each of the 21 working days of a month."""


def estimate(stack: str, aws: Aws, seen: ResourceCounter, headroom: Sequence[Headroom] = ()) -> Estimate:
    """What an environment costs a month; ``headroom`` are the placeholders of its fast starts."""
    priced = [(pool, price) for pool in aws.pools if (price := pool.node_price) is not None]
    pools = [_system(aws), *(_pool(aws, pool, price, headroom) for pool, price in priced)]
    unknown = [
        f"nodes of pool {pool.name}: the price of {pool.family}.{pool.size} isn't known; set pricePerHour of the pool"
        for pool in aws.pools
        if pool.node_price is None
    ]
    return Estimate(
        stack=stack,
        fixed=tuple(_fixed(aws, seen)),
        pools=tuple(pools),
        servers=tuple(_servers(aws)),
        hours=HOURS_A_DAY * DAYS,
        not_counted=(*unknown, *_by_use(aws, seen), *_capacity(aws.pools)),
        budget=aws.observability.monthly_budget,
        instances_as_of=PRICES_AS_OF,
        fees_as_of=min(fee.as_of for fee in fees.ALL),
        region=aws.region,
    )


def _fixed(aws: Aws, seen: ResourceCounter) -> Iterator[Line]:
    zones = len(aws.network.zones)
    # The regional gateway is paid for each zone it serves.
    gateways = seen.types[resource_counter.NAT] * (zones if aws.network.nat == "regional" else 1)
    counted: tuple[tuple[str, int, Fee], ...] = (
        ("EKS control plane", 1, fees.CLUSTER_EXTENDED if aws.kubernetes.support == "EXTENDED" else fees.CLUSTER),
        ("NAT gateways", gateways, fees.NAT_GATEWAY),
        ("interface endpoints", seen.endpoint_zones, fees.INTERFACE_ENDPOINT),
        ("network load balancers", seen.types[resource_counter.BALANCER], fees.LOAD_BALANCER),
        ("public IPv4 addresses", gateways + seen.public_balancers * zones, fees.PUBLIC_ADDRESS),
        ("KMS keys", seen.types[resource_counter.KEY], fees.KEY),
        ("hosted zones", seen.types[resource_counter.ZONE], fees.ZONE),
        ("alarms", seen.types[resource_counter.ALARM] - seen.query_alarms, fees.ALARM),
    )
    for what, count, fee in counted:
        if count:
            month = count * fee.month
            yield Line(what, f"{count} × {fee}", fee.source, month, month)


def _system(aws: Aws) -> Line:
    group = system_of(aws)
    # CPU families all have a price (tests/infra/test_aws_catalog.py).
    return _nodes(SYSTEM_POOL, group.min, group.max, group.instance_type, group.size, group.size.price or 0, _LIST)


def _pool(aws: Aws, pool: PoolSettings, price: float, headroom: Sequence[Headroom]) -> Line:
    family = FAMILIES[pool.family]
    source = "pricePerHour of the pool" if pool.price_per_hour else _LIST
    kind = family.instance_type(pool.size)
    kept = placeholders.nodes(pool, headroom)
    # Kueue's quota keeps servers within the pool's maximum, and placeholders are none of its business: over several
    # zones, each with a node group of its own, they come on top.
    most = pool.max + (kept if len(aws.zones_of(pool)) > 1 else 0)
    line = _nodes(pool.name, max(pool.min, kept), most, kind, family.sizes[pool.size], price, source)
    if kept:
        return replace(line, detail=f"{line.detail}; headroom keeps {kept} running")
    return line


_LIST = f"{PRICES.source}, {PRICES.as_of}"


def _nodes(name: str, low: int, high: int, kind: str, size: Size, price: float, source: str) -> Line:
    disk = root_gib(size)
    month = price * HOURS + disk * fees.DISK.month
    count = f"{low} to {high}" if low != high else f"{low}"
    detail = f"{count} × {kind} at ${price:g}/h, each with a disk of {disk} GB"
    return Line(name, detail, f"{source}; disks: {fees.DISK.source}", low * month, high * month)


def _servers(aws: Aws) -> Iterator[Server]:
    for pool in pools_of(aws):
        flavor = pool.flavor()
        if flavor and flavor.spec.price_per_hour is not None:
            hour = float(flavor.spec.price_per_hour)
            gpus = f"{pool.gpus_per_server} of {pool.gpus} GPUs" if pool.gpus_per_server < pool.gpus else "the whole"
            detail = f"{gpus} of {pool.instance_type}, {pool.gpu_model}"
            yield Server(flavor.metadata.name, detail, hour, hour * HOURS_A_DAY * DAYS)


def _by_use(aws: Aws, seen: ResourceCounter) -> Iterator[str]:
    yield f"homes: {fees.DISK} of gp3, used or not"
    if aws.home_backup_days:
        yield f"copies of homes, {aws.home_backup_days} days: {fees.SNAPSHOT} of a whole copy and what changes daily"
    if aws.storage.shared:
        yield f"shared volumes: {fees.FILES} in EFS, backups besides"
    yield f"traffic: {fees.NAT_TRAFFIC} through a NAT gateway, and what leaves AWS"
    yield f"logs: {fees.LOGS} of flow, control plane and container logs"
    if seen.query_alarms:
        yield f"alarms on a query ({seen.query_alarms}): {fees.QUERY_ALARM} that they read, one for each GPU node"
    if aws.observability.container_insights:
        yield "Container Insights: by the number of nodes and pods"
    if seen.types[resource_counter.REPOSITORY]:
        yield "images in ECR, and the load balancer's capacity units"
    standard = VERSIONS[aws.kubernetes.version].standard_until if aws.kubernetes.version in VERSIONS else None
    if standard and aws.kubernetes.support == "EXTENDED":
        yield f"extended support is paid from {standard} on only; it is counted as if it were now"


def _capacity(pools: tuple[PoolSettings, ...]) -> Iterator[str]:
    for pool in pools:
        if pool.capacity == "SPOT" and not pool.price_per_hour:
            yield f"pool {pool.name} is SPOT: counted at the on-demand price, which it doesn't exceed"
        if pool.capacity == "CAPACITY_BLOCK":
            yield f"pool {pool.name} runs in a capacity block, which is paid as a whole when it is bought"
