"""Parses what a command calls a run: `NAME RUN` or `NAME/RUN`.

A run's name is unique within one server, so the server always stands before it.
"""

from __future__ import annotations

import re

from devctl import validation
from devctl.config import HOST_SUFFIX
from devservers_core.errors import USAGE, CommandError

_RUN = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}", re.ASCII)


def parse_run(server: str, run: str | None) -> tuple[str, str]:
    """The server and the run. Raises CommandError."""
    if run is None:
        server, _, run = server.partition("/")
        if not run:
            raise CommandError(
                f"which run of {server}?", f"`devctl runs {server}` lists them; write NAME RUN or NAME/RUN", USAGE
            )
    validation.server_name(server.removesuffix(HOST_SUFFIX))
    return server.removesuffix(HOST_SUFFIX), check_run_name(run)


def is_run_name(run: object) -> bool:
    """Whether this is the name of a run."""
    return isinstance(run, str) and _RUN.fullmatch(run) is not None


def check_run_name(run: str) -> str:
    """Return the name of a run. Raises CommandError."""
    if not is_run_name(run):
        raise CommandError(
            f"{run[:80]!r} is no name of a run",
            "use up to 63 lower-case letters, digits, dots, dashes and underscores, a letter or digit first",
            USAGE,
        )
    return run
