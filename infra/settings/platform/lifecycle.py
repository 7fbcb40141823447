"""Defaults and limits of a flavor's servers: time limits, idleness, working hours.

A stack gives them for all its flavors, a GPU pool on AWS for its own. What the pool says wins, key by key; `null` there
takes a default away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field, field_validator

from devservers.api.flavor import DevServerFlavor, IdleThresholds
from devservers.api.lifecycle import FlavorLifecycle, WorkingHours
from infra.settings.model import SettingsModel, allowed

GROUPS = ("lifecycle", "idle", "working_hours")


class FlavorDefaults(SettingsModel):
    """What flavors say beside their size and place, with the fields of DevServerFlavor.spec."""

    lifecycle: FlavorLifecycle | None = Field(
        default=None,
        json_schema_extra=allowed(
            "an object with timeToLive, idleTimeout and their limits; durations like 30m, 2h30m, 1d"
        ),
    )
    """When servers end by themselves, and the most that they may ask for."""
    idle: IdleThresholds | None = Field(
        default=None, json_schema_extra=allowed("an object with cpuMillicores and gpuPercent")
    )
    """What a server may use and still count as idle."""
    working_hours: WorkingHours | None = Field(
        default=None, json_schema_extra=allowed('an object with stopAt ("20:00"), timeZone and days')
    )
    """When servers stop for the night, unless they are in use or held."""

    @field_validator("idle", "working_hours", mode="before")
    @classmethod
    def _unset(cls, value: object) -> object:
        # Pulumi hands a program the empty objects of Pulumi.yaml for keys that a stack doesn't set.
        return None if value == {} else value


def with_defaults(flavor: DevServerFlavor, layers: Sequence[FlavorDefaults]) -> DevServerFlavor:
    """The flavor with the defaults and limits of the layers; a later layer wins."""
    changes: dict[str, Any] = {}
    if lifecycle := _merged([layer.lifecycle for layer in layers if layer.lifecycle]):
        changes["lifecycle"] = FlavorLifecycle(**lifecycle)
    if idle := _merged([layer.idle for layer in layers if layer.idle]):
        changes["idle"] = IdleThresholds(**idle)
    for layer in layers:
        if "working_hours" in layer.model_fields_set:
            changes["working_hours"] = layer.working_hours
    changes = {name: value for name, value in changes.items() if value is not None}
    return flavor.model_copy(update={"spec": flavor.spec.model_copy(update=changes)}) if changes else flavor


def _merged(groups: Sequence[FlavorLifecycle | IdleThresholds]) -> dict[str, Any]:
    """The fields that are set, of the last group that sets each; None takes one away."""
    values = {name: getattr(group, name) for group in groups for name in group.model_fields_set}
    return {name: value for name, value in values.items() if value is not None}
