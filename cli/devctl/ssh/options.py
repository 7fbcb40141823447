"""Options and programs of OpenSSH's client."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from devservers_core.errors import TRANSPORT, CommandError

KEEPALIVE = {"ServerAliveInterval": "30", "ServerAliveCountMax": "4"}
"""ssh's options that end a dead connection after two minutes and keep an idle one open."""


def devctl_command() -> str:
    """The command with which another program starts this devctl."""
    started = Path(sys.argv[0])
    if started.name == "devctl" and started.exists():
        return shlex.quote(str(started.resolve()))
    installed = shutil.which("devctl")
    return shlex.quote(installed) if installed else f"{shlex.quote(sys.executable)} -m devctl"


def quoted(path: str) -> str:
    """A path in ssh_config's quoting."""
    return f'"{path}"' if " " in path else path


def ssh_program() -> list[str]:
    """The path of ssh, as the start of a command line. Raises CommandError."""
    binary = shutil.which("ssh")
    if not binary:
        raise CommandError("there is no ssh program on this machine", "install OpenSSH's client", TRANSPORT)
    return [binary]


def log_flags(file: str) -> list[str]:
    """The flags that send ssh's own messages into a file."""
    return ["-E", file] if file else []


def option_flags(options: Mapping[str, str]) -> list[str]:
    """Options as `-o KEY=VALUE` flags."""
    return [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
