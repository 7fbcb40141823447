"""Connects to a server: directly, through the bastion or from it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from devctl import validation
from devctl.config import HOST_SUFFIX
from devctl.resources import pods
from devctl.ssh.direct import ssh_options
from devctl.ssh.stream import stream
from devservers_core import names
from devservers_core.errors import NOT_FOUND, TRANSPORT, USAGE, CommandError

if TYPE_CHECKING:
    from devctl.context import Context


def connect(context: Context, name: str, rest: list[str]) -> int:
    """Run `ssh NAME REST...`: in place of this process, or as a child through or from the bastion.

    Raises CommandError when there is no ssh program or no such server, or when the server is stopped. `devctl proxy`
    waits for a server that starts and writes its host key.
    """
    from devctl.ssh import process
    from devctl.ssh.bastion import endpoint, from_bastion

    name, rest = name.removesuffix(HOST_SUFFIX), replica(name, rest)
    if context.broker:
        return from_bastion.connect(context, name, rest)
    bastion = endpoint.configured(context.config)
    if bastion:
        from devctl.ssh.bastion import transport

        bastion.trust()
        server = validation.server_name(name)
        arguments = [name + HOST_SUFFIX, *rest]
        if transport.wants_messages(rest):
            return process.exec_([*bastion.server_command(server), *arguments])
        return transport.run(bastion, lambda log: [*bastion.server_command(server, log), *arguments], server)
    binary = shutil.which("ssh", path=context.environ.get("PATH"))
    if not binary:
        raise CommandError(
            "there is no ssh program on this machine",
            f"install OpenSSH's client, or use `devctl shell {name}`",
            TRANSPORT,
        )
    name = str(pods.with_ssh(context, name)["metadata"]["name"])
    command = [binary]
    for key, value in ssh_options(context, name).items():
        command += ["-o", f"{key}={value}"]
    context.kube.close()
    return process.exec_([*command, name + HOST_SUFFIX, *rest])


def replica(name: str, rest: list[str]) -> list[str]:
    """Remove `--replica N` from what follows NAME. Raises CommandError for N > 0."""
    if not rest or not (rest[0] == "--replica" or rest[0].startswith("--replica=")):
        return rest
    number, after = (rest[0].partition("=")[2], rest[1:]) if "=" in rest[0] else ("".join(rest[1:2]), rest[2:])
    if not (number.isdecimal() and number.isascii()):
        raise CommandError(f"--replica {number!r} is not a number", f"write `devctl ssh {name} --replica 0`", USAGE)
    if int(number) != 0:
        # mode distributed is refused by the API until it is built, so every server is one machine.
        raise CommandError(
            f"{name} is one machine: it has replica 0 only", f"`devctl ssh {name}` reaches it", NOT_FOUND
        )
    return after


def proxy(context: Context, name: str, port: int = names.SSH_POD_PORT) -> int:
    """Connect stdin and stdout to a port of the server; return the exit code."""
    if context.broker and port == names.SSH_POD_PORT:
        from devctl.ssh.bastion import from_bastion

        return from_bastion.proxy(context, name)
    from devctl.ssh.port_forward import open_tunnel

    tunnel, greeting = open_tunnel(context, name, port)
    context.kube.close()
    return stream(tunnel, 0, 1, greeting)
