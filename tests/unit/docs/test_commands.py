"""Command blocks of the README and the tutorials: a test runs each, or says why not."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from devctl.command_line import parse
from docs.generate.cli import help_text
from infra import ROOT
from tests.support.docs.pages import NOT_RUN, RUN_PAGES, RUNNABLE, blocks, command_lines, pages

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "tutorials").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_command_block_is_run_by_a_test_or_has_a_reason(page: Path) -> None:
    for block in blocks(page):
        assert block.commands, "a line of a block begins with `$ `"
        plain = [command.partition("#")[0].strip() for command in block.commands]
        assert block.run != any(command in NOT_RUN for command in plain), plain


def test_every_mark_stands_above_a_command_block() -> None:
    for page in PAGES:
        assert page.read_text().count(RUNNABLE) == sum(block.run for block in blocks(page)), page


def test_every_page_with_a_mark_is_one_that_the_node_tests_run() -> None:
    marked = {str(page.relative_to(ROOT)) for page in PAGES if RUNNABLE in page.read_text()}
    assert marked == set(RUN_PAGES)


def test_every_reason_is_one_of_a_block() -> None:
    plain = {command.partition("#")[0].strip() for page in PAGES for each in blocks(page) for command in each.commands}
    assert set(NOT_RUN) <= plain


@cache
def options(*command: str) -> tuple[set[str], set[str]]:
    """The options in a command's help and the commands below it; the options of every command are among the first."""
    text = help_text(*command)
    below = re.search(r"^Commands:\n((?:  .*\n)+)", text, re.MULTILINE)
    found = re.findall(r"(?<![\w-])(--?[a-zA-Z][\w-]*)", text + help_text())
    return set(found), set(re.findall(r"^  ([a-z][\w-]*)", below[1], re.MULTILINE) if below else ())


def devctl_lines(page: Path) -> Iterator[list[str]]:
    """The words after `devctl` of each command that a page shows with more than a name."""
    for line in command_lines(page):
        match = re.match(r"(?:ssh (?:-t )?\S+@\S+ )?devctl (.+)", line.split(" && ")[0].split(" | ")[0])
        if not match:
            continue
        lexer = shlex.shlex(match[1], posix=True, punctuation_chars="<>;")
        lexer.whitespace_split, lexer.commenters = True, "#"
        try:
            words = list(lexer)
        except ValueError:  # a quote that is closed on the next line
            continue
        yield words


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_devctl_commands_of_a_page_exist_with_their_options(page: Path) -> None:
    known = set(re.findall(r"^  ([a-z][\w-]*) ", help_text(), re.MULTILINE)) | {"help"}
    wrong = []
    for words in devctl_lines(page):
        if not re.fullmatch(r"[a-z][\w-]*", words[0]):
            continue
        if words[0] not in known:
            wrong.append(" ".join(words))
            continue
        command: tuple[str, ...] = () if words[0] == "help" else (words[0],)
        while command and len(words) > len(command) and words[len(command)] in options(*command)[1]:
            command = (*command, words[len(command)])
        own = parse(words).own
        flags = {each.partition("=")[0] for each in own if each.startswith("-") and each != "-"}
        if words[0] not in ("ssh", "exec", "help"):
            wrong += [f"{' '.join(words)}: {each}" for each in flags - options(*command)[0]]
    assert wrong == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_of_a_page_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for line in command_lines(page) for target in re.findall(r"^make (?:-\w+ )*([a-z][a-z-]*)", line)}
    assert named <= targets
