"""A user's flavors and remaining quota.

Invariant: read with the user's rights; what may not be read limits nothing here and is left to the API server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from devservers_core import names
from devservers_core.errors import ApiError
from devservers_core.kueue_quota import Demand, flavor_demand
from devservers_core.quantity import quantity_or_zero

if TYPE_CHECKING:
    from devctl.context import Context
    from devservers_core.types import Json


@dataclass(frozen=True)
class Allowance:
    """The flavors and quota of a user.

    `flavors` is None for all of them; `hard` and `used` are the ResourceQuotas' amounts by key.
    """

    flavors: frozenset[str] | None = None
    hard: Mapping[str, Decimal] = field(default_factory=dict)
    used: Mapping[str, Decimal] = field(default_factory=dict)

    def may_use(self, flavor: str) -> bool:
        """Whether the user may use a flavor of that name."""
        return self.flavors is None or flavor in self.flavors

    def servers(self, demand: Demand) -> tuple[int, int] | None:
        """How many servers of a demand the quota allows now, and at most.

        None when the quota limits nothing of the demand.
        """
        needs = {f"requests.{name}": needed for name, needed in demand.requests.items() if needed}
        needs |= {name: needed for name, needed in demand.requests.items() if needed} | {names.SERVER_COUNT: Decimal(1)}
        limits = [
            (self.hard[key], self.used.get(key, Decimal(0)), need) for key, need in needs.items() if key in self.hard
        ]
        if not limits:
            return None
        return (
            min(max(int((hard - used) // need), 0) for hard, used, need in limits),
            min(int(hard // need) for hard, _, need in limits),
        )


def allowance(context: Context) -> Allowance:
    """Read the user's allowance from their namespace and its ResourceQuotas."""
    from devservers_core.client.paths import core_path

    flavors: frozenset[str] | None = None
    try:
        namespace = context.kube.get(f"/api/v1/namespaces/{context.namespace}")
        text = (namespace["metadata"].get("annotations") or {}).get(names.ANNOTATION_ALLOWED_FLAVORS)
        listed = frozenset(name.strip() for name in str(text or "*").split(","))
        flavors = None if "*" in listed else listed
    except ApiError:
        pass
    hard: dict[str, Decimal] = {}
    used: dict[str, Decimal] = {}
    try:
        items = context.kube.get(core_path(context.namespace, "resourcequotas")).get("items") or []
    except ApiError:
        items = []
    for item in items:
        counted = (item.get("status") or {}).get("used") or {}
        for key, most in ((item.get("spec") or {}).get("hard") or {}).items():
            if key not in hard or quantity_or_zero(most) < hard[key]:
                hard[key], used[key] = quantity_or_zero(most), quantity_or_zero(counted.get(key, 0))
    return Allowance(flavors, hard, used)


def smallest(flavors: list[Json]) -> str | None:
    """Return the flavor that requests least: devices first, then CPU, then the name."""

    def size(flavor: Json) -> tuple[Decimal, Decimal, str]:
        demand = flavor_demand(flavor.get("spec") or {})
        devices = sum((demand.requests[name] for name in demand.devices), Decimal(0))
        return devices, demand.requests.get("cpu", Decimal(0)), str(flavor["metadata"]["name"])

    best = min(flavors, key=size, default=None)
    return str(best["metadata"]["name"]) if best else None


def default_flavor(context: Context, flavors: list[Json], own: Allowance) -> str | None:
    """Return the flavor of `devctl create NAME`: the setting, else cpu-small or the smallest."""
    setting = context.config.setting("flavor")
    usable = [flavor for flavor in flavors if own.may_use(str(flavor["metadata"]["name"]))]
    if setting and (
        setting.source != "default" or any(flavor["metadata"]["name"] == setting.value for flavor in usable)
    ):
        return setting.value
    return smallest(usable) or (setting.value if setting else None)
