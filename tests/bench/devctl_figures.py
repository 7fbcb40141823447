"""How long a person waits for devctl itself, the interpreter's own start beside it.

The bound is of the value, in seconds; the ratio stays empty, because the bare interpreter is there to tell a
slow machine from a slow devctl, not to be a limit.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RUNS = 15
HELP_BOUND = 0.3  # seconds
LIST_BOUND = 0.7  # seconds

DEVCTL = [sys.executable, "-m", "devctl.app"]


def devctl_help(runs: int = RUNS) -> dict[str, Any]:
    """`devctl --help`, median of `runs`, in seconds."""
    return _figure("devctl_help", [*_program(), "--help"], os.environ, HELP_BOUND, runs)


def devctl_list(kubeconfig: Path, user: str, runs: int = RUNS) -> dict[str, Any]:
    """`devctl list` against the cluster of `kubeconfig`, median of `runs`, in seconds."""
    environ = {**os.environ, "DEVCTL_KUBECONFIG": str(kubeconfig), "DEVCTL_USER": user}
    return _figure("devctl_list", [*_program(), "list"], environ, LIST_BOUND, runs)


def _program() -> list[str]:
    """The installed console script, as a person runs it; the module where it is not installed."""
    script = Path(sys.executable).with_name("devctl")
    return [str(script)] if script.exists() else DEVCTL


def _figure(name: str, command: Sequence[str], environ: Mapping[str, str], bound: float, runs: int) -> dict[str, Any]:
    bare = [sys.executable, "-c", "pass"]
    _seconds(command, environ)  # the first run may compile modules
    measured, baseline = [], []
    for _ in range(runs):  # in turns, so that both meet the same load
        measured.append(_seconds(command, environ))
        baseline.append(_seconds(bare, environ))
    return {
        "name": name,
        "value": statistics.median(measured),
        "unit": "s",
        "baseline": statistics.median(baseline),
        "ratio": None,
        "bound": bound,
        "runs": runs,
    }


def _seconds(command: Sequence[str], environ: Mapping[str, str]) -> float:
    begun = time.perf_counter()
    done = subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    took = time.perf_counter() - begun
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.decode()}")
    return took
