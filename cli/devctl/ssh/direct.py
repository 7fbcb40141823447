"""ssh's options for a server that is reached through the API server.

Invariant: `StrictHostKeyChecking yes` always. The key comes from status.sshHostKey over the authenticated API
connection and is written by `devctl proxy` before the first byte of SSH is passed on, so ssh never asks and never
trusts the network. A home that was purged and created again needs no manual repair either.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from devctl.ssh import known_hosts
from devctl.ssh.options import KEEPALIVE, devctl_command, quoted
from devservers_core import names
from devservers_core.replicas import replica_name

if TYPE_CHECKING:
    from devctl.context import Context


def ssh_options(context: Context, name: str, replica: int = 0) -> dict[str, str]:
    """The options of ssh for a connection to server `name`, or a replica of it, by ssh_config's keywords."""
    flags = "".join(f" {shlex.quote(flag)}" for flag in context.connection_flags())
    number = f" --replica {replica}" if replica else ""
    command = f"{devctl_command()} proxy{flags} {name}{number}".replace("%", "%%")
    options = {
        "User": names.LOGIN,
        "HostName": known_hosts.host_name(context, replica_name(name, replica) if replica else name),
        "HostKeyAlias": known_hosts.alias(context, name),
        "UserKnownHostsFile": quoted(str(known_hosts.known_hosts_file(context, name)).replace("%", "%%")),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "CheckHostIP": "no",
        "UpdateHostKeys": "no",
        **KEEPALIVE,
        "ProxyCommand": command,
    }
    identity = context.config.get("identityFile")
    if identity:
        identity = str(Path(identity).absolute())
        options |= {"IdentityFile": quoted(identity.replace("%", "%%")), "IdentitiesOnly": "yes"}
    return options
