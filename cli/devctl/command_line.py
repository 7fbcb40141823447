"""Parses devctl's arguments, once, into a CommandLine that every module uses.

Invariant: pure, and imports nothing but the table of commands: `devctl --help` and each connection wait for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from devctl.command_table import ALTERNATIVES, COMMANDS, GROUPS, SUBCOMMANDS, SUBGROUPS, SYNONYMS, Command, subcommands
from devservers_core.errors import USAGE, CommandError

DEFAULT_WAIT = "10m"
"""Duration of a `--wait` that is given without one."""
ROUTING_FLAGS = ("user", "kubeconfig", "context")
"""Flags that decide whether a command runs on the bastion, and as whom."""
CONNECTION_OPTIONS = ("--user", "--context", "--kubeconfig", "--namespace")
"""Options before the server's name that `ssh` and `proxy` take without typer."""


class Connection(NamedTuple):
    """`ssh` or `proxy` in the form `COMMAND [--flag VALUE]... NAME [REST...]`, which needs no typer.

    ssh_config calls `proxy` so, and most people call `ssh` so; each of them waits for this start.
    """

    flags: Mapping[str, str]
    server: str
    rest: tuple[str, ...]


@dataclass(frozen=True)
class CommandLine:
    """The arguments of one run of devctl.

    Attributes:
        arguments: all of them, with `help COMMAND` written as `COMMAND --help`.
        own: those before the first `--`, or to a script; the rest belongs to what runs in the server.
        name: the first argument that is the name of a command, None when there is none.
        position: the index of `name` in `arguments`; the length of `arguments` when there is none.
        flags: the ROUTING_FLAGS among `own`, before or after the command's name.
        debug: whether `own` has --debug.
        help: whether `own` has -h or --help.
        for_typer: what typer parses: `own` (or everything, for a command that passes its arguments on), with a
            duration at each `--wait`.
        rest: the arguments after `--` or after a script, None when there was neither or the command passes its
            arguments on.
        connection: set for `ssh` and `proxy` in the form that needs no typer.
    """

    arguments: tuple[str, ...]
    own: tuple[str, ...]
    name: str | None
    position: int
    flags: Mapping[str, str] = field(default_factory=dict)
    debug: bool = False
    help: bool = False
    for_typer: tuple[str, ...] = ()
    rest: tuple[str, ...] | None = None
    connection: Connection | None = None

    @property
    def command(self) -> Command | None:
        """The command's entry in the table."""
        return COMMANDS[self.name] if self.name is not None else None

    @property
    def end_of_name(self) -> int:
        """The index behind the command's name, which has two or three words in a group."""
        if self.name not in GROUPS:
            return self.position + 1
        three = " ".join(self.arguments[self.position : self.position + 3])
        return self.position + (3 if three in SUBCOMMANDS else 2)

    @property
    def full_name(self) -> str:
        """The command's name with the further words of a group, like `keys add`."""
        return " ".join(self.arguments[self.position : self.end_of_name])

    @property
    def asks_overview(self) -> bool:
        """Whether nothing but the overview of all commands is asked for."""
        return self.arguments in ((), ("--help",), ("-h",))


def parse(arguments: Sequence[str]) -> CommandLine:
    """Parse what follows the program's name."""
    arguments = _expand_help(tuple(arguments))
    dashes = len(arguments)
    name, position = None, len(arguments)
    flags: dict[str, str] = {}
    for index, word in enumerate(arguments):
        if word == "--" and index < dashes:
            dashes = index
        if name is None and word in COMMANDS:
            name, position = word, index
    script_end = _end_of_script(arguments, name, position, dashes)
    own = arguments[: min(dashes, script_end)]
    for_typer: list[str] = []
    duration_at = -1
    for index, word in enumerate(own):
        following = own[index + 1] if index + 1 < len(own) else None
        flag, equals, value = word.partition("=")
        if flag[:2] == "--" and flag[2:] in ROUTING_FLAGS:
            if equals:
                flags[flag[2:]] = value
            elif following is not None:
                flags[flag[2:]] = following
        if index == duration_at:
            continue
        if word == "--wait":
            # A duration begins with a digit and a server's name never does; typer has no option with an optional value.
            given = following is not None and re.match(r"\d", following) is not None
            duration_at = index + 1 if given else -1
            word = f"--wait={following if given else DEFAULT_WAIT}"
        for_typer.append(word)
    raw = name is not None and COMMANDS[name].raw
    return CommandLine(
        arguments=arguments,
        own=own,
        name=name,
        position=position,
        flags=flags,
        debug="--debug" in own,
        help="-h" in own or "--help" in own,
        for_typer=arguments if raw else tuple(for_typer),
        rest=_rest(arguments, None if raw else dashes, script_end),
        connection=_connection(arguments),
    )


def _end_of_script(arguments: tuple[str, ...], name: str | None, position: int, dashes: int) -> int:
    """The index behind SCRIPT in `COMMAND NAME SCRIPT ARGS...`; more than any index in every other form."""
    options = COMMANDS[name].script_options if name is not None else None
    with_value = (options or frozenset()) | set(CONNECTION_OPTIONS) | {"-n"}
    positional, index = 0, position + 1
    while options is not None and index < dashes:
        if not arguments[index].startswith("-"):
            positional += 1
            if positional == 2:
                return index + 1
        index += 2 if arguments[index] in with_value else 1
    return len(arguments) + 1


def _rest(arguments: tuple[str, ...], dashes: int | None, script_end: int) -> tuple[str, ...] | None:
    """What belongs to another program: the arguments of a script, or those after `--`; None without either."""
    if script_end <= len(arguments):
        return arguments[script_end:]
    return None if dashes is None or dashes == len(arguments) else arguments[dashes + 1 :]


def _expand_help(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """`help`, `help COMMAND...` and `GROUP help` as the options that mean the same."""
    if arguments[:1] == ("help",):
        return (*arguments[1:], "--help")
    if len(arguments) == 2 and arguments[0] in GROUPS and arguments[1] == "help":
        return (arguments[0], "--help")
    return arguments


def _connection(arguments: tuple[str, ...]) -> Connection | None:
    """`ssh` and `proxy` as a Connection; None for any other form, which typer parses."""
    if arguments[:1] not in (("ssh",), ("proxy",)):
        return None
    flags: dict[str, str] = {}
    at = 1
    while at + 1 < len(arguments) and arguments[at] in CONNECTION_OPTIONS and not arguments[at + 1].startswith("-"):
        flags[arguments[at][2:]] = arguments[at + 1]
        at += 2
    if at >= len(arguments) or arguments[at].startswith("-"):
        return None
    rest = arguments[at + 1 :]
    return None if arguments[0] == "proxy" and rest else Connection(flags, arguments[at], rest)


def explain_usage(error: Exception, line: CommandLine) -> CommandError:
    """Explain in two lines why typer refused a command line."""
    from difflib import get_close_matches

    text = str(getattr(error, "format_message", lambda: error)()).rstrip(".")
    command = line.name if line.name in line.for_typer else None
    if command in GROUPS:
        following = line.arguments[line.position :]
        names = (" ".join(following[:count]) for count in (3, 2))
        command = next((name for name in names if name in SUBCOMMANDS or name in SUBGROUPS), command)
    remedy = f"`devctl {command} --help` explains it" if command else "`devctl --help` lists the commands"
    unknown = re.match(r"No such command '([^']*)'", text)
    if unknown is None:
        return CommandError(text, remedy, USAGE)
    word = unknown[1]
    if (command in GROUPS or command in SUBGROUPS) and word not in line.arguments[: line.position]:
        following_words = subcommands(command)
        usual = {"rm": ["remove", "delete"], "ls": ["list"], "new": ["add"], "create": ["add"], "get": ["list", "show"]}
        similar = [name for name in usual.get(word, []) if name in following_words] or get_close_matches(
            word, following_words, 1
        )
        guess = f"did you mean `devctl {command} {similar[0]}`? " if similar else ""
        return CommandError(f"devctl {command} has no {word!r}", f"{guess}it has: {', '.join(following_words)}", USAGE)
    lists = "`devctl --help` lists the commands"
    if word in ALTERNATIVES:
        return CommandError(f"there is no command {word!r}", ALTERNATIVES[word], USAGE)
    similar = [SYNONYMS[word]] if word in SYNONYMS else get_close_matches(word, COMMANDS, 1)
    return CommandError(
        f"there is no command {word!r}", f"did you mean {similar[0]}? {lists}" if similar else lists, USAGE
    )
