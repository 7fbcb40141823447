"""Invariant: the real engine runs with the person's own Pulumi: their backend, their credentials, their plugins.

Only for stacks on AWS; the local stack's engine has a state of its own (infra/deploy/local/engine.py).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from devcluster import toolchain
from devservers_core.paths import Paths
from infra import ROOT
from infra.deploy.aws.tools import Tools
from infra.errors import InfraError

PARALLEL = 32
"""Requests at a time: EC2 and IAM begin to refuse above."""


class PulumiError(InfraError):
    """A command of Pulumi failed; its own output says why."""


class Engine:
    """Pulumi for one stack on AWS."""

    def __init__(self, stack: str, tools: Tools, env: Mapping[str, str]) -> None:
        self.stack = stack
        self._pulumi = tools.path("pulumi")
        self._env = dict(env)

    def environment(self) -> dict[str, str]:
        """The person's environment with what Pulumi's Python host needs: uv on PATH, nothing fetched but the lock."""
        uv = toolchain.find_uv(self._env.get("PATH"), Paths.of(self._env))
        path = [str(Path(self._pulumi).parent), self._env.get("PATH") or os.defpath, *([str(uv.parent)] if uv else [])]
        added = {
            "PATH": os.pathsep.join(dict.fromkeys(path)),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "UV_FROZEN": "1",
            "UV_PYTHON_DOWNLOADS": "never",
        }
        return self._env | added

    def need_stack(self) -> None:
        """Raises :class:`PulumiError` when the backend doesn't know the stack."""
        known = json.loads(self._run(["stack", "ls", "--json"], capture=True))
        if not any(each["name"].split("/")[-1] == self.stack for each in known):
            raise PulumiError(
                f"the backend has no stack {self.stack}",
                f"pulumi stack init {self.stack} "
                "--secrets-provider='awskms://alias/devservers-pulumi?region=REGION' (docs/guides/aws.md, step 3)",
            )

    def preview(self, pack: Path) -> None:
        """`pulumi preview` with the policy pack, its output streamed."""
        self._run(["preview", "--stack", self.stack, "--non-interactive", "--policy-pack", str(pack)])

    def up(self, pack: Path, yes: bool) -> None:
        """`pulumi up` with the policy pack: it shows what it would do and asks, unless ``yes``."""
        sure = ["--yes", "--non-interactive"] if yes else []
        flags = ["--parallel", str(PARALLEL), "--policy-pack", str(pack)]
        self._run(["up", "--stack", self.stack, *flags, *sure], ask=not yes)

    def destroy(self) -> None:
        """`pulumi destroy`, without asking: whoever calls it has asked."""
        flags = ["--yes", "--non-interactive", "--skip-preview", "--parallel", str(PARALLEL)]
        self._run(["destroy", "--stack", self.stack, *flags])

    def export(self) -> dict[str, Any]:
        """The stack's state, secrets encrypted."""
        return dict(json.loads(self._run(["stack", "export", "--stack", self.stack], capture=True)))

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs; secret ones are left out."""
        return dict(json.loads(self._run(["stack", "output", "--stack", self.stack, "--json"], capture=True)))

    def _run(self, arguments: Sequence[str], *, capture: bool = False, ask: bool = False) -> str:
        done = subprocess.run(
            [self._pulumi, *arguments],
            cwd=ROOT,
            env=self.environment(),
            stdin=None if ask else subprocess.DEVNULL,
            stdout=subprocess.PIPE if capture else None,
            stderr=subprocess.PIPE if capture else None,
            text=True,
            check=False,
        )
        if done.returncode:
            detail = f": {' '.join((done.stderr or '').split())[:400]}" if capture else ", see above"
            raise PulumiError(
                f"pulumi {' '.join(arguments[:2] if capture else arguments[:1])} failed{detail}",
                "mend what it names and run the same command again (docs/guides/aws.md, troubleshooting)",
            )
        return done.stdout or ""
