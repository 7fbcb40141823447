"""Connects to a server: directly, through the bastion or from it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from devctl import validation
from devctl.config import HOST_SUFFIX
from devctl.resources import pods
from devctl.resources.replicas import check_replica
from devctl.ssh.direct import ssh_options
from devctl.ssh.stream import stream
from devservers_core import names
from devservers_core.errors import TRANSPORT, USAGE, CommandError

if TYPE_CHECKING:
    from devctl.context import Context


def connect(context: Context, name: str, rest: list[str]) -> int:
    """Run `ssh NAME REST...`: in place of this process, or as a child through or from the bastion.

    Raises CommandError when there is no ssh program or no such server, or when the server is stopped. `devctl proxy`
    waits for a server that starts and writes its host key.
    """
    from devctl.ssh import process
    from devctl.ssh.bastion import endpoint, from_bastion

    name = name.removesuffix(HOST_SUFFIX)
    number, rest = split_replica(name, rest)
    if context.broker:
        return from_bastion.connect(context, name, rest, number)
    bastion = endpoint.configured(context.config)
    if bastion:
        from devctl.ssh.bastion import transport

        bastion.trust()
        server = validation.server_name(name)
        arguments = [name + HOST_SUFFIX, *rest]
        if transport.wants_messages(rest):
            return process.exec_([*bastion.server_command(server, replica=number), *arguments])
        return transport.run(
            bastion, lambda log: [*bastion.server_command(server, log, number), *arguments], server, number
        )
    binary = shutil.which("ssh", path=context.environ.get("PATH"))
    if not binary:
        raise CommandError(
            "there is no ssh program on this machine",
            f"install OpenSSH's client, or use `devctl shell {name}`",
            TRANSPORT,
        )
    server_object = pods.with_ssh(context, name)
    name = str(server_object["metadata"]["name"])
    check_replica(server_object, number)
    command = [binary]
    for key, value in ssh_options(context, name, number).items():
        command += ["-o", f"{key}={value}"]
    context.kube.close()
    return process.exec_([*command, name + HOST_SUFFIX, *rest])


def split_replica(name: str, rest: list[str]) -> tuple[int, list[str]]:
    """Take `--replica N` from what follows NAME. Raises CommandError for what is no number."""
    if not rest or not (rest[0] == "--replica" or rest[0].startswith("--replica=")):
        return 0, rest
    number, after = (rest[0].partition("=")[2], rest[1:]) if "=" in rest[0] else ("".join(rest[1:2]), rest[2:])
    if not (number.isdecimal() and number.isascii() and len(number) < 4):
        raise CommandError(f"--replica {number!r} is not a number", f"write `devctl ssh {name} --replica 0`", USAGE)
    return int(number), after


def proxy(context: Context, name: str, port: int = names.SSH_POD_PORT, replica: int = 0) -> int:
    """Connect stdin and stdout to a port of the server, or of a replica; return the exit code."""
    if context.broker and port == names.SSH_POD_PORT:
        from devctl.ssh.bastion import from_bastion

        return from_bastion.proxy(context, name, replica)
    from devctl.ssh.port_forward import open_tunnel

    tunnel, greeting = open_tunnel(context, name, port, replica)
    context.kube.close()
    return stream(tunnel, 0, 1, greeting)
