"""Invariant: kubectl only ever talks to the cluster that was chosen, whatever the person's own kubeconfig says."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

from infra.local import toolchain
from infra.local.context import Choice
from infra.local.paths import Paths


class KubectlError(RuntimeError):
    """kubectl could not do what was asked. One line of what it said, and one of what to do."""


class Kubectl:
    """kubectl for one cluster."""

    def __init__(self, choice: Choice, paths: Paths, env: Mapping[str, str] | None = None) -> None:
        self._choice = choice
        self._paths = paths
        self._env = dict(os.environ if env is None else env)

    def run(self, *arguments: str) -> str:
        """What it prints. Raises :class:`KubectlError`, or ToolchainError when there is no kubectl."""
        program = toolchain.need("kubectl", self._paths)
        context = ["--context", self._choice.context] if self._choice.context else []
        done = subprocess.run(
            [str(program), "--kubeconfig", str(self._choice.kubeconfig), *context, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=self._env,
        )
        if done.returncode:
            said = " ".join(done.stderr.split())[-600:]
            raise KubectlError(f"kubectl {' '.join(arguments[:2])} failed: {said}\n  is the cluster up?")
        return done.stdout

    def get(self, *arguments: str) -> list[dict[str, Any]]:
        """The objects that `kubectl get ARGUMENTS` finds."""
        return list(json.loads(self.run("get", *arguments, "--output", "json"))["items"])
