"""The flavors every platform starts with, as the objects that are installed."""

from __future__ import annotations

from devservers.api.flavor import DevServerFlavor, FlavorResources, FlavorSpec
from devservers.api.meta import Metadata
from devservers_core.names import DEFAULT_FLAVOR


def _cpu(
    name: str, description: str, requests: tuple[str, str, str], limits: tuple[str, str, str], shm: str
) -> DevServerFlavor:
    return DevServerFlavor(
        metadata=Metadata(name=name),
        spec=FlavorSpec(
            description=description,
            resources=FlavorResources(
                requests=dict(zip(("cpu", "memory", "ephemeral-storage"), requests, strict=True)),
                limits=dict(zip(("cpu", "memory", "ephemeral-storage"), limits, strict=True)),
            ),
            shm_size=shm,
        ),
    )


# /dev/shm is memory of the pod: half of the limit at most, or filling it would kill what runs beside.
SHIPPED: tuple[DevServerFlavor, ...] = (
    _cpu(DEFAULT_FLAVOR, "Editing and small scripts", ("500m", "512Mi", "1Gi"), ("2", "2Gi", "20Gi"), "1Gi"),
    _cpu("cpu-medium", "Building and data preparation", ("1", "2Gi", "2Gi"), ("4", "8Gi", "30Gi"), "2Gi"),
    _cpu("cpu-large", "Heavy builds and CPU training", ("2", "4Gi", "4Gi"), ("8", "16Gi", "40Gi"), "4Gi"),
)
"""Smallest first; `manifest()` of each is what the infra program installs."""
