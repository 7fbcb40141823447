"""Figures of the whole production graph, as `make preview` makes it.

Simulated, so AWS's answers are no part of it. The first run compiles the SDK's modules, which stay compiled.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from devcluster import ROOT
from tests.bench.figure import Figure

RUNS = 5
BOUND = 10.0  # seconds
COMMAND = (sys.executable, "-m", "infra.deploy", "preview", "--stack", "prod", "--simulated", "-o", "json")


def prod_graph() -> Figure:
    """`make preview STACK=prod SIMULATED=1`, median of RUNS, in seconds."""
    _seconds()
    return Figure("prod_graph_seconds", statistics.median(_seconds() for _ in range(RUNS)), "s", bound=BOUND, runs=RUNS)


def _seconds() -> float:
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    begun = time.perf_counter()
    done = subprocess.run(COMMAND, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    took = time.perf_counter() - begun
    if done.returncode:
        raise RuntimeError(f"{' '.join(COMMAND)} ended with {done.returncode}: {done.stderr.decode()}")
    return took
