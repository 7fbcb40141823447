"""The TargetGroupBinding that registers bastion pods with the load balancer.

Invariant: the bastion's pods take connections from the environment's one load balancer by this object, and by
nothing else: no Service ever makes another one.

Pure, and without the AWS SDK: the platform's bastion runs in this namespace, behind this Service.
"""

from __future__ import annotations

from typing import Any

import pulumi

from devservers_core.names import BASTION_NAMESPACE

SERVICE = "bastion"
SSH_PORT = 2222
"""Of the bastion's pods: their sshd is not root's."""
HEALTH_PORT = 8081
"""Where a pod's supervisor says whether it takes sessions; apart from SSH, whose log each probe would fill."""
HEALTH_PATH = "/readyz"
SERVICE_PORT = 22
READINESS_GATE = "elbv2.k8s.aws/pod-readiness-gate-inject"
"""Label of the namespace, "enabled": a pod is ready when the load balancer says so, so a rollout drops nobody."""


def target_group_binding(target_group_arn: pulumi.Input[str]) -> dict[str, Any]:
    """The TargetGroupBinding that registers the pods of the bastion's Service.

    It says no `networking`: the rules from load balancer to pods are Pulumi's (infra/aws/load_balancer.py), so the
    controller opens nothing by itself and leaves nothing behind.
    """
    return {
        "apiVersion": "elbv2.k8s.aws/v1beta1",
        "kind": "TargetGroupBinding",
        "metadata": {"name": SERVICE, "namespace": BASTION_NAMESPACE},
        "spec": {
            "serviceRef": {"name": SERVICE, "port": SERVICE_PORT},
            "targetGroupARN": target_group_arn,
            "targetType": "ip",
            "ipAddressType": "ipv4",
        },
    }
