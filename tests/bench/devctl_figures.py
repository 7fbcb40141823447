"""Figures of devctl itself, with the bare interpreter beside them.

The bound is of the value, in seconds: the bare interpreter is there to tell a slow machine from a slow devctl, not
to be a limit.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from tests.bench.figure import Figure
from tests.support.node.person import BIN

RUNS = 15
HELP_BOUND = 0.3  # seconds
LIST_BOUND = 0.7  # seconds


def devctl_help(environ: Mapping[str, str]) -> Figure:
    """`devctl --help`, median of RUNS, in seconds."""
    return _figure("devctl_help", [str(BIN / "devctl"), "--help"], environ, HELP_BOUND)


def devctl_list(environ: Mapping[str, str]) -> Figure:
    """`devctl list` as the person of `environ`, median of RUNS, in seconds."""
    return _figure("devctl_list", [str(BIN / "devctl"), "list"], environ, LIST_BOUND)


def _figure(name: str, command: Sequence[str], environ: Mapping[str, str], bound: float) -> Figure:
    bare = [sys.executable, "-c", "pass"]
    _seconds(command, environ)  # the first run may compile modules
    measured, baseline = [], []
    for _ in range(RUNS):  # in turns, so that both meet the same load
        measured.append(_seconds(command, environ))
        baseline.append(_seconds(bare, environ))
    median = statistics.median
    return Figure(name, median(measured), "s", median(baseline), bound, RUNS, bounds_value=True)


def _seconds(command: Sequence[str], environ: Mapping[str, str]) -> float:
    begun = time.perf_counter()
    done = subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    took = time.perf_counter() - begun
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.decode()}")
    return took
