"""Runs kubectl for one cluster.

Invariant: kubectl only talks to its own cluster; arguments are lists, nothing goes through a shell.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.errors import InfraError

ALL_NAMESPACES = "--all-namespaces"


class KubectlError(InfraError):
    """A command of kubectl failed."""


@dataclass(frozen=True)
class Kubectl:
    """kubectl for one cluster. ``env`` is its environment: the kubeconfig of EKS calls the AWS CLI."""

    program: str
    kubeconfig: Path
    env: Mapping[str, str]
    context: str = ""
    """Of the kubeconfig; empty for its current one."""

    def run(self, *arguments: str) -> str:
        """What it prints. Raises :class:`KubectlError`."""
        where = [f"--kubeconfig={self.kubeconfig}", *([f"--context={self.context}"] if self.context else [])]
        done = subprocess.run(
            [self.program, *where, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=dict(self.env),
            check=False,
        )
        if done.returncode:
            reason = " ".join(done.stderr.split())[-600:]
            raise KubectlError(
                f"kubectl {' '.join(arguments[:3])} failed: {reason}",
                "is the cluster up? Cure that and run the same command again; what is done stays done",
            )
        return done.stdout

    def get(self, *arguments: str) -> list[dict[str, Any]]:
        """The objects that `kubectl get ARGUMENTS` finds."""
        return list(json.loads(self.run("get", *arguments, "--output", "json"))["items"])
