"""Says what an embedded cluster that is down left on the machine: `python -m tests.support.left`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from infra.local.hostnet import link_name
from infra.local.paths import Paths
from tests.node.machine import Machine


def left(folder: Path) -> list[str]:
    """Interfaces, packet filter rules, mounts and cgroups named after the cluster in ``folder``, and its processes."""
    link, now = link_name(folder), Machine.now()
    named = {f"{kind} {line}" for kind in Machine.KINDS for line in getattr(now, kind) if link in line}
    named |= {f"mounts {path}" for path in now.mounts if Path(path).is_relative_to(folder)}
    return sorted(named | set(_processes(folder)))


def _processes(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            groups = (entry / "cgroup").read_text()
        except OSError:
            continue
        if link_name(folder) in groups or str(folder) in words:
            found.append(f"process {entry.name} {words.strip()[:100]}")
    return found


def main() -> int:
    """Print what is left of the cluster in the environment's state folder; 1 when there is anything."""
    found = left(Paths.of(os.environ).node)
    for each in found:
        print(f"left behind: {each}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
