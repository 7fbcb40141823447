"""The system's ssh, told how to reach a server: the options, and the call.

Invariant: `StrictHostKeyChecking yes` always. The key comes from status.sshHostKey over the authenticated
API connection and is written by `proxy` before the first byte of SSH is passed on, so ssh never asks and
never trusts what the network says; a home that was purged and made anew needs no manual repair either.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from devctl import knownhosts, names, pods
from devctl.errors import TRANSPORT, Failure

if TYPE_CHECKING:
    from devctl.session import Session


def program() -> str:
    """How another program calls this devctl."""
    started = Path(sys.argv[0])
    if started.name == "devctl" and started.exists():
        return shlex.quote(str(started.resolve()))
    found = shutil.which("devctl")
    return shlex.quote(found) if found else f"{shlex.quote(sys.executable)} -m devctl.app"


def options(session: Session, name: str) -> dict[str, str]:
    """The ssh options that make a connection to server `name` work, in ssh_config's words."""
    flags = "".join(f" {shlex.quote(flag)}" for flag in session.connection_flags())
    command = f"{program()} proxy{flags} {name}".replace("%", "%%")
    found = {
        "User": names.LOGIN,
        "HostKeyAlias": knownhosts.alias(session, name),
        "UserKnownHostsFile": quoted(str(knownhosts.file(session, name)).replace("%", "%%")),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "CheckHostIP": "no",
        "UpdateHostKeys": "no",
        "ServerAliveInterval": "30",
        "ServerAliveCountMax": "4",
        "ProxyCommand": command,
    }
    identity = session.config.get("identityFile")
    if identity:
        found |= {"IdentityFile": quoted(identity.replace("%", "%%")), "IdentitiesOnly": "yes"}
    return found


def quoted(path: str) -> str:
    """A path as ssh_config reads it."""
    return f'"{path}"' if " " in path else path


def connect(session: Session, name: str, rest: list[str]) -> NoReturn:
    """Become `ssh NAME REST...`; raises Failure when there is no ssh program, no such server, or it is stopped.

    Waiting for a server that starts, and its host key, are `proxy`'s.
    """
    binary = shutil.which("ssh", path=session.environ.get("PATH"))
    if not binary:
        raise Failure(
            "there is no ssh program on this machine",
            f"install OpenSSH's client, or use `devctl shell {name}`",
            TRANSPORT,
        )
    name = str(pods.with_ssh(session, name)["metadata"]["name"])
    words = [binary]
    for key, value in options(session, name).items():
        words += ["-o", f"{key}={value}"]
    words += [name + names.HOST_SUFFIX, *rest]
    sys.stdout.flush()
    sys.stderr.flush()
    session.kube.close()
    os.execv(binary, words)
