"""Overcommit of CPU and memory: divides the requests of flavors.

Servers idle most of the time, and on one person's machine they share it with everything else. Only requests get
smaller: what a server may take at most stays its flavor's limit. Quota, Kueue, the scheduler and `devctl flavors` read
the flavors, so all of them count the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_UP, Decimal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from devservers.api.flavor import DevServerFlavor
from devservers_core.names import ANNOTATION_OVERCOMMIT
from devservers_core.quantity import canonical, parse_quantity
from infra.settings.model import SettingsModel, allowed

LOCAL_CPU, LOCAL_MEMORY = 4.0, 1.0
"""With cluster `local`, unless the stack says otherwise: six small servers and a medium one fit on 2 CPUs and 8 GiB
beside the platform. Memory that is promised twice ends somebody's programs; CPU only makes them slower."""

_UNITS = {"cpu": Decimal("0.001"), "memory": Decimal(2**20)}
"""What requests are rounded up to: millicores and MiB."""

AWS_OVERCOMMIT = ("nodes on AWS are bought by what servers ask for, so it is 1 there", "remove it")
"""The reason and the remedy of an error."""


class Overcommit(SettingsModel):
    """How many times over a cluster's resources are given out."""

    cpu: float | None = Field(default=None, ge=1, le=100, allow_inf_nan=False, json_schema_extra=allowed("1 to 100"))
    """CPUs; unset: 4 with cluster `local`, 1 on AWS."""
    memory: float | None = Field(default=None, ge=1, le=100, allow_inf_nan=False, json_schema_extra=allowed("1 to 100"))
    """Memory; unset: 1."""

    @model_validator(mode="before")
    @classmethod
    def _no_devices(cls, values: object) -> object:
        for key in values if isinstance(values, Mapping) else ():
            if "gpu" in str(key).lower():
                raise PydanticCustomError("devices", "a GPU is one server's alone; remove {key}", {"key": str(key)})
        return values

    def local(self, flavor: DevServerFlavor) -> DevServerFlavor:
        """The flavor as a cluster on this machine offers it."""
        return divided(flavor, self.cpu or LOCAL_CPU, self.memory or LOCAL_MEMORY)


def divided(flavor: DevServerFlavor, cpu: float, memory: float) -> DevServerFlavor:
    """The flavor with its CPU and memory requests divided; GPUs stay as they are."""
    by = {"cpu": cpu, "memory": memory}
    requests = {
        name: _share(amount, by[name], _UNITS[name]) if by.get(name, 1.0) != 1.0 else amount
        for name, amount in flavor.spec.resources.requests.items()
    }
    if requests == flavor.spec.resources.requests:
        return flavor
    resources = flavor.spec.resources.model_copy(update={"requests": requests})
    marks = flavor.metadata.annotations | {ANNOTATION_OVERCOMMIT: f"cpu={cpu:g},memory={memory:g}"}
    return flavor.model_copy(
        update={
            "metadata": flavor.metadata.model_copy(update={"annotations": marks}),
            "spec": flavor.spec.model_copy(update={"resources": resources}),
        }
    )


def _share(amount: str, times: float, unit: Decimal) -> str:
    each = parse_quantity(amount) / Decimal(str(times)) / unit
    whole = max(1, int(each.to_integral_value(rounding=ROUND_UP)))
    return canonical(f"{whole}m" if unit < 1 else f"{whole}Mi")
