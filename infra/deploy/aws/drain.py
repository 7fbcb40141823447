"""Invariant: what infra/deploy/aws/draining.py plans is done in its order, and a step that fails ends it."""

from __future__ import annotations

from collections.abc import Iterable

from devcluster.progress import Progress
from infra.deploy.aws.draining import KINDS, WAIT_SECONDS, WORKLOADS, Command, Home, Seen, commands, sweep
from infra.deploy.kubectl import WHOLE, Kubectl
from infra.deploy.sessions import end_sessions


def seen(kubectl: Kubectl) -> Seen:
    """What draining has to do with. Raises KubectlError."""
    known = kubectl.run("api-resources", "--output", "name").split()
    return Seen(
        kubectl.get("namespaces"),
        kubectl.get("persistentvolumeclaims", WHOLE),
        kubectl.get("persistentvolumes"),
        kubectl.get("services", WHOLE),
        tuple(kind for kind in KINDS if kind in known),
    )


def drain(kubectl: Kubectl, progress: Progress, seconds: int = WAIT_SECONDS) -> list[Home]:
    """End what users run, each step within ``seconds``; gives the homes, which stay. Raises KubectlError."""
    found = seen(kubectl)
    _do(kubectl, commands(found, seconds), progress)
    with progress.step("end the sessions on the bastion"):
        end_sessions(kubectl)
    # Only now: what the operator takes away with its servers is not there any more.
    running = {kind: kubectl.get(kind, WHOLE) for kind in WORKLOADS}
    _do(kubectl, sweep(found, running, seconds), progress)
    return found.homes()


def _do(kubectl: Kubectl, steps: Iterable[Command], progress: Progress) -> None:
    for step in steps:
        with progress.step(step.what):
            kubectl.run(*step.arguments)
