"""Text for a terminal is broken between words."""

from __future__ import annotations

import pytest

from bastion.session.prompt import HELP, HELP_KUBECTL
from bastion.session.wrap import wrap


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_wrap_of_the_help_breaks_no_word(width: int) -> None:
    text = f"{HELP}\n{HELP_KUBECTL}"
    lines = wrap(text, width).split("\n")
    assert all(len(line) <= width for line in lines)
    assert " ".join(lines).split() == text.split()


def test_wrap_continues_a_line_below_its_second_column() -> None:
    assert wrap("  a    one two three four five", 24) == "  a    one two three\n       four five"
    assert wrap("short", 80) == "short"
    assert wrap("x" * 30, 24) == "x" * 30
