"""Free and total of a queue are what Kueue's scheduler would find, from what ClusterQueues say of themselves.

The rule is Kueue's (v0.18, pkg/cache/scheduler/resource_node.go): each queue keeps nominal - lendingLimit to itself,
the rest of all queues of a cohort is one pot, and borrowingLimit caps what one queue takes beyond its own. Quota that
a Cohort object adds is not counted: the operator doesn't read those, and the platform makes none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from devservers_core.errors import InvalidValue
from devservers_core.quantity import parse_quantity
from devservers_core.types import Json

from .pods import status

_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Room:
    """What a queue has of one resource in one pool, in the resource's base unit (bytes, CPUs, GPUs)."""

    free: Decimal
    """What it could hand out now without taking anything from anybody; never below 0."""

    total: Decimal
    """The most it could ever hand out."""


@dataclass(frozen=True, slots=True)
class _Share:
    nominal: Decimal
    kept: Decimal
    borrowable: Decimal | None
    used: Decimal

    @property
    def taken(self) -> Decimal:
        """What it takes out of the cohort's pot."""
        return max(_NOTHING, self.used - self.kept)


def room(queues: Mapping[str, Json], queue: str, pool: str, resource: str) -> Room | None:
    """The room in ClusterQueue `queue`; None when it hands out no such resource in that pool."""
    own = _share(queues.get(queue), pool, resource)
    if own is None:
        return None
    cohort = _cohort(queues[queue])
    members = [queues[queue]] if not cohort else [each for each in queues.values() if _cohort(each) == cohort]
    shares = [share for each in members if (share := _share(each, pool, resource)) is not None]
    pot = sum((share.nominal - share.kept for share in shares), _NOTHING)
    left = pot - sum((share.taken for share in shares), _NOTHING)
    total = own.kept + pot
    if cohort and own.borrowable is not None:
        left = min(left, own.nominal - own.kept - own.taken + own.borrowable)
        total = min(total, own.nominal + own.borrowable)
    return Room(max(_NOTHING, max(_NOTHING, own.kept - own.used) + left), total)


def pools(queue: Json | None, resource: str) -> tuple[str, ...]:
    """The pools (ResourceFlavors) in which a queue hands out a resource, in the order they are tried."""
    return tuple(pool for pool, quotas in _quotas(queue) if any(each.get("name") == resource for each in quotas))


def choices(
    requests: Mapping[str, Decimal], pool: str, queue: str, queues: Mapping[str, Json]
) -> dict[str, dict[str, Room]]:
    """By resource the room of every pool it could come from, devices first; without what the queue doesn't hand out.

    `pool` is the one a node selector names, empty for any; it says nothing about what that pool doesn't give. A pool
    with devices takes nobody who asks for none: its nodes are tainted.
    """
    found: dict[str, dict[str, Room]] = {}
    wanted = [name for name, needed in requests.items() if needed]
    devices = {name for name in _covered(queues.get(queue)) if "/" in name}
    for resource in sorted(wanted, key=lambda name: ("/" not in name, name)):
        rooms = {
            each: found_room
            for each in pools(queues.get(queue), resource)
            if (found_room := room(queues, queue, each, resource)) is not None
            and (each == pool or not devices.isdisjoint(wanted) or not _gives(devices, each, queue, queues))
        }
        if rooms:
            found[resource] = {pool: rooms[pool]} if pool in rooms else rooms
    return found


def possible(requests: Mapping[str, Decimal], rooms: Mapping[str, Mapping[str, Room]]) -> dict[str, dict[str, Room]]:
    """Of the choices those in pools that could ever hold all that is asked of them."""
    small = {pool for name, each in rooms.items() for pool, room in each.items() if room.total < requests[name]}
    return {name: {pool: room for pool, room in each.items() if pool not in small} for name, each in rooms.items()}


def amount(text: object) -> Decimal:
    """A quantity of a foreign object, 0 when it can't be read."""
    try:
        return parse_quantity(str(text))
    except InvalidValue:
        return _NOTHING


def _cohort(queue: Json) -> str:
    return str((queue.get("spec") or {}).get("cohortName") or "")


def _covered(queue: Json | None) -> set[str]:
    return {str(each.get("name")) for _, quotas in _quotas(queue) for each in quotas}


def _gives(resources: Iterable[str], pool: str, queue: str, queues: Mapping[str, Json]) -> bool:
    rooms = (room(queues, queue, pool, name) for name in resources)
    return any(each is not None and each.total for each in rooms)


def _quotas(queue: Json | None) -> Iterator[tuple[str, Iterable[Json]]]:
    for group in ((queue or {}).get("spec") or {}).get("resourceGroups") or ():
        for flavor in group.get("flavors") or ():
            yield str(flavor.get("name")), flavor.get("resources") or ()


def _share(queue: Json | None, pool: str, resource: str) -> _Share | None:
    quota = next((each for name, quotas in _quotas(queue) if name == pool
                  for each in quotas if each.get("name") == resource), None)  # fmt: skip
    if queue is None or quota is None:
        return None
    nominal = amount(quota.get("nominalQuota") or 0)
    lending, borrowing = quota.get("lendingLimit"), quota.get("borrowingLimit")
    kept = max(_NOTHING, nominal - amount(lending)) if lending is not None else _NOTHING
    used = next((amount(each.get("total") or 0) for usage in status(queue).get("flavorsReservation") or ()
                 if usage.get("name") == pool for each in usage.get("resources") or ()
                 if each.get("name") == resource), _NOTHING)  # fmt: skip
    return _Share(nominal, kept, amount(borrowing) if borrowing is not None else None, used)
