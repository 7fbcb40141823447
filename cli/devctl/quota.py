"""What the queues have free of a flavor, counted on what ClusterQueues say of themselves.

Invariant: the same as the operator counts (devservers.observe.quota, which devctl must not import; a test holds them
together), and so the same as Kueue's scheduler. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from devservers_core import names
from devservers_core.quantity import parse_quantity

if TYPE_CHECKING:
    from devservers_core.types import Json

_NOTHING = Decimal(0)


@dataclass(frozen=True)
class Demand:
    """What one server of a flavor asks of its queue."""

    queue: str
    pool: str
    requests: Mapping[str, Decimal]

    @property
    def devices(self) -> set[str]:
        """What it asks for besides CPU and memory, such as GPUs."""
        return {name for name, needed in self.requests.items() if needed and "/" in name}


@dataclass(frozen=True)
class Room:
    """Of one resource in one pool: what is free now, and the most there could be."""

    free: Decimal
    total: Decimal


def demand(flavor: Json) -> Demand:
    """What a server of this flavor will ask for."""
    spec = flavor.get("spec") or {}
    resources = spec.get("resources") or {}
    wanted = (resources.get("limits") or {}) | (resources.get("requests") or {})
    return Demand(
        str(spec.get("queue") or names.INTERACTIVE),
        str((spec.get("nodeSelector") or {}).get(names.LABEL_POOL) or ""),
        {str(name): amount(value) for name, value in wanted.items()},
    )


def servers(asked: Demand, queues: Mapping[str, Json]) -> tuple[int, int] | None:
    """How many such servers could start now, and how many ever; None when the queue counts nothing they need."""
    rooms = choices(asked, queues)
    if not rooms:
        return None
    small = {pool for name, each in rooms.items() for pool, room in each.items() if room.total < asked.requests[name]}
    large = {name: [room for pool, room in each.items() if pool not in small] for name, each in rooms.items()}
    return (
        min(sum(int(room.free // asked.requests[name]) for room in each) for name, each in large.items()),
        min(sum(int(room.total // asked.requests[name]) for room in each) for name, each in large.items()),
    )


def choices(asked: Demand, queues: Mapping[str, Json]) -> dict[str, dict[str, Room]]:
    """By resource the room of every pool it could come from."""
    found: dict[str, dict[str, Room]] = {}
    queue = queues.get(asked.queue) or {}
    devices = {str(each.get("name")) for _, quotas in _quotas(queue) for each in quotas if "/" in str(each.get("name"))}
    for name in (name for name, needed in asked.requests.items() if needed):
        rooms = {
            pool: room
            for pool, quotas in _quotas(queue)
            if any(each.get("name") == name for each in quotas)
            and (room := room_in(queues, asked.queue, pool, name)) is not None
            and (pool == asked.pool or asked.devices or not _gives(queues, asked.queue, pool, devices))
        }
        if rooms:
            found[name] = {asked.pool: rooms[asked.pool]} if asked.pool in rooms else rooms
    return found


def room_in(queues: Mapping[str, Json], queue: str, pool: str, resource: str) -> Room | None:
    """The room in a ClusterQueue, with what the others of its cohort lend; None when it has no such quota."""
    own = _share(queues.get(queue), pool, resource)
    if own is None:
        return None
    nominal, kept, limit, used = own
    cohort = queues[queue]["spec"].get("cohortName")
    together = [each for each in queues.values() if cohort and (each.get("spec") or {}).get("cohortName") == cohort]
    shares = [share for each in together or [queues[queue]] if (share := _share(each, pool, resource)) is not None]
    pot = sum((share[0] - share[1] for share in shares), _NOTHING)
    left = pot - sum((max(_NOTHING, share[3] - share[1]) for share in shares), _NOTHING)
    total = kept + pot
    if cohort and limit is not None:
        left = min(left, nominal - kept - max(_NOTHING, used - kept) + limit)
        total = min(total, nominal + limit)
    return Room(max(_NOTHING, max(_NOTHING, kept - used) + left), total)


def amount(text: object) -> Decimal:
    """A quantity, 0 when it can't be read."""
    try:
        return parse_quantity(str(text))
    except ValueError:
        return _NOTHING


def _gives(queues: Mapping[str, Json], queue: str, pool: str, resources: set[str]) -> bool:
    rooms = (room_in(queues, queue, pool, name) for name in resources)
    return any(each is not None and each.total for each in rooms)


def _quotas(queue: Json) -> Iterator[tuple[str, list[Json]]]:
    for group in (queue.get("spec") or {}).get("resourceGroups") or []:
        for flavor in group.get("flavors") or []:
            yield str(flavor.get("name")), flavor.get("resources") or []


def _share(queue: Json | None, pool: str, resource: str) -> tuple[Decimal, Decimal, Decimal | None, Decimal] | None:
    """(nominal, kept from others, most to borrow, used) of one resource of a queue in a pool."""
    found: list[Any] = [
        each for name, quotas in _quotas(queue or {}) if name == pool for each in quotas if each.get("name") == resource
    ]
    if queue is None or not found:
        return None
    quota, nominal = found[0], amount(found[0].get("nominalQuota") or 0)
    lending, borrowing = quota.get("lendingLimit"), quota.get("borrowingLimit")
    kept = max(_NOTHING, nominal - amount(lending)) if lending is not None else _NOTHING
    used = [
        amount(each.get("total") or 0)
        for usage in (queue.get("status") or {}).get("flavorsReservation") or []
        if usage.get("name") == pool
        for each in usage.get("resources") or []
        if each.get("name") == resource
    ]
    return nominal, kept, amount(borrowing) if borrowing is not None else None, sum(used, _NOTHING)
