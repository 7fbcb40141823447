"""Figures of the operator on a real API server: writes and restart."""

from __future__ import annotations

from tests.bench.figure import Figure
from tests.support.cluster.harness import ApiServer
from tests.support.cluster.operator_load import RESTART_SECONDS_BOUND, WRITES_BOUND, restart, writes_per_server


def writes_figure(server: ApiServer) -> Figure:
    """The row api_writes_per_server."""
    counts = writes_per_server(server)
    return Figure("api_writes_per_server", max(counts), "writes", bound=WRITES_BOUND, runs=len(counts))


def restart_figures(server: ApiServer) -> list[Figure]:
    """The rows restart_writes and restart_seconds."""
    found = restart(server)
    return [
        Figure("restart_writes", found.writes, "writes", bound=0),
        Figure("restart_seconds", found.seconds, "s", bound=RESTART_SECONDS_BOUND),
    ]
