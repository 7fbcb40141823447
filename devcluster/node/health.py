"""Asks the processes of a running node whether they are healthy."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from devcluster import ROOT

_SCRIPT = (
    "import sys, json; from devcluster.node.supervisor import healthy; "
    "print(json.dumps([name for name, url in json.load(sys.stdin) if not healthy(url)]))"
)


def unhealthy(pid: int | None, components: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the components that don't answer, asked from inside the node.

    ``pid`` is the node's first process. A node that can't be entered is one entry, with the reason.
    """
    command = ["nsenter", "-t", str(pid), "-m", "-n", sys.executable, "-c", _SCRIPT]
    asked = json.dumps([(component["name"], component["health"]) for component in components])
    done = subprocess.run(
        command, input=asked, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT)}
    )
    if done.returncode:
        return [f"the node ({' '.join(done.stderr.split())[-300:] or 'no reason given'})"]
    return list(json.loads(done.stdout))
