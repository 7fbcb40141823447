"""Invariant: what a stack may name of AWS is in these tables, and nothing that AWS no longer offers.

Pure data, in three modules: instances (infra/catalog_instances.py), Kubernetes versions with their add-ons and charts
(infra/catalog_kubernetes.py), and here what they are found by. EC2's own enumeration lists what can't be had any more
(p3 is still in it), so it is no oracle; a test holds every instance type, AMI type and capacity type against botocore's
models.
"""

from __future__ import annotations

from infra.catalog_instances import (
    CPU_FAMILIES,
    GPU_FAMILIES,
    ON_DEMAND_OR_SPOT,
    PRICES_AS_OF,
    RETIRED,
    Capacity,
    Family,
    Size,
)
from infra.catalog_kubernetes import CHARTS, DEFAULT_VERSION, VERSIONS, Chart, Kubernetes, registry_of_eks

__all__ = (
    "CHARTS",
    "DEFAULT_VERSION",
    "FAMILIES",
    "ON_DEMAND_OR_SPOT",
    "PRICES_AS_OF",
    "RETIRED",
    "VERSIONS",
    "Capacity",
    "Chart",
    "Family",
    "Kubernetes",
    "Size",
    "registry_of_eks",
)

FAMILIES: dict[str, Family] = {family.name: family for family in (*CPU_FAMILIES, *GPU_FAMILIES)}
"""By name, CPU families first."""
