"""Makes kubectl for the local stack's cluster, with the toolchain's program."""

from __future__ import annotations

from collections.abc import Mapping

from devcluster import toolchain
from devservers_core.paths import Paths
from infra.deploy.kubectl import Kubectl
from infra.local.context import Choice


def kubectl(choice: Choice, paths: Paths, env: Mapping[str, str]) -> Kubectl:
    """Make kubectl for a cluster. Raises ToolchainError when there is none on this machine."""
    return Kubectl(str(toolchain.need("kubectl", paths)), choice.kubeconfig, env, choice.context or "")
