"""The operator: Deployment, ServiceAccount and disruption budget.

Invariant: the operator runs twice, unprivileged, with exactly the rights of rbac.py; one is always up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi

from devservers_core.names import LABEL_APP, OPERATOR, RESERVED_ENV_PREFIX, SYSTEM_NAMESPACE
from infra.platform import rbac
from infra.platform.manifest import SKIP_AWAIT, TIMEOUT_SECONDS, Component, annotated
from infra.platform.namespaces import HEALTH_PORT, METRICS_PORT
from infra.settings.stack import Settings

USER_ID = 65532
"""Of the operator's process; its image runs as any."""
_SELECTOR = {LABEL_APP: OPERATOR}


def environment(settings: Settings, hosts: Sequence[pulumi.Input[str]] = ()) -> dict[str, pulumi.Input[str]]:
    """The environment variables that devservers.runtime.settings reads.

    ``hosts`` are the bastion's names, none without one.
    """
    values: dict[str, pulumi.Input[str]] = {
        "DEFAULT_IMAGE": settings.images.base,
        "AGENT_IMAGE": settings.images.agent,
        "NAMESPACE": SYSTEM_NAMESPACE,
        "STORAGE_CLASS": settings.home_class,
        "QUOTA_STORAGE": settings.quota.storage,
        "QUOTA_SERVERS": str(settings.quota.servers),
        "QUOTA_SNAPSHOTS": str(settings.quota.snapshots),
        "QUOTA_CLAIM": settings.quota.claim,
        "SHARED_CLASS": settings.shared_class,
        "QUOTA_SHARED": settings.quota.shared if settings.shared_class else "",
        "IMAGE_SOURCES": ",".join(settings.image_sources),
        "METRICS_PORT": str(METRICS_PORT),
        "HEALTH_PORT": str(HEALTH_PORT),
        "WORKERS": str(settings.operator.workers),
        "LOG_LEVEL": settings.operator.log_level.upper(),
        "CLOSED_NETWORKS": ",".join(settings.closed_networks),
        "OPENED_NETWORKS": ",".join(settings.egress.allow),
        "NAME_SERVERS": ",".join(settings.egress.dns),
        "IMAGE_PULL_SECRETS": ",".join(settings.image_pull_secrets),
        "TIME_ZONE": settings.time_zone,
        "QUEUEING": "true" if settings.queueing.enabled else "",
    }
    found = {f"{RESERVED_ENV_PREFIX}{name}": value for name, value in values.items() if value}
    if hosts:
        found["DEVSERVERS_BASTION_HOSTS"] = (
            ",".join(str(host) for host in hosts)
            if all(isinstance(host, str) for host in hosts)
            else pulumi.Output.all(*hosts).apply(",".join)
        )
    return found


def deployment(settings: Settings, hosts: Sequence[pulumi.Input[str]] = ()) -> dict[str, Any]:
    """The operator's Deployment, under Pod Security `restricted`."""

    def probe(path: str, **timing: int) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": "health"}, **timing}

    container = {
        "name": "operator",
        "image": settings.images.operator,
        "imagePullPolicy": settings.images.pull_policy,
        "env": [{"name": name, "value": value} for name, value in environment(settings, hosts).items()],
        "ports": [
            {"name": "health", "containerPort": HEALTH_PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
        ],
        "startupProbe": probe("/healthz", periodSeconds=1, failureThreshold=60),
        "livenessProbe": probe("/healthz", periodSeconds=10, timeoutSeconds=5, failureThreshold=6),
        "readinessProbe": probe("/readyz", periodSeconds=5, timeoutSeconds=5, failureThreshold=2),
        "resources": {
            "requests": {"cpu": settings.operator.cpu_request, "memory": settings.operator.memory_request},
            "limits": {"cpu": settings.operator.cpu_limit, "memory": settings.operator.memory_limit},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": OPERATOR, "namespace": SYSTEM_NAMESPACE, "labels": dict(_SELECTOR)},
        "spec": {
            "replicas": settings.operator.replicas,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": dict(_SELECTOR)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": dict(_SELECTOR)},
                "spec": {
                    "serviceAccountName": OPERATOR,
                    "automountServiceAccountToken": True,
                    "enableServiceLinks": False,
                    # On SIGTERM it works off what is queued, for at most 10 s, and gives its Lease back.
                    "terminationGracePeriodSeconds": 20,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": USER_ID,
                        "runAsGroup": USER_ID,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "affinity": {
                        "podAntiAffinity": {
                            "preferredDuringSchedulingIgnoredDuringExecution": [
                                {
                                    "weight": 100,
                                    "podAffinityTerm": {
                                        "labelSelector": {"matchLabels": dict(_SELECTOR)},
                                        "topologyKey": "kubernetes.io/hostname",
                                    },
                                }
                            ]
                        }
                    },
                    **({"nodeSelector": settings.node_selector} if settings.node_selector else {}),
                    "containers": [container],
                    "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
                },
            },
        },
    }


def service_account() -> dict[str, Any]:
    """The operator's identity; its token is mounted only where a pod asks for it."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": OPERATOR, "namespace": SYSTEM_NAMESPACE, "labels": dict(_SELECTOR)},
        "automountServiceAccountToken": False,
    }


def disruption_budget() -> dict[str, Any]:
    """A drained node takes at most one replica with it at a time."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": OPERATOR, "namespace": SYSTEM_NAMESPACE, "labels": dict(_SELECTOR)},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": dict(_SELECTOR)}},
    }


class Operator(Component):
    """The operator with its roles, and the roles of users.

    Needs the CRDs and the system namespace.
    """

    def __init__(self, settings: Settings, hosts: Sequence[pulumi.Input[str]], opts: pulumi.ResourceOptions) -> None:
        """``hosts`` are the bastion's names; none: there is no bastion."""
        super().__init__("operator", opts)
        roles = rbac.manifests(bastion=bool(hosts), pull_secrets=settings.image_pull_secrets)
        rights = [self.add(manifest) for manifest in [service_account(), *roles]]
        self.add(disruption_budget())
        # A missing image ends in an error with the pods' reasons after this, not in the provider's 10 min.
        await_ = {TIMEOUT_SECONDS: str(settings.await_seconds)} if settings.await_ else {SKIP_AWAIT: "true"}
        # On destroy the rights go after the pods, which use them to clean up.
        self.add(annotated(deployment(settings, hosts), await_), rights)
        self.register_outputs({"image": settings.images.operator})
