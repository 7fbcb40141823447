"""Command blocks of the README and the tutorials: a test runs each, or says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import ROOT
from tests.support.docs.pages import NOT_RUN, RUNNABLE, blocks

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


def test_every_reason_is_one_of_a_block() -> None:
    plain = {command.partition("#")[0].strip() for page in PAGES for each in blocks(page) for command in each.commands}
    assert set(NOT_RUN) <= plain
