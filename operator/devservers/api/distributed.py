"""spec.distributed of a DevServer: how many replicas it has and how their processes talk."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from devservers.api.fields import rules
from devservers.api.meta import Model
from devservers_core.replicas import (
    BACKENDS,
    MAX_NCCL_NAME,
    MAX_NCCL_SETTINGS,
    MAX_NCCL_VALUE,
    MAX_PROCESSES,
    MAX_REPLICAS,
    MIN_REPLICAS,
    NCCL_NAME,
)


class Distributed(Model):
    """The replicas of a distributed server, and the processes of a training run in them."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.worldSize) || !has(self.nprocsPerNode) || "
                "self.worldSize == self.replicas * self.nprocsPerNode",
                "worldSize is not replicas times nprocsPerNode; leave it out",
                ".worldSize",
            ),
            (
                f"!has(self.ncclSettings) || self.ncclSettings.all(name, name.matches('{NCCL_NAME}'))",
                "ncclSettings has variables of NCCL only; their names begin with NCCL_, TORCH_NCCL_ or FI_",
                ".ncclSettings",
            ),
        )
    )

    replicas: int = Field(ge=MIN_REPLICAS, le=MAX_REPLICAS)
    """How many pods it has, all of its flavor; a change needs a restart and keeps every home."""
    nprocs_per_node: int | None = Field(default=None, ge=1, le=MAX_PROCESSES)
    """Processes of a run in each replica: as many as its flavor has GPUs, else one."""
    world_size: int | None = Field(default=None, ge=1, le=MAX_REPLICAS * MAX_PROCESSES)
    """Processes of a run in all, to be checked against: replicas times nprocsPerNode."""
    backend: Annotated[str, Field(json_schema_extra={"enum": list(BACKENDS)})] | None = None
    """How processes talk: nccl where the flavor has GPUs, else gloo."""
    nccl_settings: Annotated[
        dict[
            Annotated[str, Field(max_length=MAX_NCCL_NAME)],
            Annotated[str, Field(max_length=MAX_NCCL_VALUE)],
        ],
        Field(max_length=MAX_NCCL_SETTINGS),
    ] = Field(default_factory=dict)
    """Variables of NCCL, like NCCL_DEBUG."""
