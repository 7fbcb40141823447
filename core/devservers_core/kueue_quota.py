"""Kueue's quota arithmetic: headroom, and demand that never fits.

The rule is Kueue's (v0.18, pkg/cache/scheduler/resource_node.go): each queue keeps nominal - lendingLimit to itself,
the queues of a cohort share the rest of all of them, and borrowingLimit caps what one queue takes beyond its own. Quota
that a Cohort object adds is not counted: the platform makes none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_UP, Decimal

from devservers_core.names import GPU, INTERACTIVE, LABEL_POOL
from devservers_core.quantity import quantity_or_zero
from devservers_core.types import Json

MAX_POOLS_SHOWN = 3
"""In one sentence."""
_ZERO = Decimal(0)
_GIB, _MIB = Decimal(2**30), Decimal(2**20)


@dataclass(frozen=True, slots=True)
class Headroom:
    """What a queue has of one resource in one pool, in the resource's base unit (bytes, CPUs, GPUs)."""

    free: Decimal
    """What it could hand out now without taking anything from anybody; never below 0."""
    total: Decimal
    """The most it could ever hand out."""


Choices = Mapping[str, Mapping[str, Headroom]]
"""By resource the headroom of every pool it could come from."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What one server or pod asks of its queue."""

    queue: str
    pool: str
    """The pool that its node selector names, empty for any."""
    requests: Mapping[str, Decimal]

    @property
    def devices(self) -> set[str]:
        """What it asks for besides CPU and memory, such as GPUs."""
        return {name for name, needed in self.requests.items() if needed and "/" in name}


@dataclass(frozen=True, slots=True)
class _Share:
    nominal: Decimal
    kept: Decimal
    borrowable: Decimal | None
    used: Decimal

    @property
    def taken(self) -> Decimal:
        """What it takes of what the cohort shares."""
        return max(_ZERO, self.used - self.kept)


def container_requests(resources: Json) -> dict[str, Decimal]:
    """What Kueue counts for a container's `resources`: its requests, and its limits where it has none."""
    declared = (resources.get("limits") or {}) | (resources.get("requests") or {})
    return {str(name): quantity_or_zero(value) for name, value in declared.items()}


def flavor_demand(spec: Json) -> Demand:
    """What a server of a DevServerFlavor with this spec will ask for."""
    pool = (spec.get("nodeSelector") or {}).get(LABEL_POOL) or ""
    return Demand(str(spec.get("queue") or INTERACTIVE), str(pool), container_requests(spec.get("resources") or {}))


def headroom(queues: Mapping[str, Json], queue: str, pool: str, resource: str) -> Headroom | None:
    """The headroom of a ClusterQueue.

    None when it hands out no such resource in that pool.
    """
    own = _share(queues.get(queue), pool, resource)
    if own is None:
        return None
    cohort = _cohort(queues[queue])
    members = [queues[queue]] if not cohort else [item for item in queues.values() if _cohort(item) == cohort]
    shares = [share for member in members if (share := _share(member, pool, resource)) is not None]
    shared = sum((share.nominal - share.kept for share in shares), _ZERO)
    left = shared - sum((share.taken for share in shares), _ZERO)
    total = own.kept + shared
    if cohort and own.borrowable is not None:
        left = min(left, own.nominal - own.kept - own.taken + own.borrowable)
        total = min(total, own.nominal + own.borrowable)
    return Headroom(max(_ZERO, max(_ZERO, own.kept - own.used) + left), total)


def choices(demand: Demand, queues: Mapping[str, Json]) -> dict[str, dict[str, Headroom]]:
    """By resource the headroom of every pool it could come from, devices first.

    Without what the queue doesn't count.

    A node selector's pool says nothing about what that pool doesn't give. A pool with devices takes nobody who asks
    for none: its nodes are tainted.
    """
    by_resource: dict[str, dict[str, Headroom]] = {}
    queue = queues.get(demand.queue)
    asked = [name for name, needed in demand.requests.items() if needed]
    devices = {
        str(quota.get("name")) for _, quotas in _quotas(queue) for quota in quotas if "/" in str(quota.get("name"))
    }
    wants_devices = not devices.isdisjoint(asked)
    for resource in sorted(asked, key=lambda name: ("/" not in name, name)):
        pools = {
            pool: room
            for pool, quotas in _quotas(queue)
            if any(quota.get("name") == resource for quota in quotas)
            and (room := headroom(queues, demand.queue, pool, resource)) is not None
            and (pool == demand.pool or wants_devices or not _gives(devices, pool, demand.queue, queues))
        }
        if pools:
            by_resource[resource] = {demand.pool: pools[demand.pool]} if demand.pool in pools else pools
    return by_resource


def possible(demand: Demand, by_resource: Choices) -> dict[str, dict[str, Headroom]]:
    """Of the choices those in pools that could ever hold all that is asked of them."""
    small = {
        pool
        for name, pools in by_resource.items()
        for pool, room in pools.items()
        if room.total < demand.requests[name]
    }
    return {
        name: {pool: room for pool, room in pools.items() if pool not in small} for name, pools in by_resource.items()
    }


def servers(demand: Demand, queues: Mapping[str, Json]) -> tuple[int, int] | None:
    """How many such servers could start now, and how many ever.

    None when the queue counts nothing they need.
    """
    by_resource = possible(demand, choices(demand, queues))
    if not by_resource:
        return None
    return (
        min(
            sum(int(room.free // demand.requests[name]) for room in pools.values())
            for name, pools in by_resource.items()
        ),
        min(
            sum(int(room.total // demand.requests[name]) for room in pools.values())
            for name, pools in by_resource.items()
        ),
    )


def excess(demand: Demand, queues: Mapping[str, Json]) -> str | None:
    """In words what it asks for and no pool of its queue could ever give.

    None when there is no such thing.
    """
    by_resource = choices(demand, queues)
    impossible = [name for name, pools in possible(demand, by_resource).items() if not pools]
    alone = [name for name in impossible if all(r.total < demand.requests[name] for r in by_resource[name].values())]
    parts = (
        f"{amount_text(name, demand.requests[name])}, and the whole quota is {_totals(name, by_resource[name])}"
        for name in alone or impossible
    )
    return "; and ".join(parts) or None


def suggest_flavor(demand: Demand, others: Mapping[str, Demand], queues: Mapping[str, Json]) -> str | None:
    """The flavor of `others` that its queue can hold and that differs least: pool, devices, then CPU."""

    def apart(other: Demand, name: str) -> Decimal:
        return abs(demand.requests.get(name, _ZERO) - other.requests.get(name, _ZERO))

    def distance(name: str) -> tuple[bool, Decimal, Decimal, str]:
        other = others[name]
        devices = sum((apart(other, device) for device in demand.devices | other.devices), _ZERO)
        return demand.pool != other.pool, devices, apart(other, "cpu"), name

    fitting = (name for name, other in others.items() if (count := servers(other, queues)) is not None and count[1])
    return min(fitting, key=distance, default=None)


def resource_name(resource: str) -> str:
    """What people call a resource."""
    return {GPU: "GPUs", "cpu": "CPU"}.get(resource, resource)


def amount_text(resource: str, value: Decimal) -> str:
    """An amount that is asked for, rounded up, with the resource's name: `8 GPUs`, `0.5 CPU`."""
    name = "GPU" if resource == GPU and value == 1 else resource_name(resource)
    return f"{number_text(resource, value, ROUND_UP)} {name}"


def number_text(resource: str, value: Decimal, rounding: str = ROUND_DOWN) -> str:
    """Coarse on purpose: tenths of a CPU, whole Gi (Mi below one), whole devices."""
    if resource == "cpu":
        return f"{value.quantize(Decimal('0.1'), rounding).normalize():f}"
    if resource in ("memory", "ephemeral-storage"):
        unit, suffix = (_GIB, "Gi") if value >= _GIB else (_MIB, "Mi")
        return f"{(value / unit).to_integral_value(rounding):f}{suffix}" if value else "0"
    return f"{value.to_integral_value(rounding):f}"


def _totals(resource: str, pools: Mapping[str, Headroom]) -> str:
    best = sorted(pools.items(), key=lambda item: -item[1].total)[:MAX_POOLS_SHOWN]
    return ", ".join(f"{number_text(resource, room.total)} in pool {pool}" for pool, room in best)


def _cohort(queue: Json) -> str:
    return str((queue.get("spec") or {}).get("cohortName") or "")


def _gives(resources: Iterable[str], pool: str, queue: str, queues: Mapping[str, Json]) -> bool:
    rooms = (headroom(queues, queue, pool, name) for name in resources)
    return any(room is not None and room.total for room in rooms)


def _quotas(queue: Json | None) -> Iterator[tuple[str, Iterable[Json]]]:
    for group in ((queue or {}).get("spec") or {}).get("resourceGroups") or ():
        for flavor in group.get("flavors") or ():
            yield str(flavor.get("name")), flavor.get("resources") or ()


def _share(queue: Json | None, pool: str, resource: str) -> _Share | None:
    quota = next((item for name, quotas in _quotas(queue) if name == pool
                  for item in quotas if item.get("name") == resource), None)  # fmt: skip
    if queue is None or quota is None:
        return None
    nominal = quantity_or_zero(quota.get("nominalQuota") or 0)
    lending, borrowing = quota.get("lendingLimit"), quota.get("borrowingLimit")
    kept = max(_ZERO, nominal - quantity_or_zero(lending)) if lending is not None else _ZERO
    reserved = (queue.get("status") or {}).get("flavorsReservation") or ()
    used = next((quantity_or_zero(item.get("total") or 0) for usage in reserved if usage.get("name") == pool
                 for item in usage.get("resources") or () if item.get("name") == resource), _ZERO)  # fmt: skip
    return _Share(nominal, kept, quantity_or_zero(borrowing) if borrowing is not None else None, used)
