"""The Kubernetes provider of the chosen local cluster.

Invariant: the cluster's identity is its context, not its address, so objects are replaced only on another cluster.
"""

from __future__ import annotations

import pulumi_kubernetes as kubernetes

from infra.local.context import EMBEDDED, Choice


def provider(choice: Choice) -> kubernetes.Provider:
    """The Kubernetes provider of the chosen cluster."""
    return kubernetes.Provider(
        "cluster",
        kubeconfig=str(choice.kubeconfig),
        context=choice.context,
        # Not by its address, which changes.
        cluster_identifier=choice.context or EMBEDDED,
    )
