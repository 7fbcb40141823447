"""What taking a stack down leaves behind, with the command that removes it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass


@dataclass(frozen=True)
class Leftover:
    """One thing that is still there: what, why, and the command that removes it for good."""

    what: str
    why: str
    command: tuple[str, ...]

    def __str__(self) -> str:
        return f"left: {self.what}: {self.why}\n  {shlex.join(self.command)}"


def describe(left: list[Leftover]) -> str:
    """Two lines for each."""
    return "\n".join(str(each) for each in left) or "nothing is left"
