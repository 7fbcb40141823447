"""Memory of the agent in a server on a real node."""

from __future__ import annotations

import re

from tests.support.node.person import Person


def agent_memory_mib(person: Person, server: str) -> float:
    """The proportional set size of the server's first process, in MiB."""
    rollup = person.devctl("exec", server, "--", "cat", "/proc/1/smaps_rollup").stdout
    match = re.search(r"^Pss: +(\d+) kB$", rollup, re.MULTILINE)
    assert match, rollup
    return int(match[1]) / 1024
