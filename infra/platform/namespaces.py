"""The platform's own namespaces, with Pod Security and network policies.

Invariant: nothing privileged runs beside the operator, and nothing reaches it but probes and metrics.

The namespaces of users are not here: the operator makes them, and on destroy those with homes stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from devservers_core.names import LABEL_APP, LABEL_SCRAPE, OPERATOR, SYSTEM_NAMESPACE
from infra.platform.manifest import Component

METRICS_PORT = 9090
HEALTH_PORT = 8080


def manifests() -> list[dict[str, Any]]:
    """The operator's namespace, restricted and closed."""
    return [
        restricted(SYSTEM_NAMESPACE),
        network_policy(SYSTEM_NAMESPACE, "default-deny-ingress", {"podSelector": {}}),
        # The kubelet's probes come from the node, which no policy keeps out.
        network_policy(
            SYSTEM_NAMESPACE,
            "metrics",
            {
                "podSelector": {"matchLabels": {LABEL_APP: OPERATOR}},
                "ingress": [
                    {
                        "from": [{"namespaceSelector": {"matchLabels": {LABEL_SCRAPE: "true"}}}],
                        "ports": [{"protocol": "TCP", "port": METRICS_PORT}],
                    }
                ],
            },
        ),
    ]


def restricted(name: str) -> dict[str, Any]:
    """A namespace of the platform, under Pod Security `restricted`."""
    return pod_security_namespace(name, "restricted")


def pod_security_namespace(name: str, level: str) -> dict[str, Any]:
    """A namespace of the platform, under a level of Pod Security."""
    levels = {
        f"pod-security.kubernetes.io/{mode}{suffix}": value
        for mode in ("enforce", "audit", "warn")
        for suffix, value in (("", level), ("-version", "latest"))
    }
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "devservers", **levels}},
    }


def network_policy(namespace: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A policy, on what comes in unless it says otherwise."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"policyTypes": ["Ingress"], **spec},
    }


class Namespaces(Component):
    """Namespaces with their network policies."""

    def __init__(self, opts: pulumi.ResourceOptions, *others: Sequence[Mapping[str, Any]]) -> None:
        super().__init__("namespaces", opts)
        for namespace, *policies in (manifests(), *others):
            made = self.add(namespace)
            for policy in policies:
                self.add(policy, [made])
        self.register_outputs({"namespace": SYSTEM_NAMESPACE})
