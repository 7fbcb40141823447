"""Tables of what a stack may name of AWS: instances, versions, charts.

Invariant: what a stack may name of AWS is in these tables, and nothing that AWS no longer offers.

Data alone: instances (infra/catalog/instances.py) with their prices (infra/catalog/prices.json), Kubernetes versions
with their add-ons and charts (infra/catalog/kubernetes.py), and here what they are found by. EC2's own enumeration
lists what can't be had any more (p3 is still in it), so it is no oracle; a test holds every instance type, AMI type and
capacity type against botocore's models.
"""

from __future__ import annotations

from dataclasses import replace

from infra.catalog.instances import (
    CPU_FAMILIES,
    GPU_FAMILIES,
    ON_DEMAND_OR_SPOT,
    RETIRED,
    WITHOUT_PRICE,
    Capacity,
    Family,
    Size,
)
from infra.catalog.kubernetes import CHARTS, DEFAULT_VERSION, VERSIONS, Chart, Kubernetes, registry_of_eks
from infra.catalog.prices import PRICES

__all__ = (
    "CHARTS",
    "DEFAULT_VERSION",
    "FAMILIES",
    "ON_DEMAND_OR_SPOT",
    "PRICES_AS_OF",
    "RETIRED",
    "VERSIONS",
    "WITHOUT_PRICE",
    "Capacity",
    "Chart",
    "Family",
    "Kubernetes",
    "Size",
    "registry_of_eks",
)

PRICES_AS_OF = PRICES.as_of
"""The day the price list of instances was generated."""


def _priced(family: Family) -> Family:
    """A family whose sizes have the prices of the list."""
    prices = {name: PRICES.on_demand.get(family.instance_type(name)) for name in family.sizes}
    return replace(family, sizes={name: replace(size, price=prices[name]) for name, size in family.sizes.items()})


FAMILIES: dict[str, Family] = {family.name: _priced(family) for family in (*CPU_FAMILIES, *GPU_FAMILIES)}
"""By name, CPU families first."""
