"""Invariant: an environment's parts come in one order, and go in the other.

Keys before what they encrypt, network before the cluster, nodes before what runs on them; load balancer and network
interfaces are gone before the network. The platform goes on top, by the cluster's own provider.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi

from infra.settings import Settings


@dataclass(frozen=True)
class Environment:
    """What the platform needs of an environment, and the stack's outputs."""

    provider: pulumi.ProviderResource
    """Of the EKS cluster, for Kubernetes objects."""
    ready: list[pulumi.Resource]
    """What must be there before anything of the platform runs: nodes, add-ons, controllers."""
    outputs: dict[str, Any]


def environment(stack: str, settings: Settings) -> Environment:
    """Make an environment; ``settings.aws`` must be set."""
    raise NotImplementedError
