"""Sets up the policy pack's own virtual environment: pulumi-policy pins other versions than Pulumi's SDK."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from devcluster import toolchain
from devcluster.progress import Progress
from devservers_core.paths import Paths
from infra import ROOT
from infra.errors import InfraError

PACK = ROOT / "infra" / "policy"
_STAMP = PACK / ".venv" / ".devservers-synced"


class PolicyPackError(InfraError):
    """The policy pack can't be set up."""


def ensure(env: Mapping[str, str], progress: Progress) -> Path:
    """The pack's folder, its environment made from its lock when that changed. Raises :class:`PolicyPackError`."""
    lock = PACK / "uv.lock"
    if _STAMP.exists() and _STAMP.stat().st_mtime >= lock.stat().st_mtime:
        return PACK
    uv = toolchain.find_uv(env.get("PATH"), Paths.of(env))
    if uv is None:
        raise PolicyPackError("uv is not on this machine", "run `make env`, which installs it")
    command = [str(uv), "sync", "--quiet", "--frozen", "--project", str(PACK), "--python", sys.executable]
    keep = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")}
    with progress.step("setting up the policy pack"):
        done = subprocess.run(command, env=keep, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PolicyPackError(
            f"the policy pack can't be set up: {done.stderr.strip()[-500:]}",
            "fix what the message names and run the same command again",
        )
    _STAMP.touch()
    return PACK
