"""Lists what an embedded cluster that is down left on the machine."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from devcluster.node.machine_setup import link_name
from devservers_core.paths import Paths
from tests.support.node.machine import Machine

END_SECONDS = 30.0
"""What was told to end has that long."""


def leftovers(folder: Path) -> list[str]:
    """Interfaces, packet filter rules, mounts and cgroups named after the cluster in ``folder``, and its processes."""
    link, now = link_name(folder), Machine.now()
    named = {f"{kind} {line}" for kind in Machine.KINDS for line in getattr(now, kind) if link in line}
    named |= {f"mounts {path}" for path in now.mounts if Path(path).is_relative_to(folder)}
    return sorted(named | set(_processes(folder)))


def _processes(folder: Path) -> list[str]:
    found = []
    for entry in (each for each in Path("/proc").iterdir() if each.name.isdigit()):
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            around = (entry / "environ").read_bytes().decode(errors="replace") + (entry / "cgroup").read_text()
        except OSError:
            continue
        state = f"XDG_STATE_HOME={folder.parents[1]}\0"
        if entry.name != str(os.getpid()) and (str(folder) in words or state in around or link_name(folder) in around):
            found.append(f"process {entry.name} {words.strip()[:100]}")
    return found


def main() -> int:
    """Print what is left of the cluster in the environment's state folder; 1 when there is anything."""
    folder, deadline = Paths.of(os.environ).node, time.monotonic() + END_SECONDS
    while (found := leftovers(folder)) and time.monotonic() < deadline:
        time.sleep(0.5)
    for each in found:
        print(f"left behind: {each}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
