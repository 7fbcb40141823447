"""Invariant: how servers and training wait for quota is spelled once, here, for Pulumi, the operator and Kueue.

Two ClusterQueues of one cohort share what the cluster has: `interactive` owns it, `training` borrows what is idle
and gives it back when a server wants it (Kueue's reclaimWithinCohort). Every user's namespace has a LocalQueue of
each, called as its ClusterQueue.
"""

from __future__ import annotations

KUEUE = "kueue.x-k8s.io"
KUEUE_VERSION = "v1beta2"
KUEUE_API_VERSION = f"{KUEUE}/{KUEUE_VERSION}"
KUEUE_NAMESPACE = "kueue-system"
"""Its webhooks are known to break under another name (kubernetes-sigs/kueue#3794)."""

LABEL_QUEUE = f"{KUEUE}/queue-name"
"""On a pod's template: the LocalQueue its pods wait in. Without it Kueue leaves a pod alone."""
LABEL_PRIORITY = f"{KUEUE}/priority-class"
"""On the same template: a WorkloadPriorityClass."""

COHORT = "devservers"
INTERACTIVE = "interactive"
TRAINING = "training"
QUEUES = (INTERACTIVE, TRAINING)
"""Names of the ClusterQueues, and of the LocalQueues in each user's namespace."""

PRIORITY_INTERACTIVE = "dev-interactive"
PRIORITY_TRAINING = "training"
PRIORITY_BATCH = "batch"
PRIORITIES = {PRIORITY_INTERACTIVE: 1000, PRIORITY_TRAINING: 100, PRIORITY_BATCH: 10}
"""WorkloadPriorityClasses by name; who has more goes first, and may take from who has less."""

LABEL_POOL = "devservers.io/pool"
"""On nodes: the pool they belong to. A ResourceFlavor selects by it, a DevServerFlavor of the pool too."""
GPU = "nvidia.com/gpu"
