"""The kind DevServerFlavor.

Invariant: a flavor alone decides what a server gets and what that costs.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, ConfigDict, Field

from devservers.api.conditions import Conditions
from devservers.api.fields import Amount, ImageReference, QueueName, Resources, rules
from devservers.api.lifecycle import FlavorLifecycle, WorkingHours
from devservers.api.meta import Column, Model, Names, Resource
from devservers_core.names import GPU
from devservers_core.quantity import quantity_or_zero

_LIMITED = (
    "!has(self.requests) || !has(self.limits) || self.requests.all(k, !(k in self.limits) || "
    "!quantity(string(self.requests[k])).isGreaterThan(quantity(string(self.limits[k]))))"
)
# The API server refuses a pod that asks for a device without limiting it to the same number.
_DEVICES = (
    "!has(self.requests) || self.requests.all(k, !k.contains('/') || "
    "(has(self.limits) && k in self.limits && string(self.limits[k]) == string(self.requests[k])))"
)


class FlavorResources(Model):
    """A container's `resources`: what is set aside for it, and the most it may take."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (_LIMITED, "requests are above limits; lower the request or raise the limit", ".requests"),
            (_DEVICES, "devices such as nvidia.com/gpu need the same amount in requests and limits", ".requests"),
        )
    )

    requests: Resources = Field(default_factory=dict)
    limits: Resources = Field(default_factory=dict)


class Toleration(Model):
    """A pod's toleration, as in core/v1."""

    key: str | None = Field(default=None, max_length=317)
    operator: Annotated[str, Field(json_schema_extra={"enum": ["Exists", "Equal"]})] | None = None
    value: str | None = Field(default=None, max_length=63)
    effect: (
        Annotated[str, Field(json_schema_extra={"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]})] | None
    ) = None
    toleration_seconds: int | None = Field(default=None, ge=0)


class IdleThresholds(Model):
    """At or below these a server of this flavor counts as idle."""

    cpu_millicores: int | None = Field(default=None, ge=0)
    gpu_percent: int | None = Field(default=None, ge=0, le=100)


class FlavorSpec(Model):
    """Size, place and price of servers of this flavor."""

    description: str = Field(default="", max_length=256)
    """What it is good for, in one line."""
    resources: FlavorResources
    """What a server of this flavor asks for and may take."""
    node_selector: Annotated[
        dict[Annotated[str, Field(max_length=317)], Annotated[str, Field(max_length=63)]],
        Field(max_length=16),
    ] = Field(default_factory=dict)
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16)] = ()
    price_per_hour: float | None = Field(default=None, ge=0)
    """US dollars for an hour of running."""
    image: ImageReference | None = None
    """Image of its servers that name none; the platform's default image when left out."""
    queue: QueueName | None = None
    """The queue its servers wait in."""
    idle: IdleThresholds | None = None
    """When a server of this flavor counts as idle."""
    lifecycle: FlavorLifecycle = FlavorLifecycle()
    """When its servers end."""
    working_hours: WorkingHours | None = None
    """When its servers stop for the night; a user's own come first."""
    shm_size: Annotated[str, BeforeValidator(lambda v: str(v)), Amount("shmSize", integers=True)] = "1Gi"
    """Size of /dev/shm, which counts towards the memory limit."""


class FlavorStatus(Model):
    """Nothing is observed about a flavor yet; conditions are there for whoever does."""

    conditions: Conditions = ()
    observed_generation: int | None = Field(default=None, ge=0)


class DevServerFlavor(Resource):
    """A named size that servers choose."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "size(self.metadata.name) <= 63",
                "the name is too long; use at most 63 characters",
                ".metadata.name",
            )
        )
    )
    names: ClassVar[Names] = Names(
        kind="DevServerFlavor",
        plural="devserverflavors",
        short="dsf",
        namespaced=False,
        columns=(
            Column("CPU", ".spec.resources.limits.cpu"),
            Column("Memory", ".spec.resources.limits.memory"),
            Column("GPU", r".spec.resources.limits.nvidia\.com/gpu"),
            Column("Price", ".spec.pricePerHour", "number"),
            Column("Queue", ".spec.queue", priority=1),
            Column("Image", ".spec.image", priority=1),
            Column("Description", ".spec.description"),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )

    spec: FlavorSpec
    status: FlavorStatus = FlavorStatus()

    @property
    def gpus(self) -> int:
        """How many GPUs a server of it has, or each replica of a distributed one."""
        resources = self.spec.resources
        return int(max(quantity_or_zero(amounts.get(GPU, "0")) for amounts in (resources.requests, resources.limits)))


__all__ = ["DevServerFlavor", "FlavorResources", "FlavorSpec", "IdleThresholds", "Toleration"]
