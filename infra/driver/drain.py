"""Invariant: what infra/driver/draining.py plans is done in its order, and a step that fails ends it."""

from __future__ import annotations

from infra.driver.draining import KINDS, WAIT_SECONDS, Home, Seen, commands
from infra.kubectl import WHOLE, Kubectl
from infra.local.progress import Progress


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
    for command in commands(found, seconds):
        with progress.step(command.what):
            kubectl.run(*command.arguments)
    return found.homes()
