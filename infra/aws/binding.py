"""Invariant: the bastion's pods take connections from the environment's one load balancer by this object, and by
nothing else: no Service ever makes another one.

Pure, and without the AWS SDK: the platform's bastion runs in this namespace, behind this Service.
"""

from __future__ import annotations

from typing import Any

import pulumi

from infra.platform.namespaces import leveled, network_policy

NAMESPACE = "devservers-bastion"
SERVICE = "bastion"
SSH_PORT = 2222
"""Of the bastion's pods: their sshd is not root's."""
HEALTH_PORT = 8081
"""Where a pod's supervisor says whether it takes sessions; apart from SSH, whose log each probe would fill."""
HEALTH_PATH = "/healthz"
SERVICE_PORT = 22
READINESS_GATE = "elbv2.k8s.aws/pod-readiness-gate-inject"
"""Label of the namespace, "enabled": a pod is ready when the load balancer says so, so a rollout drops nobody."""


def manifests(target_group_arn: pulumi.Input[str]) -> list[dict[str, Any]]:
    """Everything below, in an order that can be applied; closed but for what the bastion's own policies let in."""
    closed = network_policy(NAMESPACE, "default-deny-ingress", {"podSelector": {}})
    return [namespace(), closed, service(), target_group_binding(target_group_arn)]


def namespace() -> dict[str, Any]:
    """Where the bastion's pods run: `baseline`, because sshd begins as root to become somebody."""
    made = leveled(NAMESPACE, "baseline")
    made["metadata"]["labels"][READINESS_GATE] = "enabled"
    return made


def service() -> dict[str, Any]:
    """What the load balancer's targets are found by: pods called `bastion`, wherever they run."""
    port = {"name": "ssh", "port": SERVICE_PORT, "targetPort": SSH_PORT, "protocol": "TCP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE, "namespace": NAMESPACE},
        "spec": {"type": "ClusterIP", "selector": {"app.kubernetes.io/name": SERVICE}, "ports": [port]},
    }


def target_group_binding(target_group_arn: pulumi.Input[str]) -> dict[str, Any]:
    """The TargetGroupBinding (AWS Load Balancer Controller) that registers the pods behind the bastion's Service.

    It says no `networking`: the rules from load balancer to pods are Pulumi's (infra/aws/edge.py), so the controller
    opens nothing by itself and leaves nothing behind.
    """
    return {
        "apiVersion": "elbv2.k8s.aws/v1beta1",
        "kind": "TargetGroupBinding",
        "metadata": {"name": SERVICE, "namespace": NAMESPACE},
        "spec": {
            "serviceRef": {"name": SERVICE, "port": SERVICE_PORT},
            "targetGroupARN": target_group_arn,
            "targetType": "ip",
            "ipAddressType": "ipv4",
        },
    }
