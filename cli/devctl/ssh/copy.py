"""Copies files between this machine and a server with scp.

Invariant: scp connects with the same options as `devctl ssh`: the same host key, the same ways in.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devctl import validation
from devctl.config import HOST_SUFFIX
from devctl.resources import pods
from devctl.ssh import direct, process
from devctl.ssh.bastion import endpoint, transport
from devctl.ssh.options import log_flags, option_flags
from devservers_core import grammar
from devservers_core.errors import TRANSPORT, USAGE, CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devctl.context import Context


_EXAMPLE = "write `devctl cp FILE NAME:PATH` or `devctl cp NAME:PATH FILE`"


@dataclass(frozen=True)
class Place:
    """A file or folder: on a server, or on this machine when `server` is None."""

    server: str | None
    path: str

    @property
    def argument(self) -> str:
        """The place as scp takes it; a colon in a file's name is no host there."""
        if self.server is not None:
            return f"{self.server}{HOST_SUFFIX}:{self.path}"
        return f"./{self.path}" if ":" in self.path.partition("/")[0] else self.path


def parse_place(text: str) -> Place:
    """Parse NAME:PATH, or a path on this machine."""
    host, colon, path = text.partition(":")
    name = host.removesuffix(HOST_SUFFIX)
    if colon and grammar.fits(name, grammar.SERVER_NAME, grammar.SERVER_NAME_MAX):
        return Place(name, path)
    return Place(None, text)


def server_of(sources: Sequence[Place], target: Place) -> str:
    """The one server of a copy. Raises CommandError for copies that are none from or to one server."""
    servers = {place.server for place in sources if place.server is not None}
    if target.server is not None:
        if servers:
            raise CommandError(
                "both sides are on a server",
                "copy to this machine first; within one server use `devctl ssh NAME cp ...`",
                USAGE,
            )
        return target.server
    if not servers:
        raise CommandError("no side is on a server", _EXAMPLE, USAGE)
    if len(servers) > 1 or any(place.server is None for place in sources):
        raise CommandError("the sources are not all on one server", "copy from one place at a time", USAGE)
    return next(iter(servers))


def copy(context: Context, sources: Sequence[Place], target: Place, *, recursive: bool) -> int:
    """Copy with scp and return its exit code. Raises CommandError."""
    if context.broker:
        raise CommandError(
            "files can't be copied from the bastion itself", "run `devctl cp` on your own machine", USAGE
        )
    name = validation.server_name(server_of(sources, target))
    program = shutil.which("scp", path=context.environ.get("PATH"))
    if not program:
        raise CommandError("there is no scp program on this machine", "install OpenSSH's client", TRANSPORT)
    arguments = [*(["-r"] if recursive else []), "--", *(place.argument for place in (*sources, target))]
    bastion = endpoint.configured(context.config)
    if bastion:
        bastion.trust()
        # scp has no -E: the messages that say why there is no connection are those of the ssh in ProxyCommand.
        return transport.run(
            bastion,
            lambda log: [program, *bastion.server_command(name, log)[1 + len(log_flags(log)) :], *arguments],
            name,
        )
    server = pods.with_ssh(context, name)
    options = option_flags(direct.ssh_options(context, str(server["metadata"]["name"])))
    context.kube.close()
    return process.wait_child(subprocess.Popen([program, *options, *arguments]))
