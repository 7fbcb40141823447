"""`make bench`: every figure as a table, and in .bench/results.json."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.local.paths import ROOT
from tests.bench import bastion_figures, devctl_figures, graph_figures, node_figures, operator_figures, queue_figures
from tests.bench.figure import HEADER, Figure
from tests.cluster.conftest import install
from tests.cluster.harness import running_api_server, running_controllers
from tests.node.person import Person, Platform, environment, running_platform

RESULTS = ROOT / ".bench" / "results.json"


def alone(only: str) -> list[Figure]:
    """What needs no cluster."""
    found = []
    if only in ("", "devctl_help"):
        with tempfile.TemporaryDirectory(prefix="devservers-bench-") as folder:
            found.append(devctl_figures.devctl_help(environment(Path(folder))))
    if only in ("", "prod_graph_seconds"):
        found.append(graph_figures.prod_graph())
    return found


def operator(only: str) -> list[Figure]:
    """The operator against a real API server."""
    with running_api_server() as server:
        install(server.admin)  # before the controllers: garbage collection would hear of a new kind half a minute late
        with running_controllers(server):
            operator_figures.prepare(server)
            return operator_figures.figures(server, only)


def node(only: str) -> list[Figure]:
    """What a person waits for, on a real node."""
    with (
        tempfile.TemporaryDirectory(prefix="devservers-bench-") as folder,
        running_platform(Path(folder), "--no-demo") as platform,
    ):
        found = [devctl_figures.devctl_list(platform.env)]
        if not only or only.startswith("create_to_ssh"):
            deployment = platform.get("deployment", "devservers-operator", "-n", "devservers-system")
            env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
            image = next(each["value"] for each in env if each["name"] == "DEVSERVERS_DEFAULT_IMAGE")
            found += node_figures.create_to_ssh(Person(platform, "ann"), image)
        if only in ("", "queue_to_running"):
            found.append(queue_figures.queue_to_running(Person(platform, "ann")))
        if not only or only in BASTION:
            found += bastion(platform, Path(folder), only)
        return found


BASTION = (
    "logins_100_ok", "logins_100_p95", "logins_100_list_p95", "login_p95_20", "memory_per_session", "replica_kill_lost",
    "scp_throughput",
)  # fmt: skip


def bastion(platform: Platform, folder: Path, only: str) -> list[Figure]:
    """What a hundred people at once get from the bastion."""
    crowd = bastion_figures.Crowd(platform, folder)
    found = []
    if not only or only.startswith("login"):
        found += bastion_figures.logins(crowd)
    if only in ("", "memory_per_session", "replica_kill_lost"):
        found += bastion_figures.idle_and_killed(crowd)
    if only in ("", "scp_throughput"):
        found.append(bastion_figures.scp(crowd.laptops[0]))
    return found


GROUPS: dict[Callable[[str], list[Figure]], tuple[str, ...]] = {
    alone: ("devctl_help", "prod_graph_seconds"),
    operator: ("api_writes_per_server", "restart_writes", "restart_seconds"),
    node: ("devctl_list", "create_to_ssh", "create_to_ssh_p50", "create_to_ssh_p95", "queue_to_running", *BASTION),
}


def _write(found: list[Figure]) -> None:
    """Put the figures into the results; those that were not measured now stay as they are."""
    known: dict[str, dict[str, Any]] = {}
    if RESULTS.exists():
        known = {row["name"]: row for row in json.loads(RESULTS.read_text())}
    known |= {figure.name: figure.record() for figure in found}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(list(known.values()), indent=1) + "\n")


def main() -> int:
    """Measure, print, write; 1 when a bound is not kept."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--only", default="", help="one figure by name")
    only = parser.parse_args().only
    names = sorted(name for group in GROUPS.values() for name in group)
    if only and only not in names:
        print(f"there is no figure {only}\n  use one of {', '.join(names)}", file=sys.stderr)
        return 2
    found: list[Figure] = []
    for measure, group in GROUPS.items():
        if not only or only in group:
            found += [figure for figure in measure(only) if not only or figure.name.startswith(only)]
    _write(found)
    print("\n".join([HEADER, *(figure.line() for figure in found)]))
    return 0 if all(figure.met for figure in found) else 1


if __name__ == "__main__":
    sys.exit(main())
