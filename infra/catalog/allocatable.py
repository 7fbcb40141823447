"""CPU and memory that servers may request on one node of an instance type.

Invariant: Kueue is promised no more of a node than its kubelet gives, so whoever is admitted finds a place.

What is left of an instance for servers, in this order:

1. The machine's memory less what firmware and kernel keep: 3 % and 400 MiB. My judgement, from node objects people
   posted (2 to 6 %, most on small ones); Karpenter's default of 7.5 % (vmMemoryOverheadPercent) would give away 150 GiB
   of a p5.48xlarge.
2. Less the kubelet's reserve, EKS's own formula (awslabs/amazon-eks-ami, nodeadm): memory 255 MiB and 11 MiB for each
   pod there may be; CPU 6 % of the first core, 1 % of the second, 0.5 % of the next two, 0.25 % of the others. nodeadm
   would work out the pods from network interfaces; the node groups set them, and the reserve, to what :func:`kubelet`
   gives, so that both sides count alike.
3. Less the memory at which the kubelet evicts, 100 MiB (nodeadm's evictionHard).
4. Less the requests of what runs on every node: CNI, kube-proxy, both CSI drivers, Pod Identity, node monitoring,
   CloudWatch agent and Fluent Bit ask for 520m and 423Mi together; on GPU nodes the metrics exporter and the device
   plugins for 260m and 150Mi more. Rounded up, for newer builds.
5. With EFA, less the huge pages that its driver sets aside at the node's start: 5128 of 2 MiB (EKS User Guide, "Run
   machine learning training with EFA"). The kubelet counts them as a resource of their own, no longer as memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from infra.catalog.instances import Size

KERNEL_SHARE, KERNEL_FIXED = 0.03, 400
EVICTION = 100
MAX_PROCESSES_PER_POD = 4096
"""Of one pod, as on the embedded cluster."""
DAEMONS_CPU, DAEMONS_MEMORY = 600, 768
GPU_DAEMONS_CPU, GPU_DAEMONS_MEMORY = 300, 256
EFA_HUGE_PAGES = 5128 * 2


@dataclass(frozen=True)
class Allocatable:
    """What one node has for servers: CPU in millicores, memory in MiB."""

    cpu: int
    memory: int


def max_pods(size: Size) -> int:
    """Maximum pods of a node with prefix delegation, as AWS recommends."""
    return 110 if size.vcpus < 30 else 250


def reserved(size: Size) -> Allocatable:
    """What the kubelet keeps for itself and the container runtime."""
    shares = (60, 10, 5, 5)
    cpu = sum(shares[: size.vcpus]) + 2.5 * max(0, size.vcpus - len(shares))
    return Allocatable(int(cpu), 255 + 11 * max_pods(size))


def kubelet(size: Size) -> dict[str, Any]:
    """The KubeletConfiguration (NodeConfig `spec.kubelet.config`) assumed here."""
    keeps = reserved(size)
    return {
        "maxPods": max_pods(size),
        # With cgroup v2 the kernel would end the whole server where one of its programs takes too much memory, the
        # bastion with everybody's sessions likewise (KubeletConfiguration, from Kubernetes 1.32 on).
        "singleProcessOOMKill": True,
        # One server's runaway program leaves the others their processes.
        "podPidsLimit": MAX_PROCESSES_PER_POD,
        "kubeReserved": {"cpu": f"{keeps.cpu}m", "memory": f"{keeps.memory}Mi", "ephemeral-storage": "1Gi"},
    }


def allocatable(size: Size, *, efa: bool = False) -> Allocatable:
    """CPU and memory for servers on one node, with EFA interfaces or without."""
    keeps = reserved(size)
    memory = int(size.memory * 1024 * (1 - KERNEL_SHARE)) - KERNEL_FIXED - keeps.memory - EVICTION - DAEMONS_MEMORY
    cpu = size.vcpus * 1000 - keeps.cpu - DAEMONS_CPU
    if size.gpus:
        memory -= GPU_DAEMONS_MEMORY
        cpu -= GPU_DAEMONS_CPU
    if efa:
        memory -= EFA_HUGE_PAGES
    return Allocatable(max(0, cpu), max(0, memory))
