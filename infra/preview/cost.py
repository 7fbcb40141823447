"""Invariant: a month's cost is a sum whose every term is shown; what depends on use is named and never guessed.

Pure. Minimum: every pool at its smallest; maximum: every pool at its largest, all month. What is there once comes from
the graph, nodes and their prices from the settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from devservers.api.queueing import LABEL_POOL
from infra.aws.settings import Aws, PoolSettings
from infra.catalog import FAMILIES, PRICES_AS_OF, VERSIONS
from infra.preview import prices
from infra.preview.prices import AS_OF, HOURS
from infra.preview.recorder import Graph, Node

SYSTEM = "system"


@dataclass(frozen=True)
class Term:
    """One term of the sum, US dollars a month."""

    what: str
    detail: str
    minimum: float
    maximum: float


@dataclass(frozen=True)
class Cost:
    """A month of an environment. ``not_counted`` is what depends on use, or whose price isn't known.

    ``budget`` is the stack's own, 0 where it has none.
    """

    terms: tuple[Term, ...]
    not_counted: tuple[str, ...]
    budget: float = 0

    @property
    def minimum(self) -> float:
        """US dollars with every pool at its smallest."""
        return sum(term.minimum for term in self.terms)

    @property
    def maximum(self) -> float:
        """US dollars with every pool at its largest, all month."""
        return sum(term.maximum for term in self.terms)

    def record(self) -> dict[str, Any]:
        """For `-o json`."""
        return {
            "currency": "USD",
            "pricesAsOf": {"instances": PRICES_AS_OF, "others": AS_OF},
            "minimum": round(self.minimum, 2),
            "maximum": round(self.maximum, 2),
            "budget": self.budget or None,
            "terms": [asdict(term) for term in self.terms],
            "notCounted": list(self.not_counted),
        }


def cost(aws: Aws, graph: Graph) -> Cost:
    """What an environment costs a month."""
    pools = [_nodes(SYSTEM, aws.system.family, aws.system.size, aws.system.min, aws.system.max, None)]
    pools += [
        _nodes(pool.name, pool.family, pool.size, pool.min, pool.max, pool.price_per_hour or None) for pool in aws.pools
    ]
    unknown = [
        f"nodes of pool {pool.name}: the price of {pool.family}.{pool.size} isn't known; set pricePerHour of the pool"
        for pool in aws.pools
        if _price(pool.family, pool.size, pool.price_per_hour or None) is None
    ]
    terms = [*_once(aws, graph), *(term for term in pools if term), *_disks(aws, graph)]
    not_counted = (*unknown, *_by_use(aws, graph), *_capacity(aws.pools))
    return Cost(tuple(terms), not_counted, aws.observability.monthly_budget)


def _price(family: str, size: str, own: float | None) -> float | None:
    return own if own is not None else FAMILIES[family].sizes[size].price


def _nodes(name: str, family: str, size: str, low: int, high: int, own: float | None) -> Term | None:
    price = _price(family, size, own)
    if price is None:
        return None
    detail = f"{low} to {high} × {family}.{size} at ${price:g}/h"
    return Term(f"nodes {name}", detail, low * price * HOURS, high * price * HOURS)


def _once(aws: Aws, graph: Graph) -> Iterator[Term]:
    """What is there whatever size the pools have."""

    def term(what: str, count: int, each: float, unit: str) -> Iterator[Term]:
        if count:
            month = count * each * (HOURS if unit == "h" else 1)
            yield Term(what, f"{count} × ${each:g}/{unit}", month, month)

    zones = len(aws.network.zones)
    extended = aws.kubernetes.support == "EXTENDED"
    yield from term("EKS control plane", 1, prices.CLUSTER_EXTENDED if extended else prices.CLUSTER, "h")
    # The regional gateway is paid for each zone it serves.
    gateways = zones if aws.network.nat == "regional" else len(graph.of("NatGateway"))
    yield from term("NAT gateways", gateways, prices.NAT_GATEWAY, "h")
    yield from term("interface endpoints", _endpoints(graph, zones), prices.INTERFACE_ENDPOINT, "h")
    balancers = [node for node in graph.of("LoadBalancer") if node.type.startswith("aws:")]
    yield from term("network load balancers", len(balancers), prices.LOAD_BALANCER, "h")
    public = sum(zones for node in balancers if not node.inputs.get("internal"))
    yield from term("public IPv4 addresses", gateways + public, prices.PUBLIC_ADDRESS, "h")
    yield from term("KMS keys", _count(graph, "aws:kms/key:Key"), prices.KEY, "month")
    yield from term("hosted zones", _count(graph, "aws:route53/zone:Zone"), prices.ZONE, "month")
    alarms = _count(graph, "aws:cloudwatch/metricAlarm:MetricAlarm")
    yield from term("alarms", alarms, prices.ALARM, "month")


def _count(graph: Graph, kind: str) -> int:
    return sum(node.type == kind for node in graph.values())


def _endpoints(graph: Graph, zones: int) -> int:
    """Interface endpoints times their zones."""
    found = [node.inputs for node in graph.of("VpcEndpoint") if node.inputs.get("vpcEndpointType") == "Interface"]
    return sum(len(inputs.get("subnetIds") or range(zones)) for inputs in found)


def _disks(aws: Aws, graph: Graph) -> Iterator[Term]:
    """Root disks of the nodes."""
    sizes = {_pool_of(group): _disk(graph, group) for group in graph.of("NodeGroup")}
    nodes = [(SYSTEM, aws.system.min, aws.system.max), *((pool.name, pool.min, pool.max) for pool in aws.pools)]
    known = [(sizes[name], low, high) for name, low, high in nodes if sizes.get(name)]
    if known:
        low, high = sum(size * low for size, low, _ in known), sum(size * high for size, _, high in known)
        detail = f"{low} to {high} GB of gp3 at ${prices.DISK:g}"
        yield Term("root disks", detail, low * prices.DISK, high * prices.DISK)


def _pool_of(group: Node) -> str:
    labels = group.inputs.get("labels") or {}
    return str(labels.get(LABEL_POOL, SYSTEM))


def _disk(graph: Graph, group: Node) -> int:
    """GB of a node's disks, by its group's launch template; 0 when there is none."""
    for urn in group.needs:
        if urn in graph and graph[urn].kind == "LaunchTemplate":
            mappings = graph[urn].inputs.get("blockDeviceMappings") or []
            return sum(int((each.get("ebs") or {}).get("volumeSize") or 0) for each in mappings)
    return 0


def _by_use(aws: Aws, graph: Graph) -> Iterator[str]:
    yield f"homes: ${prices.DISK:g} for each GB of gp3 a month, used or not"
    if aws.storage.shared:
        yield f"shared volumes: ${prices.FILES:g} for each GB in EFS a month, backups besides"
    yield f"traffic: ${prices.NAT_TRAFFIC:g} for each GB through a NAT gateway, and what leaves AWS"
    yield f"logs: ${prices.LOGS:g} for each GB of flow, control plane and container logs"
    if aws.observability.container_insights:
        yield "Container Insights: by the number of nodes and pods"
    if _count(graph, "aws:ecr/repository:Repository"):
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
