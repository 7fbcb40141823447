"""Parses devctl's command line before typer does."""

from __future__ import annotations

import re

from devctl.command_table import ALTERNATIVES, COMMANDS, GROUPS, SUBCOMMANDS, SYNONYMS
from devservers_core.errors import USAGE, CommandError


def expand_help(args: list[str]) -> list[str]:
    """`help`, `help COMMAND...` and `GROUP help` as the options that mean the same."""
    if args[:1] == ["help"]:
        return [*args[1:], "--help"]
    if len(args) == 2 and args[0] in GROUPS and args[1] == "help":
        return [args[0], "--help"]
    return args


def prepare(args: list[str]) -> tuple[list[str], list[str] | None]:
    """Split off the words after the first `--`, and give a bare `--wait` its default of ten minutes.

    `--wait` takes an optional duration, which no option parser of ours can express; a duration begins with
    a digit and a server's name never does, so the next word decides.
    """
    command = next((word for word in args if word in COMMANDS), None)
    if command is not None and COMMANDS[command].raw:
        return args, None
    rest: list[str] | None = None
    if "--" in args:
        at = args.index("--")
        args, rest = args[:at], args[at + 1 :]
    found: list[str] = []
    words = iter(enumerate(args))
    for at, word in words:
        if word == "--wait":
            following = args[at + 1] if at + 1 < len(args) else ""
            if re.match(r"\d", following):
                next(words)
            else:
                following = "10m"
            word = f"--wait={following}"
        found.append(word)
    return found, rest


def explain_usage(error: Exception, args: list[str]) -> CommandError:
    """A wrong command line in two lines."""
    from difflib import get_close_matches

    text = str(getattr(error, "format_message", lambda: error)()).rstrip(".")
    command = next((word for word in args if word in COMMANDS), None)
    if command in GROUPS:
        words = args[args.index(command) :]
        command = next((" ".join(words[:n]) for n in (3, 2) if " ".join(words[:n]) in SUBCOMMANDS), command)
    remedy = f"`devctl {command} --help` explains it" if command else "`devctl --help` lists the commands"
    unknown = re.match(r"No such command '([^']*)'", text)
    if unknown is None:
        return CommandError(text, remedy, USAGE)
    word = unknown[1]
    if command in GROUPS and word not in args[: args.index(command)]:
        known = GROUPS[command]
        meant = {"rm": ["remove", "delete"], "ls": ["list"], "new": ["add"], "create": ["add"], "get": ["list", "show"]}
        near = [each for each in meant.get(word, []) if each in known] or get_close_matches(word, known, 1)
        guess = f"did you mean `devctl {command} {near[0]}`? " if near else ""
        return CommandError(f"devctl {command} has no {word!r}", f"{guess}it has: {', '.join(known)}", USAGE)
    lists = "`devctl --help` lists the commands"
    if word in ALTERNATIVES:
        return CommandError(f"there is no command {word!r}", ALTERNATIVES[word], USAGE)
    near = [SYNONYMS[word]] if word in SYNONYMS else get_close_matches(word, COMMANDS, 1)
    return CommandError(f"there is no command {word!r}", f"did you mean {near[0]}? {lists}" if near else lists, USAGE)


QUICK_OPTIONS = ("--user", "--context", "--kubeconfig", "--namespace")


def quick(args: list[str]) -> tuple[dict[str, str | None], str, list[str]] | None:
    """Read `COMMAND [--flag VALUE]... NAME [REST...]` without typer: flags, name, rest; None for any other form.

    It is how ssh_config calls `proxy`, and how most people call `ssh`; each of them waits for this start.
    """
    flags: dict[str, str | None] = {}
    at = 1
    while at + 1 < len(args) and args[at] in QUICK_OPTIONS and not args[at + 1].startswith("-"):
        flags[args[at][2:]] = args[at + 1]
        at += 2
    if at >= len(args) or args[at].startswith("-"):
        return None
    return flags, args[at], args[at + 1 :]
