"""What the operator's own settings put into children."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """Images, storage class, pull secrets and queueing of the platform."""

    default_image: str
    """Image of servers that name none."""

    agent_image: str
    """Image of the init container, which brings the agent and OpenSSH."""

    storage_class: str | None = None
    """StorageClass of new homes; None leaves it to the cluster's default."""

    pull_secrets: tuple[str, ...] = ()
    """Secrets of the operator's namespace with the platform's logins to image registries."""

    queueing: bool = False
    """Whether servers wait in a queue for quota; like an image, it enters a pod at its next start only."""
