"""kubectl on one cluster, by its kubeconfig: arguments as lists, nothing through a shell."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.driver.draining import KINDS, Command, Home, Seen, commands
from infra.local.progress import Progress


class KubectlError(RuntimeError):
    """kubectl did not do what was asked. One line of what is wrong and one of what to do."""


@dataclass(frozen=True)
class Kubectl:
    """kubectl for a cluster. ``env`` is its environment: the kubeconfig of EKS calls the AWS CLI."""

    program: str
    kubeconfig: Path
    env: Mapping[str, str]

    def run(self, *arguments: str) -> str:
        """What it prints. Raises :class:`KubectlError`."""
        command = [self.program, f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=dict(self.env), check=False
        )
        if done.returncode:
            raise KubectlError(
                f"kubectl {' '.join(arguments[:3])} failed: {' '.join(done.stderr.split())[-400:]}\n"
                "  cure that and run the same command again; what is done stays done"
            )
        return done.stdout

    def every(self, resource: str) -> list[dict[str, Any]]:
        """All objects of a resource, in all namespaces."""
        text = self.run("get", resource, "--all-namespaces", "--output", "json")
        return list(json.loads(text)["items"])

    def seen(self) -> Seen:
        """What draining has to do with."""
        known = self.run("api-resources", "--output", "name").split()
        return Seen(
            self.every("namespaces"),
            self.every("persistentvolumeclaims"),
            self.every("persistentvolumes"),
            self.every("services"),
            tuple(kind for kind in KINDS if kind in known),
        )

    def drain(self, progress: Progress) -> list[Home]:
        """End what users run; gives the homes, which stay. Raises :class:`KubectlError`."""
        seen = self.seen()
        for command in commands(seen):
            self._do(command, progress)
        return seen.homes()

    def _do(self, command: Command, progress: Progress) -> None:
        with progress.step(command.what):
            self.run(*command.arguments)
