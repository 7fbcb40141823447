"""Options and programs of OpenSSH's client."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from devservers_core.errors import TRANSPORT, CommandError

KEEPALIVE = {"ServerAliveInterval": "30", "ServerAliveCountMax": "4"}
"""ssh's options with which a connection that is dead ends after two minutes, and an idle one is kept open."""


def devctl_command() -> str:
    """How another program calls this devctl."""
    started = Path(sys.argv[0])
    if started.name == "devctl" and started.exists():
        return shlex.quote(str(started.resolve()))
    found = shutil.which("devctl")
    return shlex.quote(found) if found else f"{shlex.quote(sys.executable)} -m devctl"


def quoted(path: str) -> str:
    """A path as ssh_config reads it."""
    return f'"{path}"' if " " in path else path


def ssh_program() -> list[str]:
    """The system's ssh."""
    binary = shutil.which("ssh")
    if not binary:
        raise CommandError("there is no ssh program on this machine", "install OpenSSH's client", TRANSPORT)
    return [binary]


def log_flags(file: str) -> list[str]:
    return ["-E", file] if file else []


def option_flags(options: Mapping[str, str]) -> list[str]:
    return [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
