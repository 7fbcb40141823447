"""`python -m bastion NAME`: the program of one of the pod's containers.

Invariant: a program ends on SIGTERM, also before it has begun. The kernel lets a container's first process ignore every
signal that it has no handler for (pid_namespaces(7)), and the kubelet would then wait out the grace period of an hour.
"""

from __future__ import annotations

import os
import signal
import sys

PROGRAMS = ("accounts", "audit", "broker", "supervisor")


def main() -> int:
    """The exit code of the program; 2 when there is none of this name."""
    # Until the program has a handler of its own, where it has something to bring to an end.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in PROGRAMS:
        print(f"bastion: there is no program {name!r}; there are {', '.join(PROGRAMS)}", file=sys.stderr)
        return 2
    from importlib import import_module

    return int(import_module(f"bastion.{name}.__main__").main())


if __name__ == "__main__":
    sys.exit(main())
