"""Suggests a flavor for a server whose own can never start in its queue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from devservers.api.flavor import DevServerFlavor
from devservers_core import kueue_quota
from devservers_core.kueue_quota import flavor_demand
from devservers_core.names import ANY_FLAVOR
from devservers_core.types import Json


def suggest_flavor(
    flavor: DevServerFlavor, flavors: Iterable[DevServerFlavor], allowed: Iterable[str], queues: Mapping[str, Json]
) -> str | None:
    """The allowed flavor that fits and differs least from `flavor`, None when none fits."""
    permitted = set(allowed)
    demands = {
        other.name: flavor_demand(other.spec.to_dict())
        for other in flavors
        if other.name != flavor.name and (ANY_FLAVOR in permitted or other.name in permitted)
    }
    return kueue_quota.suggest_flavor(flavor_demand(flavor.spec.to_dict()), demands, queues)


def suggestion_message(name: str | None) -> str:
    """The sentence that suggests a flavor."""
    if name is None:
        return "Ask an administrator: no flavor you may use fits."
    return f"The nearest flavor that fits is {name}: `devctl flavors` shows all."
