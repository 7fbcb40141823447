"""Ends all servers before the platform goes, unless somebody else's work is in a queue.

Invariant: nothing is left that only the operator or Kueue could clean up, before they go themselves. Kueue's finalizers
are on every pod in a queue and on its Workload. Without Kueue they and their CRDs could never be deleted. So we look
for such objects first, and a refusal costs nobody their server.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

from devservers.api.devserver import DevServer
from devservers_core.names import KUEUE, LABEL_USER
from infra.deploy.bastion_sessions import end_sessions
from infra.deploy.kubectl import ALL_NAMESPACES, Kubectl
from infra.deploy.leftover import Leftover

_WORKLOADS = f"workloads.{KUEUE}"
_HELD = f"{KUEUE}/managed=true"
"""Selects pods that carry Kueue's finalizer."""
_PAUSE_SECONDS = 0.5


def foreign_workloads(kubectl: Kubectl) -> list[str]:
    """Objects in a queue that belong to no server, as KIND NAMESPACE/NAME: ending servers doesn't remove them.

    Raises KubectlError.
    """
    kinds = _kinds(kubectl)
    servers = kubectl.get(DevServer.names.crd, ALL_NAMESPACES) if DevServer.names.crd in kinds else []
    theirs = {each["metadata"]["uid"] for each in servers}
    for kind in ("deployments.apps", "replicasets.apps", "statefulsets.apps"):
        theirs |= {each["metadata"]["uid"] for each in kubectl.get(kind, ALL_NAMESPACES) if _owned(each, theirs)}
    pods = kubectl.get("pods", ALL_NAMESPACES, "--selector", _HELD)
    foreign = [each for each in pods if not _owned(each, theirs)]
    theirs |= {each["metadata"]["uid"] for each in pods}
    if _WORKLOADS in kinds:
        foreign += [each for each in kubectl.get(_WORKLOADS, ALL_NAMESPACES) if not _owned(each, theirs)]
    # What is being deleted already needs nothing more.
    return [_named(each) for each in foreign if "deletionTimestamp" not in each["metadata"]]


def end_servers(kubectl: Kubectl, wait_seconds: float) -> list[str]:
    """Delete all servers and keep their homes; gives what is in a queue even then, as KIND NAMESPACE/NAME.

    Raises KubectlError.
    """
    end_sessions(kubectl)
    kinds = _kinds(kubectl)
    if DevServer.names.crd in kinds:
        kubectl.run("delete", DevServer.names.crd, "--all", ALL_NAMESPACES, "--wait=false")
    deadline = time.monotonic() + wait_seconds
    while True:
        queued = kubectl.get("pods", ALL_NAMESPACES, "--selector", _HELD)
        if _WORKLOADS in kinds:
            queued += kubectl.get(_WORKLOADS, ALL_NAMESPACES)
        if not queued or time.monotonic() > deadline:
            return [_named(each) for each in queued]
        time.sleep(_PAUSE_SECONDS)


def _kinds(kubectl: Kubectl) -> set[str]:
    return {each["metadata"]["name"] for each in kubectl.get("customresourcedefinitions")}


def _owned(thing: Mapping[str, Any], owners: Collection[str]) -> bool:
    return any(each["uid"] in owners for each in thing["metadata"].get("ownerReferences", []))


def _named(thing: Mapping[str, Any]) -> str:
    return f"{thing['kind']} {thing['metadata']['namespace']}/{thing['metadata']['name']}"


def leftovers(kubectl: Kubectl, wait_seconds: float) -> list[Leftover]:
    """The user namespaces that remain once those being deleted are gone. Raises KubectlError."""
    deadline = time.monotonic() + wait_seconds
    while True:
        namespaces = kubectl.get("namespaces", "--selector", LABEL_USER)
        going = [each for each in namespaces if each["metadata"].get("deletionTimestamp")]
        if not going or time.monotonic() > deadline:
            break
        time.sleep(_PAUSE_SECONDS)
    left = []
    for name in sorted(namespace["metadata"]["name"] for namespace in namespaces):
        claims = kubectl.get("persistentvolumeclaims", "--namespace", name)
        homes = ", ".join(sorted(claim["metadata"]["name"] for claim in claims))
        why = f"it holds {homes}" if homes else "the operator went before it cleaned it up"
        left.append(Leftover(f"namespace {name}", why, ("kubectl", "delete", "namespace", name)))
    return left
