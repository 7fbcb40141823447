"""The termination message of a server's container: its last lines of output.

The agent writes it as JSON before it ends (images/agent/internal/run/termination.go). Where the agent itself was
killed, Kubernetes puts the end of the container's log in its place.

Invariant: a message is untrusted. What parse_termination returns has only the types and sizes written here, and it
never fails.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from devservers_core.protocol import printable
from devservers_core.protocol.agent.report import MAX_LINES

MAX_CHARACTERS = 4096
"""The most bytes that a kubelet keeps."""
MAX_OOM_KILLS = 1_000_000


@dataclass(frozen=True, slots=True)
class Termination:
    """What a container left when it ended."""

    lines: tuple[str, ...] = ()
    """Its last output, oldest first."""
    oom_kills: int | None = None
    """Processes killed because memory ran out; None where the agent could not say."""


def parse_termination(text: object) -> Termination:
    """The last lines in a termination message."""
    if not isinstance(text, str):
        return Termination()
    text = text[:MAX_CHARACTERS]
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        message = None
    lines = message.get("lines") if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(lines, list):
        return Termination(_printable(text.splitlines()))
    kills = message.get("oomKills")
    valid = isinstance(kills, int) and not isinstance(kills, bool) and 0 <= kills <= MAX_OOM_KILLS
    return Termination(_printable(lines), kills if valid else None)


def _printable(lines: list[object] | list[str]) -> tuple[str, ...]:
    return tuple(printable(line) for line in lines[-MAX_LINES:] if isinstance(line, str))
