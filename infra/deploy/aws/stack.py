"""Makes the stack runner of a stack on AWS.

Pulumi there is the person's own: their backend, their credentials, their plugins.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from devcluster import toolchain
from devservers_core.paths import Paths
from infra.deploy.aws.tools import Tools
from infra.deploy.stack_runner import Backend, PulumiError, StackRunner

PARALLEL = 32
"""Requests at a time: EC2 and IAM begin to refuse above."""


def runner(stack: str, tools: Tools, env: Mapping[str, str]) -> StackRunner:
    """What runs Pulumi for a stack on AWS, in a person's environment. Raises PrerequisiteError."""
    program = Path(tools.path("pulumi"))
    remedy = "fix what the message names and run the same command again (docs/guides/aws.md, troubleshooting)"
    return StackRunner(stack, Backend(program, env, _added(program, env), PARALLEL, remedy))


def need_stack(stack: StackRunner) -> None:
    """Raises :class:`PulumiError` when the backend doesn't know the stack."""
    if not stack.exists():
        raise PulumiError(
            f"the backend has no stack {stack.name}",
            f"pulumi stack init {stack.name} "
            "--secrets-provider='awskms://alias/devservers-pulumi?region=REGION' (docs/guides/aws.md, step 3)",
        )


def _added(program: Path, env: Mapping[str, str]) -> dict[str, str]:
    """What Pulumi's Python host needs beside the person's environment: uv on PATH, nothing fetched but the lock."""
    uv = toolchain.find_uv(env.get("PATH"), Paths.of(env))
    path = [str(program.parent), env.get("PATH") or os.defpath, *([str(uv.parent)] if uv else [])]
    return {
        "PATH": os.pathsep.join(dict.fromkeys(path)),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "UV_FROZEN": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    }
