"""The system's ssh, told how to reach a server: the options, and the call.

Invariant: `StrictHostKeyChecking yes` always. The key comes from status.sshHostKey over the authenticated
API connection and is written by `proxy` before the first byte of SSH is passed on, so ssh never asks and
never trusts what the network says; a home that was purged and made anew needs no manual repair either.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from devctl import knownhosts, pods, values
from devctl.defaults import HOST_SUFFIX, KEEPALIVE
from devservers_core import names
from devservers_core.errors import NOT_FOUND, TRANSPORT, USAGE, CommandError

if TYPE_CHECKING:
    from devctl.session import Session


def program() -> str:
    """How another program calls this devctl."""
    started = Path(sys.argv[0])
    if started.name == "devctl" and started.exists():
        return shlex.quote(str(started.resolve()))
    found = shutil.which("devctl")
    return shlex.quote(found) if found else f"{shlex.quote(sys.executable)} -m devctl"


def options(session: Session, name: str) -> dict[str, str]:
    """The ssh options that make a connection to server `name` work, in ssh_config's words."""
    flags = "".join(f" {shlex.quote(flag)}" for flag in session.connection_flags())
    command = f"{program()} proxy{flags} {name}".replace("%", "%%")
    found = {
        "User": names.LOGIN,
        "HostName": knownhosts.host_name(session, name),
        "HostKeyAlias": knownhosts.alias(session, name),
        "UserKnownHostsFile": quoted(str(knownhosts.file(session, name)).replace("%", "%%")),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "CheckHostIP": "no",
        "UpdateHostKeys": "no",
        **KEEPALIVE,
        "ProxyCommand": command,
    }
    identity = session.config.get("identityFile")
    if identity:
        identity = str(Path(identity).absolute())
        found |= {"IdentityFile": quoted(identity.replace("%", "%%")), "IdentitiesOnly": "yes"}
    return found


def quoted(path: str) -> str:
    """A path as ssh_config reads it."""
    return f'"{path}"' if " " in path else path


def connect(session: Session, name: str, rest: list[str]) -> int:
    """Become `ssh NAME REST...`, or run it on the bastion and give its code; raises CommandError when there is no ssh
    program, no such server, or it is stopped.

    Waiting for a server that starts, and its host key, are `proxy`'s.
    """
    from devctl import hop, jump

    name, rest = name.removesuffix(HOST_SUFFIX), replica(name, rest)
    if session.broker:
        return hop.connect(session, name, rest)
    bastion = jump.configured(session.config)
    if bastion:
        from devctl import transport

        bastion.trust()
        server = values.server_name(name)
        if transport.wants_messages(rest):
            return jump.become([*bastion.hop(server), name + HOST_SUFFIX, *rest])
        return transport.run(bastion, lambda log: [*bastion.hop(server, log), name + HOST_SUFFIX, *rest], server)
    binary = shutil.which("ssh", path=session.environ.get("PATH"))
    if not binary:
        raise CommandError(
            "there is no ssh program on this machine",
            f"install OpenSSH's client, or use `devctl shell {name}`",
            TRANSPORT,
        )
    name = str(pods.with_ssh(session, name)["metadata"]["name"])
    words = [binary]
    for key, value in options(session, name).items():
        words += ["-o", f"{key}={value}"]
    session.kube.close()
    return jump.become([*words, name + HOST_SUFFIX, *rest])


def replica(name: str, rest: list[str]) -> list[str]:
    """What follows NAME, without `--replica N`; raises CommandError for another replica than the one there is."""
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
