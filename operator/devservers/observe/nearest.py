"""The flavor proposed instead of one that can never start: one that the person may use and its queue can hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from devservers.api.flavor import DevServerFlavor
from devservers_core.kueue_quota import flavor_demand, suggest_flavor
from devservers_core.names import ANY_FLAVOR
from devservers_core.types import Json


def nearest(
    wanted: DevServerFlavor, known: Iterable[DevServerFlavor], allowed: Iterable[str], queues: Mapping[str, Json]
) -> str | None:
    """The name of the flavor that differs least from `wanted`, None when none fits."""
    permitted = set(allowed)
    others = {
        each.name: flavor_demand(each.spec.to_dict())
        for each in known
        if each.name != wanted.name and (ANY_FLAVOR in permitted or each.name in permitted)
    }
    return suggest_flavor(flavor_demand(wanted.spec.to_dict()), others, queues)


def advice(name: str | None) -> str:
    """The sentence that proposes it."""
    if name is None:
        return "Ask an administrator: no flavor you may use fits."
    return f"The nearest flavor that fits is {name}: `devctl flavors` shows all."
