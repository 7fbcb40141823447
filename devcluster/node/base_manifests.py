"""Objects that a distribution's installer adds to a bare cluster.

Invariant: no account gets more rights than it uses.
"""

from __future__ import annotations

import yaml


def base_objects() -> str:
    """YAML of the read rights of CoreDNS and kube-router, and of the storage class."""

    def read(name: str, rules: list[dict[str, list[str]]]) -> list[dict[str, object]]:
        return [
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}}
            | {"rules": [{**rule, "verbs": ["get", "list", "watch"]} for rule in rules]},
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
                "subjects": [{"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}],
            },
        ]

    slices = {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"]}
    core = {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"]}
    nodes = {"apiGroups": [""], "resources": ["nodes"]}
    policies = {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"]}
    storage: dict[str, object] = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": "standard",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "kubernetes.io/host-path",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }
    objects = [
        *read("devservers:coredns", [core, slices, nodes]),
        *read("devservers:kube-router", [core, slices, nodes, policies]),
        storage,
    ]
    return yaml.safe_dump_all(objects)
