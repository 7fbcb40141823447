"""Kueue's namespace, network policies and Helm values.

Invariant: Kueue touches pods of user namespaces that ask for a queue, and nothing else in the cluster.

Pure: the namespace, and the values its own chart is installed with. What is left at its default is left on purpose:
no `waitForPodsReady`, because a server that pulls a large image or waits for a node to be made would lose its place
and begin anew; no `deployment` integration, because the operator labels pods' templates itself.
"""

from __future__ import annotations

import json
from typing import Any

from devservers_core.names import KUEUE_NAMESPACE, LABEL_APP, LABEL_SCRAPE, LABEL_USER
from infra.platform.namespaces import network_policy, restricted
from infra.settings.stack import Settings

VERSION = "0.18.2"
CHART = "oci://registry.k8s.io/kueue/charts/kueue"
"""Where the chart is when no folder is given."""
RELEASE = "kueue"
"""The release's name, and with it the first word of everything the chart makes."""

WEBHOOK_PORT = 9443
VISIBILITY_PORT = 8082
METRICS_PORT = 8443

USERS_ONLY = {"matchExpressions": [{"key": LABEL_USER, "operator": "Exists"}]}
"""Selects the namespaces the operator makes for people."""


def namespace() -> dict[str, Any]:
    """Kueue's namespace, under Pod Security `restricted`."""
    return restricted(KUEUE_NAMESPACE)


def policies() -> list[dict[str, Any]]:
    """Network policies: the API server and metrics scrapers reach the controller."""
    serving = [{"protocol": "TCP", "port": port} for port in (WEBHOOK_PORT, VISIBILITY_PORT)]
    scraped = {
        "from": [{"namespaceSelector": {"matchLabels": {LABEL_SCRAPE: "true"}}}],
        "ports": [{"protocol": "TCP", "port": METRICS_PORT}],
    }
    return [
        network_policy(KUEUE_NAMESPACE, "default-deny-ingress", {"podSelector": {}}),
        network_policy(KUEUE_NAMESPACE, "api-server", {"podSelector": {}, "ingress": [{"ports": serving}, scraped]}),
    ]


def configuration(replicas: int) -> dict[str, Any]:
    """The controller's configuration file (config.kueue.x-k8s.io/v1beta2)."""
    return {
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "health": {"healthProbeBindAddress": ":8081"},
        "metrics": {"bindAddress": f":{METRICS_PORT}", "enableClusterQueueResources": True},
        "webhook": {"port": WEBHOOK_PORT},
        # One alone needn't wait for a dead one's lease.
        "leaderElection": {"leaderElect": replicas > 1, "resourceName": "c1f6bfd2.kueue.x-k8s.io"},
        "controller": {
            "groupKindConcurrency": {
                "Job.batch": 5,
                "Pod": 5,
                "Workload.kueue.x-k8s.io": 5,
                "LocalQueue.kueue.x-k8s.io": 1,
                "ClusterQueue.kueue.x-k8s.io": 1,
                "ResourceFlavor.kueue.x-k8s.io": 1,
            }
        },
        "clientConnection": {"qps": 50, "burst": 100},
        "manageJobsWithoutQueueName": False,
        "managedJobsNamespaceSelector": USERS_ONLY,
        "integrations": {"frameworks": ["batch/job", "jobset.x-k8s.io/jobset", "pod", "statefulset"]},
        # What comes with a node and is not divided by quota: a pod that asks for it is judged by the rest.
        "resources": {"excludeResourcePrefixes": ["ephemeral-storage", "hugepages-", "vpc.amazonaws.com/"]},
        "featureGates": {"MultiKueue": False},
    }


def values(settings: Settings) -> dict[str, Any]:
    """The chart's values."""
    queueing, replicas = settings.queueing, settings.queueing_replicas
    repository, _, tag = settings.images.kueue.rpartition(":")
    manager: dict[str, Any] = {
        "replicas": replicas,
        "manager": {
            "image": {"repository": repository, "tag": tag, "pullPolicy": settings.images.pull_policy},
            "resources": {
                "requests": {"cpu": queueing.cpu_request, "memory": queueing.memory_request},
                "limits": {"cpu": queueing.cpu_limit, "memory": queueing.memory_limit},
            },
        },
        # A ready controller is one whose webhook serves; servers wait for that.
        "readinessProbe": {"initialDelaySeconds": 1, "periodSeconds": 2},
    }
    if settings.node_selector:
        manager["nodeSelector"] = settings.node_selector
    if replicas > 1:
        manager["podDisruptionBudget"] = {"enabled": True, "minAvailable": 1}
        manager["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {LABEL_APP: RELEASE}},
            }
        ]
    text = json.dumps(configuration(replicas), indent=1)  # JSON is YAML
    return {"controllerManager": manager, "managerConfig": {"controllerManagerConfigYaml": text}}
