"""`devctl version`: the version of this client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devctl import __version__
from devctl.output import console

if TYPE_CHECKING:
    from devctl.context import Context


def version_command(context: Context) -> None:
    """Print the version."""
    console.echo(f"devctl {__version__}")
