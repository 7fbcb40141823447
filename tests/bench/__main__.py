"""`make bench`: every figure as a table, and in .bench/results.json."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from devcluster import ROOT, packages
from tests.bench import (
    agent_figures,
    bastion_figures,
    burst_figures,
    devctl_figures,
    graph_figures,
    idle_figures,
    lifecycle_figures,
    node_figures,
    operator_figures,
    queue_figures,
    saved_figures,
)
from tests.bench.table import Table
from tests.support.cluster.harness import running_api_server, running_controllers
from tests.support.cluster.operator_load import prepare
from tests.support.cluster.shipped import install
from tests.support.node.person import Person, Platform, environment, running_platform
from tests.support.node.queueing import default_image

RESULTS = ROOT / ".bench" / "results.json"

RESTART = ("restart_writes", "restart_seconds")
CREATE = ("create_to_ssh_p50", "create_to_ssh_p95")
LOGINS = ("logins_100_ok", "logins_100_p95", "logins_100_list_p95", "login_p95_20")
IDLE = ("idle_cpu_1000", "idle_writes_1000", "expiry_lag_p95")
STOPS = ("idle_wrong_stops", "idle_late_stops", "idle_unmeasured_stops")
LIFE = ("stop_to_gone", "start_to_ssh")
SAVED = ("saved_share", "saved_share_half")
BURST = ("burst_memory_share", "exec_upload_mib_s")
CROWD = ("memory_per_session", "replica_kill_lost")


def alone(table: Table) -> None:
    """What needs no cluster."""
    with tempfile.TemporaryDirectory(prefix="devservers-bench-") as folder:
        table.take(("devctl_help",), lambda: devctl_figures.devctl_help(environment(Path(folder))))
    table.take(("prod_graph_seconds",), graph_figures.prod_graph)
    table.take(SAVED, saved_figures.saved_figures)
    table.take(STOPS, idle_figures.idle_figures)


def operator(table: Table) -> None:
    """The operator against a real API server."""
    with running_api_server() as server:
        install(server.admin)  # before the controllers: garbage collection would hear of a new kind half a minute late
        with running_controllers(server):
            prepare(server)
            table.take(("api_writes_per_server",), lambda: operator_figures.writes_figure(server))
            table.take(RESTART, lambda: operator_figures.restart_figures(server))
            table.take(IDLE, lambda: agent_figures.agent_figures(server))


def node(table: Table) -> None:
    """What a person waits for, on a real node."""
    with (
        tempfile.TemporaryDirectory(prefix="devservers-bench-") as folder,
        running_platform(Path(folder), "--no-demo") as platform,
    ):
        ann = Person(platform, "ann")
        table.take(("devctl_list",), lambda: devctl_figures.devctl_list(platform.env))
        table.take(CREATE, lambda: node_figures.create_to_ssh(ann, default_image(platform)))
        table.take(LIFE, lambda: lifecycle_figures.stop_and_start(ann))
        table.take(("extend_seconds",), lambda: lifecycle_figures.extend_seconds(ann))
        table.take(("agent_memory",), lambda: lifecycle_figures.agent_memory(ann))
        table.take(("queue_to_running",), lambda: queue_figures.queue_to_running(ann))
        table.take(("burst_memory_share",), lambda: burst_figures.burst_memory(platform, Path(folder)))
        table.take(("exec_upload_mib_s",), lambda: burst_figures.exec_upload(ann, Path(folder)))
        if table.wants(BASTION):
            with table.group(BASTION):
                bastion(table, platform, Path(folder))


def bastion(table: Table, platform: Platform, folder: Path) -> None:
    """What a hundred people at once get from the bastion."""
    crowd = bastion_figures.Crowd(platform, folder)
    table.take(LOGINS, partial(bastion_figures.logins, crowd))
    table.take(CROWD, partial(bastion_figures.idle_and_killed, crowd))
    table.take(("scp_throughput",), lambda: bastion_figures.scp(crowd.laptops[0]))


BASTION = (*LOGINS, *CROWD, "scp_throughput")
GROUPS: dict[Callable[[Table], None], tuple[str, ...]] = {
    alone: ("devctl_help", "prod_graph_seconds", *SAVED, *STOPS),
    operator: ("api_writes_per_server", *RESTART, *IDLE),
    node: ("devctl_list", *CREATE, *LIFE, "extend_seconds", "agent_memory", "queue_to_running", *BURST, *BASTION),
}
"""What is measured after one set-up, with the figures' names."""
NAMES = tuple(name for group in GROUPS.values() for name in group)
SHORT = ("create_to_ssh",)
"""What several figures may be asked for by."""


def measure(only: str = "") -> Table:
    """Take the figures that are asked for, all when ``only`` is empty."""
    table = Table(only)
    for taking, names in GROUPS.items():
        if table.wants(names):
            with table.group(names):
                taking(table)
    return table


def write(table: Table) -> None:
    """Put the table into the results; figures that were not asked for now stay as they are."""
    known: dict[str, dict[str, Any]] = {}
    if RESULTS.exists():
        known = {row["name"]: row for row in json.loads(RESULTS.read_text())}
    known |= {name: row.record() for name, row in table.rows.items()}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(list(known.values()), indent=1) + "\n")


def main() -> int:
    """Measure, print, write; 1 when a figure could not be taken or a bound is not kept."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--only", default="", help="one figure by name")
    only = parser.parse_args().only
    if only and only not in (*NAMES, *SHORT):
        print(f"there is no figure {only}\n  use one of {', '.join(sorted((*NAMES, *SHORT)))}", file=sys.stderr)
        return 2
    try:
        packages.require()
    except packages.PackageError as error:
        print(error, file=sys.stderr)
        return 2
    table = measure(only)
    write(table)
    print(table.text())
    return 0 if table.met else 1


if __name__ == "__main__":
    sys.exit(main())
