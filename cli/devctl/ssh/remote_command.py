"""Runs a devctl command on the bastion, over ssh.

Invariant: the command line arrives there as it was typed, quoted so that the bastion parses the same arguments.
"""

from __future__ import annotations

import os
import re
import shlex
import sys

from devctl.config import Config
from devctl.ssh.via_bastion import configured

LOCAL = frozenset({"ssh", "ssh-config", "code", "config", "info", "version", "user", "admin"})
"""Commands that are this machine's own matter, and those of administrators, who have credentials of their own."""


def run_on_bastion(args: list[str]) -> None:
    """Become ssh, if this command line is one for the bastion; otherwise nothing happens. Raises CommandError."""
    from devctl.command_table import COMMANDS

    at = next((n for n, word in enumerate(args) if word in COMMANDS), None)
    ours = args[: args.index("--")] if "--" in args else args  # the rest belongs to what runs in the server
    if at is None or args[at] in LOCAL or {"-h", "--help"} & set(ours):
        return
    flags, asked = _common_flags(ours)
    if args[at] == "keys" and "user" in asked:  # an administrator's, with credentials of their own
        return
    if any(flag in asked for flag in ("kubeconfig", "context")) or "_DEVCTL_COMPLETE" in os.environ:
        return
    config = Config(flags, os.environ)
    bastion = configured(config)
    if bastion is None:
        return
    from devctl.ssh import forwarded_flags, transport

    bastion.trust()
    args = forwarded_flags.with_settings(_with_key_text(args, at), at, config)
    command = shlex.join(["devctl", *args])
    switches = _ssh_switches(args[at], ours[at + 1 :])
    if "-t" in switches and not sys.stdout.isatty() and sys.stderr.isatty():
        os.dup2(2, 1)  # a terminal has one output, and the prompt is in it; the answer to a login has nothing else
    code = transport.run(bastion, lambda log: [*bastion.ssh(*switches, log=log), command])
    if args[at] == "create" and code == 0:
        _refresh_ssh_config(flags)
    sys.stdout.flush()
    sys.exit(code)


def _ssh_switches(command: str, words: list[str]) -> tuple[str, ...]:
    """ssh's options for terminal and input of a command; `words` are those behind its name, before `--`."""
    typed = sys.stdin.isatty()
    # A password is typed at a terminal of the bastion, wherever the output goes: else this one would show it.
    seen = _reads_password(command, words) or (sys.stdout.isatty() and sys.stderr.isatty())
    # ssh would read what a shell's loop is reading from, and the loop would end after its first round.
    quiet = () if typed or _reads_input(command, words) else ("-n",)
    return ("-t" if typed and seen else "-T", *quiet)


def _reads_input(command: str, words: list[str]) -> bool:
    """Whether a command reads standard input that is no terminal."""
    if command == "exec":
        return any(word == "--stdin" or re.fullmatch("-[a-zA-Z]*i[a-zA-Z]*", word) for word in words)
    return command in ("shell", "proxy", "keys") or _reads_password(command, words)


def _reads_password(command: str, words: list[str]) -> bool:
    return command == "registry" and "login" in words


def _refresh_ssh_config(flags: dict[str, str | None]) -> None:
    """Bring ssh's entries up to date after a server was made, if they are kept."""
    from devctl.context import Context
    from devctl.ssh import config

    context = Context(flags, None)
    if config.installed(context.config):
        config.refresh_entries(context)


def _common_flags(words: list[str]) -> tuple[dict[str, str | None], set[str]]:
    """The flags that decide who and where, as far as they can be told without the command's own."""
    flags: dict[str, str | None] = {}
    for number, word in enumerate(words):
        for flag in ("user", "kubeconfig", "context"):
            if word == f"--{flag}" and number + 1 < len(words):
                flags[flag] = words[number + 1]
            elif word.startswith(f"--{flag}="):
                flags[flag] = word.partition("=")[2]
    return flags, set(flags)


def _with_key_text(args: list[str], at: int) -> list[str]:
    """A public key of this machine is read here and sent as its text. Raises CommandError, for a private key above all.

    The file is not on the bastion, and what standard input holds may be a private key, which must not leave.
    """
    if args[at : at + 2] != ["keys", "add"]:
        return args
    from devctl.resources.key_file import read_public_key

    positional, words = [], iter(range(at + 2, len(args)))
    for number in words:
        if args[number] == "-" or not args[number].startswith("-") or "PRIVATE KEY" in args[number]:
            positional.append(number)
        elif args[number] in ("--expires", "--user", "--context", "--kubeconfig", "--namespace", "-n"):
            next(words, None)
    if not positional:
        return args
    if len(positional) == 1:
        return [*args, read_public_key("-", None)]
    key = positional[1]
    return [*args[:key], read_public_key(args[key], None), *args[key + 1 :]]
