"""Runs a devctl command on the bastion, over ssh; this is the laptop's part.

Invariant: the command line arrives there as it was typed, quoted so that the bastion parses the same arguments.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from devctl.command_line import CommandLine
from devctl.config import Config
from devctl.resources.lifecycle import until
from devctl.ssh.bastion.endpoint import configured


def run_on_bastion(line: CommandLine) -> None:
    """Run a command line on the bastion and exit, if it belongs there. Raises CommandError."""
    if line.command is None or line.command.runs == "local" or line.help:
        return
    if line.command.runs == "bastion unless --user" and "user" in line.flags:
        return
    if "kubeconfig" in line.flags or "context" in line.flags or "_DEVCTL_COMPLETE" in os.environ:
        return
    config = Config(line.flags, os.environ)
    bastion = configured(config)
    if bastion is None:
        return
    from devctl.ssh.bastion import transport

    bastion.trust()
    command = shlex.join(["devctl", *remote_arguments(line, config)])
    switches = ssh_switches(line)
    if "-t" in switches and not sys.stdout.isatty() and sys.stderr.isatty():
        os.dup2(2, 1)  # a terminal has one output, and the prompt is in it; the answer to a login has nothing else
    code = transport.run(bastion, lambda log: [*bastion.ssh(*switches, log=log), command])
    if line.name == "create" and code == 0:
        _refresh_ssh_config(line.flags)
    sys.stdout.flush()
    sys.exit(code)


def remote_arguments(line: CommandLine, config: Config) -> list[str]:
    """The arguments of the command on the bastion: those typed, and flags for this machine's settings."""
    from devctl.ssh.bastion.settings_as_flags import settings_flags

    arguments = _with_time_zone(line) if line.name in until.COMMANDS else _with_key_text(line)
    return [*arguments[: line.end_of_name], *settings_flags(line, config), *arguments[line.end_of_name :]]


def ssh_switches(line: CommandLine) -> tuple[str, ...]:
    """Choose ssh's options for the terminal and standard input of a remote command."""
    keyboard = sys.stdin.isatty()
    # A password is typed at a terminal of the bastion, wherever the output goes: else this one would show it.
    screen = _reads_password(line) or (sys.stdout.isatty() and sys.stderr.isatty())
    # ssh would read what a shell's loop is reading from, and the loop would end after its first round.
    no_input = () if keyboard or _reads_input(line) else ("-n",)
    return ("-t" if keyboard and screen else "-T", *no_input)


def _reads_input(line: CommandLine) -> bool:
    """Whether a command reads standard input that is no terminal."""
    if line.name == "exec":
        return any(
            word == "--stdin" or re.fullmatch("-[a-zA-Z]*i[a-zA-Z]*", word) for word in line.own[line.position + 1 :]
        )
    return line.name in ("shell", "proxy", "keys") or _reads_password(line)


def _reads_password(line: CommandLine) -> bool:
    return line.name == "registry" and "login" in line.own[line.position + 1 :]


def _refresh_ssh_config(flags: Mapping[str, str]) -> None:
    """Update ssh's installed entries after a server was created."""
    from devctl.context import Context
    from devctl.ssh import config

    context = Context(flags, None)
    if config.installed(context.config):
        config.refresh_entries(context)


def _with_time_zone(line: CommandLine) -> tuple[str, ...]:
    """The arguments with times of day in this machine's zone: the bastion may be elsewhere."""
    own = until.with_zone(line.own, datetime.now(UTC))
    return (*own, *line.arguments[len(line.own) :])


def _with_key_text(line: CommandLine) -> tuple[str, ...]:
    """The arguments with the text of a public key in place of its file.

    Raises CommandError.

    The file is not on the bastion, and what standard input holds may be a private key, which must not leave.
    """
    arguments = line.arguments
    if line.full_name != "keys add":
        return arguments
    from devctl.resources.people.key_file import read_public_key

    positional, indices = [], iter(range(line.end_of_name, len(arguments)))
    for index in indices:
        word = arguments[index]
        if word == "-" or not word.startswith("-") or "PRIVATE KEY" in word:
            positional.append(index)
        elif word in ("--expires", "--user", "--context", "--kubeconfig", "--namespace", "-n"):
            next(indices, None)
    if not positional:
        return arguments
    if len(positional) == 1:
        return (*arguments, read_public_key("-", None))
    key = positional[1]
    return (*arguments[:key], read_public_key(arguments[key], None), *arguments[key + 1 :])
