"""Parts of a pod that does nothing, under Pod Security `restricted`."""

from __future__ import annotations

from typing import Any

USER_ID = 65532
"""Of its processes; the image may have no such user."""


def closed_pod(pull_secrets: list[str]) -> dict[str, Any]:
    """What a pod that does nothing has, under Pod Security `restricted`."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **({"imagePullSecrets": [{"name": secret} for secret in pull_secrets]} if pull_secrets else {}),
    }


def idle_container(name: str, image: str) -> dict[str, Any]:
    """A container that sleeps; `image` has the program."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "infinity"],
        "securityContext": container_security(),
    }


def container_security() -> dict[str, Any]:
    """The security context of each container here."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
