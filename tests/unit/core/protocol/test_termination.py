"""The last lines in a container's termination message, which whoever works in a server may write."""

from __future__ import annotations

import json

import pytest

from devservers_core.protocol.agent.termination import MAX_CHARACTERS, Termination, parse_termination


def test_message_of_the_agent_has_its_lines_and_count() -> None:
    # As images/agent/internal/run/termination.go writes it.
    text = '{"reason":"","lines":["epoch 7","loss \\u003c 1"],"oomKills":2}'
    assert parse_termination(text) == Termination(("epoch 7", "loss < 1"), 2)


def test_end_of_a_log_is_taken_line_by_line() -> None:
    assert parse_termination("epoch 7\nKilled\n") == Termination(("epoch 7", "Killed"))


@pytest.mark.parametrize(
    "text",
    ["\x1b[2J\x07boo", "pay\u202egpj.exe", "a\u200bb", json.dumps({"lines": ["\x1b[2J", "x\r\u2066y", "\ud800"]})],
    ids=["escape", "bidi", "zero width", "json"],
)
def test_lines_have_no_control_or_formatting_characters(text: str) -> None:
    lines = parse_termination(text).lines
    assert lines
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, Termination()),
        (17, Termination()),
        ("", Termination()),
        ("[" * 4096, Termination(("[" * 4096,))),
        ("[1]", Termination(("[1]",))),
        ('{"lines": "x"}', Termination(('{"lines": "x"}',))),
        ('{"lines": ["a", 1, null, ["b"]]}', Termination(("a",))),
        ('{"lines": [], "oomKills": -1}', Termination()),
        ('{"lines": [], "oomKills": true}', Termination()),
        ('{"lines": [], "oomKills": 1e9}', Termination()),
        ('{"lines": [], "oomKills": 10000000}', Termination()),
    ],
)
def test_message_of_another_shape_never_fails(text: object, expected: Termination) -> None:
    assert parse_termination(text) == expected


def test_message_that_is_too_long_is_bounded() -> None:
    assert sum(map(len, parse_termination("x" * 10**6).lines)) == MAX_CHARACTERS
    many = parse_termination("\n".join("ab" for _ in range(1000))).lines
    assert len(many) == 100
