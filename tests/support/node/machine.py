"""A snapshot of what an embedded cluster may leave on the machine."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from devcluster.node.machine_setup import LINK, SETTINGS, SYS

_COUNTERS = re.compile(r"\[\d+:\d+\]")
_LINK = re.compile(rf"{LINK}[0-9a-f]{{8}}")


@dataclass(frozen=True)
class Machine:
    """What there is on the machine at one moment: each a set of lines that can be compared."""

    interfaces: frozenset[str]
    rules: frozenset[str]
    mounts: frozenset[str]
    cgroups: frozenset[str]
    settings: frozenset[str]

    KINDS: ClassVar = ("interfaces", "rules", "mounts", "cgroups", "settings")

    @classmethod
    def now(cls) -> Machine:
        """Looks at the machine."""
        links = _lines("ip", "-o", "link")
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        return cls(
            interfaces=frozenset(line.split(":")[1].strip() for line in links),
            rules=frozenset(_COUNTERS.sub("", line) for line in _lines("iptables-save") if line.startswith("-A")),
            mounts=frozenset(mounts),
            cgroups=frozenset(str(path) for path in Path("/sys/fs/cgroup").glob("**/devservers-*")),
            settings=frozenset(f"{name}={_value(name)}" for name in SETTINGS),
        )

    def added_to(self, before: Machine, link: str = "") -> dict[str, list[str]]:
        """What is here now and was not before, by kind; empty when nothing was left.

        With ``link``, what carries the name of another cluster's interface is that cluster's and left out.
        """
        added = {
            kind: sorted(
                line
                for line in getattr(self, kind) - getattr(before, kind)
                if not link or set(_LINK.findall(line)) <= {link}
            )
            for kind in self.KINDS
        }
        return {kind: found for kind, found in added.items() if found}


def _lines(*argv: str) -> list[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()


def _value(name: str) -> str:
    file = SYS / name
    return file.read_text().strip() if file.exists() else ""
