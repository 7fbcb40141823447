"""The bastion: namespace, Deployment, Service and network policies.

Invariant: there is one way in by SSH, it runs at least as often as the stack says, and reaches nothing but the API
server, names, and people's servers.

It goes before the operator on destroy, while tokens and certificates are still given out, so that nobody is cut off
without a word; its host key goes with its namespace, because nothing is left that it could speak for.
"""

from __future__ import annotations

from typing import Any

import pulumi

from devservers_core.names import (
    BASTION_ACCOUNT,
    BASTION_NAMESPACE,
    BASTION_SETTINGS,
    LABEL_NAME,
    LABEL_SCRAPE,
    LABEL_USER,
    SSH_POD_PORT,
)
from infra.platform.bastion.pod import SELECTOR, pod
from infra.platform.bastion.target_group_binding import (
    HEALTH_PORT,
    READINESS_GATE,
    SERVICE,
    SERVICE_PORT,
    SSH_PORT,
    target_group_binding,
)
from infra.platform.manifest import SKIP_AWAIT, TIMEOUT_SECONDS, Component, annotated
from infra.platform.namespaces import network_policy, pod_security_namespace
from infra.settings.aws.subnets import plan_subnets
from infra.settings.stack import AWS, Settings

METADATA = "169.254.0.0/16"
"""Where a cloud tells a node its secrets (RFC 3927's link-local network)."""
API_PORTS = (443, 6443)


def namespace(settings: Settings) -> dict[str, Any]:
    """The bastion's namespace: Pod Security `baseline`, as sshd starts as root."""
    made = pod_security_namespace(BASTION_NAMESPACE, "baseline")
    if settings.cluster == AWS:
        made["metadata"]["labels"][READINESS_GATE] = "enabled"
    return made


def policies(settings: Settings) -> list[dict[str, Any]]:
    """Network policies: in SSH and health checks; out API server, DNS, servers' SSH."""
    anywhere = {"ipBlock": {"cidr": "0.0.0.0/0", "except": [METADATA]}}
    checks: list[dict[str, Any]] = [
        {
            "from": [{"namespaceSelector": {"matchLabels": {LABEL_SCRAPE: "true"}}}],
            "ports": [{"protocol": "TCP", "port": HEALTH_PORT}],
        }
    ]
    names: list[dict[str, Any]] = [anywhere]  # the embedded cluster's resolver is the node itself
    if settings.aws:
        network = settings.aws.network
        checks.append(
            {
                # Where the load balancer is; servers have addresses of the private subnets.
                "from": [{"ipBlock": {"cidr": each.public}} for each in plan_subnets(network.cidr, network.zones)],
                "ports": [{"protocol": "TCP", "port": HEALTH_PORT}],
            }
        )
        resolver = {"matchLabels": {"k8s-app": "kube-dns"}}
        names = [{"namespaceSelector": _named("kube-system"), "podSelector": resolver}]
    return [
        {**network_policy(BASTION_NAMESPACE, "default-deny", {"podSelector": {}}), "spec": _DENIED},
        network_policy(
            BASTION_NAMESPACE,
            "bastion",
            {
                "podSelector": {"matchLabels": dict(SELECTOR)},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"ports": [{"protocol": "TCP", "port": SSH_PORT}]}, *checks],
                "egress": [
                    {
                        "to": [
                            {
                                "namespaceSelector": {"matchExpressions": [{"key": LABEL_USER, "operator": "Exists"}]},
                                "podSelector": {"matchExpressions": [{"key": LABEL_NAME, "operator": "Exists"}]},
                            }
                        ],
                        "ports": [{"protocol": "TCP", "port": SSH_POD_PORT}],
                    },
                    # No selector can name the API server: it is no pod, and where it is differs.
                    {"to": [anywhere], "ports": [{"protocol": "TCP", "port": port} for port in API_PORTS]},
                    {"to": names, "ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]},
                ],
            },
        ),
    ]


_DENIED = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def _named(name: str) -> dict[str, Any]:
    return {"matchLabels": {"kubernetes.io/metadata.name": name}}


def service_account() -> dict[str, Any]:
    """Whose tokens keysync and the broker have."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(BASTION_ACCOUNT),
        "automountServiceAccountToken": False,
    }


def session_settings(settings: Settings, address: pulumi.Input[str]) -> dict[str, Any]:
    """What sessions have to know of the stack (bastion.paths, session_settings)."""
    data = {"kubectl": str(settings.bastion.kubectl).lower(), "address": address}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(BASTION_SETTINGS), "data": data}


def service(settings: Settings) -> dict[str, Any]:
    """The Service: a port of every node, or the target of a load balancer."""
    port = {"name": SERVICE, "port": SERVICE_PORT, "targetPort": SSH_PORT, "protocol": "TCP"}
    spec: dict[str, Any] = {"type": "ClusterIP", "selector": dict(SELECTOR), "ports": [port]}
    if settings.cluster != AWS:
        port["nodePort"] = settings.bastion.node_port
        # The client's own address is in the audit log.
        spec |= {"type": "NodePort", "externalTrafficPolicy": "Local"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(SERVICE), "spec": spec}


def disruption_budget() -> dict[str, Any]:
    """A drained node takes at most one replica with it at a time."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(SERVICE),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": dict(SELECTOR)}},
    }


def deployment(settings: Settings) -> dict[str, Any]:
    """The bastion's Deployment: a new pod takes people in before an old one stops to."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(SERVICE),
        "spec": {
            "replicas": settings.bastion.replicas,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": dict(SELECTOR)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {"metadata": {"labels": dict(SELECTOR)}, "spec": pod(settings)},
        },
    }


def _metadata(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": BASTION_NAMESPACE, "labels": dict(SELECTOR)}


class Bastion(Component):
    """The bastion in its namespace, which must exist.

    Needs the operator, which makes its host key.
    """

    def __init__(
        self,
        settings: Settings,
        address: pulumi.Input[str],
        target_group_arn: pulumi.Input[str] | None,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("bastion", opts)
        # The Service first: a pod of it is registered with the load balancer before it counts as ready.
        first = [self.add(each) for each in (service_account(), session_settings(settings, address))]
        # Nothing is behind it yet, and to wait for that would be to wait for what comes after it.
        found = self.add(annotated(service(settings), {SKIP_AWAIT: "true"}))
        if target_group_arn is not None:
            found = self.add(target_group_binding(target_group_arn), [found])
        self.add(disruption_budget())
        await_ = {TIMEOUT_SECONDS: str(settings.await_seconds)} if settings.await_ else {SKIP_AWAIT: "true"}
        self.add(annotated(deployment(settings), await_), [*first, found])
        self.register_outputs({"image": settings.images.bastion})
