"""The reference of devctl's commands, from what `devctl COMMAND --help` prints."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

from devctl.__main__ import main
from docs.generate import NOTICE

_INTRODUCTION = """\
# devctl commands

For users who look up a command or an option. The tasks are in [Work with devctl](../guides/devctl.md). A word in
capitals stands for a value. `devctl help COMMAND` prints the same text.

"""


def page() -> str:
    """The page, in Markdown."""
    overview = help_text()
    text = NOTICE + _INTRODUCTION + _block(overview)
    for group, commands in _groups(overview):
        text += f"## {group}\n\n"
        for command in commands:
            text += "".join(_section(each) for each in _with_parts(command))
    return text.rstrip() + "\n"


def help_text(*command: str) -> str:
    """What devctl prints with --help after a command."""
    printed = io.StringIO()
    with _arguments(*command, "--help"), redirect_stdout(printed):
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"devctl {' '.join(command)} --help ended with {end.code}") from end
    return printed.getvalue()


@contextmanager
def _arguments(*arguments: str) -> Iterator[None]:
    """The process's command line and terminal as in a run of devctl on a terminal of 100 columns."""
    before, environment = sys.argv, os.environ.copy()
    sys.argv = ["devctl", *arguments]
    os.environ.update(COLUMNS="100", LINES="40", NO_COLOR="1")
    try:
        yield
    finally:
        sys.argv = before
        os.environ.clear()
        os.environ.update(environment)


def _groups(overview: str) -> Iterator[tuple[str, list[str]]]:
    """Each group of commands in the overview, with the names of its commands."""
    for title, block in re.findall(r"^([A-Z][A-Za-z ]+):\n((?:  [a-z].*\n)+)", overview, re.MULTILINE):
        yield title, re.findall(r"^  ([a-z][a-z0-9-]*)", block, re.MULTILINE)


def _with_parts(*command: str) -> Iterator[tuple[str, ...]]:
    """The command, then the commands below it."""
    yield command
    block = re.search(r"^Commands:\n((?:  .*\n)+)", help_text(*command) + "\n", re.MULTILINE)
    for part in re.findall(r"^  ([a-z][a-z-]*)", block[1], re.MULTILINE) if block else ():
        yield from _with_parts(*command, part)


def _section(command: tuple[str, ...]) -> str:
    level = "#" * min(len(command) + 2, 4)
    return f"{level} devctl {' '.join(command)}\n\n{_block(help_text(*command))}"


def _block(text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.strip("\n").splitlines())
    return f"```text\n{lines}\n```\n\n"
