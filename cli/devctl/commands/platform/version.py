"""`devctl version`: the versions of this client and of the platform."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devctl import __version__
from devctl.output import console
from devctl.resources import platform_version
from devservers_core.errors import ApiError, CommandError, UnreachableError

if TYPE_CHECKING:
    from devctl.context import Context


def version_command(context: Context) -> None:
    """Print the version of devctl and, where one is configured, of the platform.

    A platform that does not answer is no error. A warning says when the two are apart.
    """
    console.echo(f"devctl {__version__}")
    if context.broker:
        return
    try:
        version = _platform(context)
    except (CommandError, ApiError, UnreachableError) as error:
        reason = error.what if isinstance(error, CommandError) else str(error)
        console.warn(f"the platform's version is unknown: {reason}")
        return
    if version is None:
        return
    console.echo(f"platform {version}")
    if platform_version.apart(__version__, version):
        console.warn(f"the platform has another version than this devctl: install version {version} of devctl")


def _platform(context: Context) -> str | None:
    from devctl.ssh.bastion import endpoint, transport

    bastion = endpoint.configured(context.config)
    if bastion is None:
        return platform_version.read(context)
    bastion.trust()
    name, _, version = transport.output(bastion, ["devctl", "--version"]).strip().partition(" ")
    return version if name == "devctl" and version.isprintable() else None
