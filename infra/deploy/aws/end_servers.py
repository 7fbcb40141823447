"""Keeps users' disks and ends what they run, before a stack is destroyed; the plan is in end_servers_plan.py.

Invariant: the steps run in the plan's order, and a step that fails ends it.
"""

from __future__ import annotations

from collections.abc import Iterable

from devcluster.progress import Progress
from infra.deploy.aws.end_servers_plan import (
    KINDS,
    WAIT_SECONDS,
    WORKLOADS,
    ClusterObjects,
    Command,
    UserClaim,
    first_steps,
    sweep,
)
from infra.deploy.bastion_sessions import end_sessions
from infra.deploy.kubectl import ALL_NAMESPACES, Kubectl


def read_objects(kubectl: Kubectl) -> ClusterObjects:
    """The objects that the plan is made from. Raises KubectlError."""
    kinds = kubectl.run("api-resources", "--output", "name").split()
    return ClusterObjects(
        kubectl.get("namespaces"),
        kubectl.get("persistentvolumeclaims", ALL_NAMESPACES),
        kubectl.get("persistentvolumes"),
        kubectl.get("services", ALL_NAMESPACES),
        tuple(kind for kind in KINDS if kind in kinds),
    )


def end_servers(kubectl: Kubectl, progress: Progress, seconds: int = WAIT_SECONDS) -> list[UserClaim]:
    """Keep users' disks and end what they run, each step within ``seconds``; gives their claims, which stay.

    Raises KubectlError.
    """
    objects = read_objects(kubectl)
    _do(kubectl, first_steps(objects, seconds), progress)
    with progress.step("end the sessions on the bastion"):
        end_sessions(kubectl)
    # Only now: what the operator takes away with its servers is not there any more.
    running = {kind: kubectl.get(kind, ALL_NAMESPACES) for kind in WORKLOADS}
    _do(kubectl, sweep(objects, running, seconds), progress)
    return objects.user_claims()


def _do(kubectl: Kubectl, steps: Iterable[Command], progress: Progress) -> None:
    for step in steps:
        with progress.step(step.what):
            kubectl.run(*step.arguments)
