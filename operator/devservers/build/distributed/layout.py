"""How the processes of a distributed server are laid out: replicas, processes in each, backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from devservers.api.devserver import DevServer
from devservers.api.flavor import DevServerFlavor
from devservers_core.replicas import GLOO, NCCL


class LayoutError(ValueError):
    """spec.distributed contradicts itself or the flavor; the message says how, and what to do."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The processes of a run in a distributed server."""

    replicas: int
    processes: int
    """In each replica."""
    backend: str
    settings: Mapping[str, str]
    """Variables of NCCL; none for another backend."""

    @classmethod
    def of(cls, server: DevServer, flavor: DevServerFlavor) -> Layout | None:
        """The layout of a distributed server, None of a standalone one. Raises LayoutError."""
        asked, replicas = server.spec.distributed, server.replicas
        if asked is None or replicas is None:
            return None
        gpus = flavor.gpus
        processes = asked.nprocs_per_node or gpus or 1
        if asked.world_size is not None and asked.world_size != replicas * processes:
            raise LayoutError(
                f"worldSize {asked.world_size} is not {replicas} replicas times {processes} processes of flavor "
                f"{flavor.name}; leave worldSize out, or set nprocsPerNode"
            )
        backend = (asked.backend or NCCL) if gpus else GLOO
        return cls(replicas, processes, backend, asked.nccl_settings if backend == NCCL else {})
