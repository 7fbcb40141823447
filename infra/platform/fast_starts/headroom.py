"""Placeholder pods that keep room for servers of a flavor, as manifests.

A placeholder asks for what a server of its flavor asks for and does nothing. Its priority is below a server's, so the
scheduler removes it in the moment a server wants its place; its Deployment makes another, which waits until the cluster
autoscaler has made a node for it. Kueue knows nothing of placeholders: they are in no user's namespace.

Invariant: a placeholder takes nothing from anybody. It has no grace period, preempts nothing, and is counted in no
queue.
"""

from __future__ import annotations

from typing import Any

from devservers.api.flavor import DevServerFlavor
from devservers_core.names import LABEL_APP, LABEL_HEADROOM, LABEL_POOL, SYSTEM_NAMESPACE
from devservers_core.quantity import canonical
from infra.platform.fast_starts.idle_pod import closed_pod, idle_container
from infra.platform.pools import Pool

APP = "devservers-headroom"
"""Value of LABEL_APP on placeholders, and the name of their PriorityClass."""
PRIORITY = -5
"""Below a server's 0. The cluster autoscaler makes nodes for pods down to -10 (`--expendable-pods-priority-cutoff`)."""


def priority_class() -> dict[str, Any]:
    """The PriorityClass of placeholders."""
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": APP, "labels": {"app.kubernetes.io/part-of": "devservers"}},
        "value": PRIORITY,
        "preemptionPolicy": "Never",
        "globalDefault": False,
        "description": "Placeholders of the platform, which give way to servers.",
    }


def deployment(
    pool: Pool, flavor: DevServerFlavor, servers: int, image: str, pull_secrets: list[str]
) -> dict[str, Any]:
    """The placeholders of one flavor in one pool; `image` has `sleep`."""
    name = f"headroom-{pool.name}" if flavor.name == pool.name else f"headroom-{pool.name}-{flavor.name}"
    selector = {LABEL_APP: APP, LABEL_POOL: pool.name, LABEL_HEADROOM: flavor.name}
    requests = {key: canonical(amount) for key, amount in flavor.spec.resources.requests.items()}
    # Devices are given whole: their limit is their request. What is not limited otherwise: sleep takes nothing.
    limits = {key: amount for key, amount in requests.items() if "/" in key}
    selected = {**flavor.spec.node_selector, **({LABEL_POOL: pool.name} if pool.labelled else {})}
    tolerations = [toleration.to_dict() for toleration in flavor.spec.tolerations]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": SYSTEM_NAMESPACE, "labels": dict(selector)},
        "spec": {
            "replicas": servers,
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": dict(selector)},
            # Two at a time would want twice the room.
            "strategy": {"type": "Recreate"},
            "template": {
                "metadata": {"labels": dict(selector)},
                "spec": {
                    **closed_pod(pull_secrets),
                    "priorityClassName": APP,
                    **({"nodeSelector": selected} if selected else {}),
                    **({"tolerations": tolerations} if tolerations else {}),
                    "containers": [
                        {
                            **idle_container("placeholder", image),
                            "resources": {"requests": requests, **({"limits": limits} if limits else {})},
                        }
                    ],
                },
            },
        },
    }
