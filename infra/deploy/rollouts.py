"""Waits until the Deployments that a Pulumi update has awaited are rolled out.

pulumi-kubernetes awaits on a watch and takes the watch's first state as the object's own. The API server's cache may
give that from before the update, so a Deployment can be called done before its rollout began. Here the current object
is read, as `kubectl rollout status` does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from infra.deploy.kubectl import Kubectl
from infra.errors import InfraError
from infra.platform.manifest import SKIP_AWAIT, TIMEOUT_SECONDS

POLL_SECONDS = 1.0


class RolloutError(InfraError):
    """Deployments are not rolled out in time; a line for each."""


def unfinished(deployment: Mapping[str, Any]) -> str:
    """Why a Deployment's rollout is not complete; empty when it is (kubectl's rollout_status.go has the same order)."""
    spec, status = deployment.get("spec", {}), deployment.get("status", {})
    desired, updated = int(spec.get("replicas", 1)), int(status.get("updatedReplicas", 0))
    if int(status.get("observedGeneration", 0)) < int(deployment["metadata"].get("generation", 0)):
        return "Kubernetes has not looked at its latest change"
    if updated < desired:
        return f"{updated} of {desired} pods are of its latest change"
    if (old := int(status.get("replicas", 0)) - updated) > 0:
        return f"{old} pods are of an earlier change"
    if (available := int(status.get("availableReplicas", 0))) < updated:
        return f"{available} of {updated} pods are available"
    return ""


def awaited_seconds(deployment: Mapping[str, Any]) -> float | None:
    """How long the update was to await a Deployment; None for one that it was not to."""
    annotations = deployment["metadata"].get("annotations") or {}
    if annotations.get(SKIP_AWAIT) == "true" or TIMEOUT_SECONDS not in annotations:
        return None
    return float(annotations[TIMEOUT_SECONDS])


def wait(kubectl: Kubectl, namespaces: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
    """Wait for every awaited Deployment in these namespaces. Raises :class:`RolloutError` and KubectlError."""
    started = clock()
    while True:
        late, soon = [], False
        for namespace in namespaces:
            for deployment in kubectl.get("deployments", "--namespace", namespace):
                seconds, why = awaited_seconds(deployment), unfinished(deployment)
                if seconds is None or not why:
                    continue
                soon = True
                if clock() - started >= seconds:
                    name = f"{namespace}/{deployment['metadata']['name']}"
                    late.append(f"deployment {name} is not rolled out after {seconds:g} s: {why}")
        if late:
            raise RolloutError("\n".join(late), "kubectl describe its pods, and run the same command again")
        if not soon:
            return
        time.sleep(POLL_SECONDS)
