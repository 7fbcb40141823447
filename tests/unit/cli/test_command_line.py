"""Tests the parser of devctl's arguments and the table of commands."""

from __future__ import annotations

import dataclasses
import re
from importlib import import_module
from typing import get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from devctl.command_line import CONNECTION_OPTIONS, CommandLine, Connection, parse
from devctl.command_table import COMMANDS, GROUPS, SUBCOMMANDS, Command, Runs

ENTRIES = COMMANDS | SUBCOMMANDS
WORDS = st.one_of(
    st.sampled_from([
        *ENTRIES, "help", "--", "--wait", "--help", "-h", "--debug", "5m", "10m", "x", "mydev", "-", "--port", "-it",
        "login", "list", "add", *CONNECTION_OPTIONS, "--user=ann", "--context=c", "--kubeconfig=", "--wait=3m",
    ]),
    st.text("abz-=0 \n", max_size=4),
)  # fmt: skip


def test_command_without_runs_cannot_be_made() -> None:
    """A new command has to say where it runs: the field has no default."""
    runs = next(each for each in dataclasses.fields(Command) if each.name == "runs")
    assert runs.default is dataclasses.MISSING
    assert runs.default_factory is dataclasses.MISSING
    with pytest.raises(TypeError, match="runs"):
        Command("list", "List", "Servers")  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ENTRIES)
def test_command_runs_where_the_field_allows(name: str) -> None:
    assert ENTRIES[name].runs in get_args(Runs)
    assert ENTRIES[name].runs == COMMANDS[name.split()[0]].runs


@pytest.mark.parametrize("name", sorted(ENTRIES.keys() - GROUPS.keys()))
def test_command_has_a_module_with_its_function(name: str) -> None:
    module = import_module(f"devctl.commands.{ENTRIES[name].module}")
    assert callable(getattr(module, re.sub("[- ]", "_", name) + "_command"))


@pytest.mark.parametrize("name", GROUPS)
def test_group_has_the_package_of_its_subcommands(name: str) -> None:
    subcommands = {entry for other, entry in SUBCOMMANDS.items() if other.split()[0] == name}
    assert {entry.module.partition(".")[0] for entry in subcommands} == {COMMANDS[name].module.partition(".")[0]}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", CommandLine((), (), None, 0)),
        ("--help", CommandLine(("--help",), ("--help",), None, 1, help=True, for_typer=("--help",))),
        (
            "help create",
            CommandLine(
                ("create", "--help"), ("create", "--help"), "create", 0, help=True, for_typer=("create", "--help")
            ),
        ),
        ("keys help", CommandLine(("keys", "--help"), ("keys", "--help"), "keys", 0, help=True,
                                  for_typer=("keys", "--help"))),
        (
            "--user=ann exec -i x --wait 5m -- sh --debug -h",
            CommandLine(
                ("--user=ann", "exec", "-i", "x", "--wait", "5m", "--", "sh", "--debug", "-h"),
                ("--user=ann", "exec", "-i", "x", "--wait", "5m"),
                "exec", 1, {"user": "ann"},
                for_typer=("--user=ann", "exec", "-i", "x", "--wait=5m"),
                rest=("sh", "--debug", "-h"),
            ),
        ),
        (
            "ssh --user ann mydev -L 1:h:2 -- ls",
            CommandLine(
                ("ssh", "--user", "ann", "mydev", "-L", "1:h:2", "--", "ls"),
                ("ssh", "--user", "ann", "mydev", "-L", "1:h:2"),
                "ssh", 0, {"user": "ann"},
                for_typer=("ssh", "--user", "ann", "mydev", "-L", "1:h:2", "--", "ls"),
                connection=Connection({"user": "ann"}, "mydev", ("-L", "1:h:2", "--", "ls")),
            ),
        ),
        (
            "list --debug --context c --context d",
            CommandLine(
                ("list", "--debug", "--context", "c", "--context", "d"),
                ("list", "--debug", "--context", "c", "--context", "d"),
                "list", 0, {"context": "d"}, debug=True,
                for_typer=("list", "--debug", "--context", "c", "--context", "d"),
            ),
        ),
    ],
)  # fmt: skip
def test_parse_gives_every_field(arguments: str, expected: CommandLine) -> None:
    assert parse(arguments.split()) == expected


@pytest.mark.parametrize(
    ("words", "flags", "rest"),
    [
        ("proxy mydev", {}, ()),
        ("proxy --user ann --context c mydev", {"user": "ann", "context": "c"}, ()),
        ("ssh --namespace dev-ann mydev -L 1:h:2 ls -l", {"namespace": "dev-ann"}, ("-L", "1:h:2", "ls", "-l")),
        ("ssh mydev -- ls", {}, ("--", "ls")),
        ("ssh mydev --user ann", {}, ("--user", "ann")),
    ],
)
def test_parse_connection_takes_common_flags_before_the_name(
    words: str, flags: dict[str, str], rest: tuple[str, ...]
) -> None:
    assert parse(words.split()).connection == Connection(flags, "mydev", rest)


@pytest.mark.parametrize(
    "words",
    [
        "proxy --help", "proxy --user ann", "proxy", "ssh -n x mydev", "ssh --debug mydev", "proxy mydev --port 22",
        "list", "--user ann ssh mydev",
    ],
)  # fmt: skip
def test_parse_any_other_form_has_no_connection(words: str) -> None:
    assert parse(words.split()).connection is None


# The functions that looked through the arguments in turn before there was one parser, as they were.


def former_help(args: list[str]) -> list[str]:
    if args[:1] == ["help"]:
        return [*args[1:], "--help"]
    if len(args) == 2 and args[0] in GROUPS and args[1] == "help":
        return [args[0], "--help"]
    return args


def former_prepare(args: list[str]) -> tuple[list[str], list[str] | None]:
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


def former_quick(args: list[str]) -> tuple[dict[str, str], str, list[str]] | None:
    flags: dict[str, str] = {}
    at = 1
    while at + 1 < len(args) and args[at] in CONNECTION_OPTIONS and not args[at + 1].startswith("-"):
        flags[args[at][2:]] = args[at + 1]
        at += 2
    if at >= len(args) or args[at].startswith("-"):
        return None
    return flags, args[at], args[at + 1 :]


def former_flags(words: list[str]) -> dict[str, str]:
    flags: dict[str, str] = {}
    for number, word in enumerate(words):
        for flag in ("user", "kubeconfig", "context"):
            if word == f"--{flag}" and number + 1 < len(words):
                flags[flag] = words[number + 1]
            elif word.startswith(f"--{flag}="):
                flags[flag] = word.partition("=")[2]
    return flags


@given(st.lists(WORDS, max_size=8))
def test_parse_agrees_with_the_former_functions(arguments: list[str]) -> None:
    line = parse(arguments)
    # What follows a script is the script's: test_run.py has that form.
    assume(line.command is None or line.command.script_options is None)
    args = former_help(arguments)
    assert list(line.arguments) == args
    assert line.asks_overview == (args in ([], ["--help"], ["-h"]))

    own = args[: args.index("--")] if "--" in args else args
    assert list(line.own) == own
    assert line.debug == ("--debug" in own)
    assert line.help == bool({"-h", "--help"} & set(own))
    assert line.flags == former_flags(own)

    at = next((n for n, word in enumerate(args) if word in COMMANDS), None)
    assert (line.name, line.position) == ((args[at], at) if at is not None else (None, len(args)))
    if at is not None:
        assert line.end_of_name == at + (2 if args[at] in GROUPS else 1)
        assert line.full_name == " ".join(args[at : line.end_of_name])

    for_typer, rest = former_prepare(args)
    assert (list(line.for_typer), None if line.rest is None else list(line.rest)) == (for_typer, rest)

    quick = former_quick(args) if args[:1] in (["ssh"], ["proxy"]) else None
    if quick and args[0] == "proxy" and quick[2]:
        quick = None
    assert line.connection == (Connection(quick[0], quick[1], tuple(quick[2])) if quick else None)
