"""`make bench`: every figure as a table, and in .bench/results.json."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.local.cluster import Cluster
from infra.local.paths import ROOT, Paths, current
from tests.bench import devctl_figures, node_figures, operator_figures
from tests.cluster.harness import running_api_server, running_controllers
from tests.node.machine import Machine
from tests.node.person import Person, Platform

Row = dict[str, Any]
RESULTS = ROOT / ".bench" / "results.json"


def operator(only: str) -> list[Row]:
    """The operator against a real API server."""
    with running_api_server() as server, running_controllers(server):
        operator_figures.prepare(server)
        return operator_figures.figures(server, only)


@contextmanager
def _platform() -> Iterator[Platform]:
    """A platform of the bench's own, taken down at the end."""
    with tempfile.TemporaryDirectory(prefix="devservers-bench-") as name:
        folder = Path(name)
        env = dict(os.environ) | {
            "HOME": str(folder),
            "USER": "ann",
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_CACHE_HOME": str(current().cache.parent),
            "DEVSERVERS_CONTEXT": "embedded",
        }
        platform = Platform(env, Cluster(Paths.of(env).node), Machine.now())
        try:
            platform.run("up", "--no-demo")
            yield platform
        finally:
            subprocess.run([sys.executable, "-m", "infra.local", "down"], cwd=ROOT, env=env, check=False)


def node(only: str) -> list[Row]:
    """What a person waits for, on a real node."""
    with _platform() as platform:
        ann = Person(platform, "ann")
        rows = [devctl_figures.devctl_list(platform.cluster.kubeconfig, "ann")]
        if not only or only.startswith("create_to_ssh"):
            deployment = platform.get("deployment", "devservers-operator", "-n", "devservers-system")
            env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
            image = next(each["value"] for each in env if each["name"] == "DEVSERVERS_DEFAULT_IMAGE")
            rows += [figure.record() for figure in node_figures.create_to_ssh(ann, image)]
        return rows


GROUPS: dict[Callable[[str], list[Row]], tuple[str, ...]] = {
    lambda only: [devctl_figures.devctl_help()]: ("devctl_help",),
    operator: ("api_writes_per_server", "restart_writes", "restart_seconds"),
    node: ("devctl_list", "create_to_ssh", "create_to_ssh_p50", "create_to_ssh_p95"),
}


def _met(row: Row) -> bool:
    held = row["value"] if row["ratio"] is None else row["ratio"]
    return row["bound"] is None or bool(held <= row["bound"])


def _table(rows: list[Row]) -> str:
    def cell(value: float | None) -> str:
        return "-" if value is None else f"{value:.3g}"

    lines = [f"{'figure':<26}{'value':>10} {'unit':<5}{'baseline':>10}{'ratio':>8}{'bound':>8}{'runs':>6}"]
    for row in rows:
        lines.append(
            f"{row['name']:<26}{cell(row['value']):>10} {row['unit']:<5}{cell(row['baseline']):>10}"
            f"{cell(row['ratio']):>8}{cell(row['bound']):>8}{row['runs']:>6}{'' if _met(row) else '  over the bound'}"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure, print, write; 1 when a bound is not kept."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--only", default="", help="one figure by name")
    only = parser.parse_args().only
    names = sorted(name for group in GROUPS.values() for name in group)
    if only and only not in names:
        print(f"there is no figure {only}\n  use one of {', '.join(names)}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    for measure, group in GROUPS.items():
        if not only or only in group:
            rows += [row for row in measure(only) if not only or row["name"].startswith(only)]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    print(_table(rows))
    return 0 if all(map(_met, rows)) else 1


if __name__ == "__main__":
    sys.exit(main())
