"""The DaemonSet that pulls images onto the nodes of a pool ahead of servers.

Each image is that of an init container, so the kubelet pulls one after the other; then the pod sleeps. While the pod is
there the kubelet counts the images as used and doesn't remove them when the disk fills.

Invariant: nothing of a listed image runs. Its container runs a static program of the platform that ends at once, so an
image without a shell will do and one that was tampered with gains nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from devservers_core.names import LABEL_APP, LABEL_POOL, LABEL_PRE_PULL, SYSTEM_NAMESPACE
from infra.platform.fast_starts.idle_pod import closed_pod, container_security, idle_container
from infra.platform.pools import Pool
from infra.settings.stack import Images

APP = "devservers-pre-pull"
_PROGRAMS = "/opt/devservers"
_INSTALL = [f"{_PROGRAMS}/bin/devserver-agent", "install", "/target", "/run/devservers"]
"""What a server's first init container runs too: brings the platform's programs into a volume."""
_ENDS_AT_ONCE = [f"{_PROGRAMS}/bin/devserver-inspect", "command"]
"""Prints what became of a server's command, and nothing where there is none."""
REQUESTS = {"cpu": "1m", "memory": "8Mi"}
"""A server's room is not to be taken by what helps it."""
_MEMORY_LIMIT = "64Mi"


def images_of(pool: Pool, images: Images, listed: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """The images to pull in a pool: those listed for it or for all, after the platform's own two."""
    mine = [image for image, pools in listed if not pools or pool.name in pools]
    return list(dict.fromkeys([images.agent, images.base, *mine])) if mine else []


def daemon_set(pool: Pool, images: Sequence[str], own: Images, pull_secrets: list[str]) -> dict[str, Any]:
    """The DaemonSet of one pool, on its nodes only."""
    selector = {LABEL_APP: APP, LABEL_POOL: pool.name, LABEL_PRE_PULL: "true"}
    tolerations = [
        {"key": taint["key"], "operator": "Equal", "value": taint["value"], "effect": taint["effect"]}
        for taint in pool.taints()
    ]
    others = [image for image in images if image not in (own.agent, own.base)]
    resources = {"requests": REQUESTS, "limits": {"memory": _MEMORY_LIMIT}}
    install = {
        "name": "install",
        "image": own.agent,
        "imagePullPolicy": "IfNotPresent",
        "command": _INSTALL,
        "resources": resources,
        "securityContext": container_security(),
        "volumeMounts": [{"name": "programs", "mountPath": "/target"}, {"name": "run", "mountPath": "/run/devservers"}],
    }
    pulls = [
        {
            "name": f"pull-{number}",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": _ENDS_AT_ONCE,
            "resources": resources,
            "securityContext": container_security(),
            "volumeMounts": [{"name": "programs", "mountPath": _PROGRAMS, "readOnly": True}],
        }
        for number, image in enumerate(others, 1)
    ]
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": f"pre-pull-{pool.name}", "namespace": SYSTEM_NAMESPACE, "labels": dict(selector)},
        "spec": {
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": dict(selector)},
            # Nobody misses a pod of it: all nodes pull a new list at the same time.
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
            "template": {
                "metadata": {"labels": dict(selector)},
                "spec": {
                    **closed_pod(pull_secrets),
                    **({"nodeSelector": {LABEL_POOL: pool.name}} if pool.labelled else {}),
                    **({"tolerations": tolerations} if tolerations else {}),
                    "initContainers": [install, *pulls],
                    "containers": [{**idle_container("pulled", own.base), "resources": resources}],
                    "volumes": [
                        {"name": "programs", "emptyDir": {"sizeLimit": "64Mi"}},
                        {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
                    ],
                },
            },
        },
    }
