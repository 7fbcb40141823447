"""The capacity of a local cluster, and its pools and flavors.

Invariant: the local queue offers what the cluster's nodes can run, and the same amount at every `up`.

The rule: what nodes that take any pod can give (allocatable), less what pods ask for that are neither the platform's
nor a person's. `make up` measures that and hands it to the Pulumi program in one variable; the program takes off what
the platform itself asks for, which its settings say. So neither a running server nor the platform's own first start
changes the figure. Quotas are no reservation: the scheduler has the last word.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from devservers.api.flavor import DevServerFlavor, FlavorResources, FlavorSpec
from devservers.api.meta import Metadata
from devservers_core.names import (
    BASTION_NAMESPACE,
    GPU,
    KUEUE_NAMESPACE,
    LABEL_USER,
    LOCAL_IMAGES,
    SYSTEM_NAMESPACE,
)
from devservers_core.quantity import parse_quantity
from infra.platform.pools import DISK, Pool
from infra.settings.checks.flavors import FAKE_GPU_POOL, GPU_POOL, LOCAL_POOL
from infra.settings.platform.bastion import SIDECAR_CPU, SIDECAR_MEMORY, SIDECARS
from infra.settings.problems import Problem, SettingsError
from infra.settings.stack import Settings

VARIABLE = "DEVSERVERS_LOCAL_CAPACITY"
MAX_FAKE_GPUS = 64
"""The most that are pretended."""

_MEBI = 2**20


@dataclass(frozen=True)
class Capacity:
    """CPU (millicores), memory (MiB) and GPUs for the platform and its servers."""

    cpu: int
    memory: int
    gpus: int = 0
    fake_gpus: int = 0

    def __str__(self) -> str:
        """As the variable's value."""
        return json.dumps({name: amount for name, amount in asdict(self).items() if amount})


NO_CAPACITY = Capacity(0, 0)
"""Of a platform without queues, which needs no measure."""


def measured(
    nodes: Iterable[Mapping[str, Any]],
    pods: Iterable[Mapping[str, Any]],
    namespaces: Iterable[Mapping[str, Any]],
    fake_gpus: int,
) -> Capacity:
    """The capacity of listed nodes, less the requests of others' pods.

    ``fake_gpus`` of its GPUs are pretended.
    """
    given = {"cpu": Decimal(0), "memory": Decimal(0), GPU: Decimal(0)}
    open_nodes = {node["metadata"]["name"]: node for node in nodes if _takes_any_pod(node)}
    for node in open_nodes.values():
        for resource in given:
            given[resource] += parse_quantity(str(node["status"]["allocatable"].get(resource, "0")))
    ours = {SYSTEM_NAMESPACE, KUEUE_NAMESPACE, BASTION_NAMESPACE}
    ours |= {each["metadata"]["name"] for each in namespaces if LABEL_USER in each["metadata"].get("labels", {})}
    for pod in pods:
        over = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
        if over or pod["metadata"]["namespace"] in ours or pod["spec"].get("nodeName") not in open_nodes:
            continue
        for resource, amount in _requests(pod["spec"]).items():
            if resource in given:
                given[resource] -= amount
    # Whole tenths of a CPU and whole 64 MiB: a few KiB of the kernel's more or less are no change.
    return Capacity(
        cpu=max(0, int(given["cpu"] * 1000)) // 100 * 100,
        memory=max(0, int(given["memory"])) // _MEBI // 64 * 64,
        gpus=max(0, int(given[GPU]) - fake_gpus),
        fake_gpus=fake_gpus,
    )


def read(env: Mapping[str, str]) -> Capacity:
    """The capacity in the variable.

    Raises :class:`SettingsError` when it is unset or malformed.
    """
    text = env.get(VARIABLE, "")
    try:
        values = json.loads(text)
        if not isinstance(values, dict) or not all(isinstance(each, int) and each >= 0 for each in values.values()):
            raise TypeError
        return Capacity(**values)
    except (ValueError, TypeError):
        reason = 'not what a cluster can give; allowed: like {"cpu": 1900, "memory": 7680} (millicores, MiB)'
        remedy = "run `make up`, which measures it; or set devservers:queueing.enabled to false"
        raise SettingsError([Problem(VARIABLE, text or "(unset)", reason, remedy)]) from None


def pools(capacity: Capacity, settings: Settings) -> tuple[Pool, ...]:
    """The pools of a local cluster: one for all servers, and one for each kind of GPU."""
    own = [
        (settings.operator.replicas, settings.operator.cpu_request, settings.operator.memory_request),
        (settings.queueing_replicas, settings.queueing.cpu_request, settings.queueing.memory_request),
    ]
    if (bastion := settings.bastion).enabled:
        own.append((bastion.replicas, bastion.cpu_request, bastion.memory_request))
        own.append((bastion.replicas * SIDECARS, SIDECAR_CPU, SIDECAR_MEMORY))
    cpu = capacity.cpu - sum(number * int(parse_quantity(amount) * 1000) for number, amount, _ in own)
    memory = capacity.memory - sum(number * int(parse_quantity(amount)) // _MEBI for number, _, amount in own)
    found = [Pool(LOCAL_POOL, nodes=1, cpu=max(0, cpu), memory=max(0, memory), labelled=False)]
    for name, gpus in ((GPU_POOL, capacity.gpus), (FAKE_GPU_POOL, capacity.fake_gpus)):
        if gpus:
            # CPU and memory of their servers are the local pool's: it is the same node.
            found.append(Pool(name, nodes=1, cpu=0, memory=0, gpus=gpus, gpus_per_server=1, labelled=False))
    return tuple(found)


def flavors(capacity: Capacity, image: str | None = None) -> tuple[DevServerFlavor, ...]:
    """What people choose to get a GPU of a local cluster; ``image`` is of their servers that name none.

    The image that `make up` builds here has PyTorch for CPUs, so only servers with a pretended GPU get it.
    """
    descriptions = {
        GPU_POOL: ("One GPU of this machine", capacity.gpus),
        FAKE_GPU_POOL: ("For trying the queue: a pretended GPU. There is no GPU behind it", capacity.fake_gpus),
    }
    images = {FAKE_GPU_POOL: image}
    if image is not None and not image.startswith(f"{LOCAL_IMAGES}/"):
        images[GPU_POOL] = image
    return tuple(_gpu_flavor(name, text, images.get(name)) for name, (text, gpus) in descriptions.items() if gpus)


def _gpu_flavor(name: str, description: str, image: str | None) -> DevServerFlavor:
    requests = {"cpu": "100m", "memory": "256Mi", DISK: "1Gi"}
    limits = {"cpu": "2", "memory": "2Gi", DISK: "20Gi"}
    return DevServerFlavor(
        metadata=Metadata(name=name),
        spec=FlavorSpec(
            description=description,
            resources=FlavorResources(requests=requests | {GPU: "1"}, limits=limits | {GPU: "1"}),
            shm_size="1Gi",
            image=image,
        ),
    )


def _takes_any_pod(node: Mapping[str, Any]) -> bool:
    taints = node["spec"].get("taints", [])
    # While a node starts, Kubernetes taints it itself (node.kubernetes.io/not-ready); that passes.
    lasting = [each for each in taints if not each["key"].startswith("node.kubernetes.io/")]
    return not node["spec"].get("unschedulable") and all(each["effect"] == "PreferNoSchedule" for each in lasting)


def _requests(spec: Mapping[str, Any]) -> dict[str, Decimal]:
    """What the scheduler counts for a pod, without what only its init containers need."""
    asked: dict[str, Decimal] = {}
    for container in spec.get("containers", []):
        for resource, amount in container.get("resources", {}).get("requests", {}).items():
            asked[resource] = asked.get(resource, Decimal(0)) + parse_quantity(str(amount))
    return asked
