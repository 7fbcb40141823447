"""The status of a DevServer.

Invariant: it is what is true of the server, and only the operator writes it.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AwareDatetime, Field

from devservers.api.conditions import Conditions
from devservers.api.fields import list_map
from devservers.api.meta import Model
from devservers_core.names import STAGES, STOP_REASONS

PHASES = ("Pending", "Starting", "Running", "Stopping", "Stopped", "Failed", "Terminating")


class TimelineEntry(Model):
    """When a start reached a stage."""

    stage: str = Field(json_schema_extra={"enum": list(STAGES)})
    at: AwareDatetime


class Activity(Model):
    """When somebody or something was last at work, and how that is known."""

    at: AwareDatetime
    source: str = Field(max_length=64)


class PlannedStop(Model):
    """A stop that was announced: its time, its reason, and when it was announced last."""

    at: AwareDatetime
    reason: str = Field(json_schema_extra={"enum": list(STOP_REASONS)})
    announced_at: AwareDatetime


class LastStop(Model):
    """How the server ended last."""

    at: AwareDatetime
    reason: str = Field(json_schema_extra={"enum": list(STOP_REASONS)})
    message: str = Field(default="", max_length=1024)
    oom_kills: int | None = Field(default=None, ge=0)
    """Processes that were killed since its start because memory ran out."""
    starts: str | None = Field(default=None, max_length=256)
    """The annotations of its last start and restart then: it stays stopped until they change."""


class HoldStatus(Model):
    """The hold of the spec as it counts, which the limits of flavor and user may end earlier."""

    until: AwareDatetime
    requested_until: AwareDatetime
    reason: str = Field(default="", max_length=256)
    since: AwareDatetime
    """When the operator first saw it."""


class VolumeUse(Model):
    """How full a mounted volume was at a time."""

    path: str = Field(max_length=512)
    claim_name: str = Field(max_length=253)
    used_bytes: int = Field(ge=0)
    size_bytes: int | None = Field(default=None, ge=0)
    """Of its file system; left out for a folder of a larger one."""
    at: AwareDatetime


class SetupStep(Model):
    """A step of the person's set-up at the last start."""

    step: str = Field(max_length=64)
    """dotfiles, dotfiles-install or script."""
    exit_code: int = Field(ge=0, le=255)
    """0 when it did what it is for; 124 when its time was over, 126 when it could not be started."""
    seconds: int = Field(ge=0)


class DevServerStatus(Model):
    """What is true of the server, as the operator last saw it."""

    phase: str | None = Field(default=None, json_schema_extra={"enum": list(PHASES)})
    conditions: Conditions = ()
    timeline: Annotated[
        tuple[TimelineEntry, ...], Field(max_length=16, json_schema_extra=dict[str, Any](list_map("stage")))
    ] = ()
    endpoint: str | None = None
    """`name.namespace.svc:22`."""
    ssh_host_key: str | None = None
    pod_name: str | None = None
    ready: str | None = Field(default=None, max_length=16)
    """Ready and wanted replicas of a distributed server, like `2/4`."""
    ready_replicas: int | None = Field(default=None, ge=0)
    replicas: int | None = Field(default=None, ge=0)
    """How many pods a distributed server is to have while it runs."""
    expires_at: AwareDatetime | None = None
    planned_stop: PlannedStop | None = None
    """Announced 30, 15 and 5 minutes before it happens."""
    hold: HoldStatus | None = None
    last_activity: Activity | None = None
    stop_reason: str | None = None
    """Why it is stopped; one of the reasons of lastStop."""
    last_stop: LastStop | None = None
    volumes: Annotated[
        tuple[VolumeUse, ...], Field(max_length=32, json_schema_extra=dict[str, Any](list_map("path")))
    ] = ()
    """How full its volumes are, at most an hour out of date while it runs."""
    setup: Annotated[
        tuple[SetupStep, ...], Field(max_length=16, json_schema_extra=dict[str, Any](list_map("step")))
    ] = ()
    """What the steps of its owner's set-up came to that ended since the server was ready."""
    observed_generation: int | None = Field(default=None, ge=0)
    user: str | None = None
    """Whose server it is, by its namespace."""
