"""The flavor proposed instead of one that can never start is one the person may use and the queue can hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from devservers.api.flavor import DevServerFlavor
from devservers_core.names import ANY_FLAVOR, INTERACTIVE
from devservers_core.types import Json

from .shortage import Demand, fits_ever


def nearest(
    wanted: DevServerFlavor, known: Iterable[DevServerFlavor], allowed: Iterable[str], queues: Mapping[str, Json]
) -> str | None:
    """The name of the flavor that differs least from `wanted` (devices first, then CPU), None when none fits."""
    permitted = set(allowed)
    asked = Demand.of_flavor(wanted)
    found = [
        each
        for each in known
        if each.name != wanted.name
        and (ANY_FLAVOR in permitted or each.name in permitted)
        and fits_ever(Demand.of_flavor(each), each.spec.queue or INTERACTIVE, queues)
    ]
    best = min(found, key=lambda each: (*_distance(asked, Demand.of_flavor(each)), each.name), default=None)
    return best.name if best else None


def advice(name: str | None) -> str:
    """The sentence that proposes it."""
    if name is None:
        return "Ask an administrator: no flavor you may use fits."
    return f"The nearest flavor that fits is {name}: `devctl flavors` shows all."


def _distance(asked: Demand, other: Demand) -> tuple[bool, Decimal, Decimal]:
    def devices(demand: Demand) -> Decimal:
        return sum((value for name, value in demand.requests.items() if "/" in name), Decimal(0))

    def of(name: str) -> Decimal:
        return abs(asked.requests.get(name, Decimal(0)) - other.requests.get(name, Decimal(0)))

    return asked.pool != other.pool, abs(devices(asked) - devices(other)), of("cpu")
