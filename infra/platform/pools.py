"""A pool of nodes, as Kueue, the scheduler and people see it.

Invariant: what a pool of nodes is to Kueue, to the scheduler and to people is worked out here, from one entry.

Pure. Node groups, ResourceFlavors, ClusterQueue quotas and DevServerFlavors all read a :class:`Pool`, so what
`devctl flavors` offers is what there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from devservers.api.flavor import DevServerFlavor, FlavorResources, FlavorSpec, Toleration
from devservers.api.meta import Metadata
from devservers_core.names import (
    ANNOTATION_ARCHITECTURE,
    ANNOTATION_CAPACITY,
    ANNOTATION_GPU_MEMORY,
    ANNOTATION_GPU_MODEL,
    ANNOTATION_INSTANCE_TYPE,
    ANNOTATION_ZONES,
    GPU,
    LABEL_POOL,
)

GPU_TAINT = {"key": GPU, "value": "present", "effect": "NoSchedule"}
"""The value `present` and no other: node feature discovery tolerates just that one, and without its label the device
plugin never comes (k8s-device-plugin's chart)."""
GPU_LABEL = f"{GPU}.present"
EFA = "vpc.amazonaws.com/efa"
"""What the EFA device plugin calls a network card. NCCL uses TCP, without a word, in a pod that asks for none."""
DISK = "ephemeral-storage"


@dataclass(frozen=True)
class Pool:
    """Nodes of one kind.

    CPU in millicores and memory in MiB are what one node has for servers: allocatable, less what runs on every node.
    """

    name: str
    nodes: int
    """The most there can be."""
    cpu: int
    memory: int
    disk: int = 0
    """The most that servers' own files may take of one node's disk, GiB; 0 leaves it to the operator's default."""
    gpus: int = 0
    gpus_per_server: int = 0
    """0 for CPU pools, whose sizes are the shipped flavors'."""
    efa: int = 0
    """EFA interfaces of one node, for its servers in the proportion of their GPUs."""
    gpu_model: str = ""
    gpu_memory: int = 0
    """Of one GPU, GiB."""
    instance_type: str = ""
    capacity: str = ""
    zones: tuple[str, ...] = ()
    """Where it has nodes, of a cloud's zones."""
    architecture: str = ""
    price: float | None = None
    """Of one node, US dollars an hour."""
    labelled: bool = True
    """Whether its nodes carry :data:`LABEL_POOL`; the nodes of a local cluster don't."""

    def labels(self) -> dict[str, str]:
        """Labels of its nodes, which ResourceFlavor and DevServerFlavor select by."""
        if not self.labelled:
            return {}
        return {LABEL_POOL: self.name} | ({GPU_LABEL: "true"} if self.gpus else {})

    def taints(self) -> list[dict[str, str]]:
        """Taints of its nodes: what needs no GPU stays off those that have some."""
        return [dict(GPU_TAINT)] if self.gpus and self.labelled else []

    def quota(self) -> dict[str, str]:
        """All its nodes together, by resource, as quantities."""
        whole = {"cpu": f"{self.nodes * self.cpu}m", "memory": f"{self.nodes * self.memory}Mi"}
        return whole | {GPU: str(self.nodes * self.gpus)}

    def flavor(self, image: str | None = None) -> DevServerFlavor | None:
        """What people choose to get a server on it; None for a pool without GPUs.

        ``image`` is of its servers that name none; None for the platform's default.
        """
        if not self.gpus:
            return None
        each = self.gpus_per_server or self.gpus
        share = each / self.gpus
        amounts = {"cpu": f"{int(self.cpu * share)}m", "memory": f"{int(self.memory * share)}Mi", GPU: str(each)}
        if self.efa:
            amounts[EFA] = str(int(self.efa * share))
        disk = int(self.disk * share)
        requests = amounts | ({DISK: f"{max(1, disk // 10)}Gi"} if disk else {})
        limits = amounts | ({DISK: f"{disk}Gi"} if disk else {})
        about = {
            ANNOTATION_INSTANCE_TYPE: self.instance_type,
            ANNOTATION_CAPACITY: self.capacity,
            ANNOTATION_ZONES: ",".join(self.zones),
            ANNOTATION_ARCHITECTURE: self.architecture,
            ANNOTATION_GPU_MODEL: self.gpu_model,
            ANNOTATION_GPU_MEMORY: f"{self.gpu_memory}Gi" if self.gpu_memory else "",
        }
        taints = self.taints()
        optional: dict[str, Any] = {}
        if self.price is not None:
            optional["price_per_hour"] = round(self.price * share, 4)
        if taints:
            optional["tolerations"] = (Toleration(key=GPU, operator="Equal", value="present", effect="NoSchedule"),)
        if self.labelled:
            optional["node_selector"] = {LABEL_POOL: self.name}
        return DevServerFlavor(
            metadata=Metadata(name=self.name, annotations={key: value for key, value in about.items() if value}),
            spec=FlavorSpec(
                description=f"{each} × {self.gpu_model or 'GPU'}"
                + (f", {self.gpu_memory} GiB each" if self.gpu_memory else ""),
                resources=FlavorResources(requests=requests, limits=limits),
                # Memory of the pod, see the shipped flavors; NCCL and data loaders want much of it.
                shm_size=f"{max(1, int(self.memory * share) // 4096)}Gi",
                image=image,
                **optional,
            ),
        )
