"""Questions to the user before something is lost."""

from __future__ import annotations

import sys

from devservers_core.errors import USAGE, CommandError


def confirm(doing: str, question: str, refused: str) -> None:
    """Ask for confirmation. Raises CommandError for any answer but yes."""
    if not sys.stdin.isatty():
        raise CommandError(f"{doing} needs a confirmation, and standard input is no terminal", "add --yes", USAGE)
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandError(refused, "answer y, or add --yes")
