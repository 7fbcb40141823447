"""A recording shown again neither commands nor questions the terminal of who looks at it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devservers_core.sanitizer import TerminalSanitizer


@pytest.mark.parametrize(
    ("piece", "shown"),
    [
        ("häy\r\n\t\a", "häy\r\n\t\a"),
        ("\x1b[1;31mred\x1b[0m\x1b[2J\x1b[3;4H\x1b[?25l", "\x1b[1;31mred\x1b[0m\x1b[2J\x1b[3;4H\x1b[?25l"),
        ("a\x1b]0;title\x07b\x1b]52;c;cm0=\x1b\\c", "abc"),
        ("a\x1bPq\x1b\\b\x1b_x\x1b\\c\x1b^x\x1b\\d\x1bXx\x1b\\e\x1bkx\x1b\\f", "abcdef"),
        ("a\x9d0;t\x9cb\x90x\x9cc\x9b5nd\x85", "abc5nd"),
        ("a\x1b[6nb\x1b[cc\x1b[>qd\x1b[21te\x1b[?1$pf\x1b[5ig\x05h\x7fi", "abcdefghi"),
        ("\x1bcreset\x1bZ\x1b7\x1b8\x1b(B", "reset\x1b7\x1b8\x1b(B"),
        ("a\x1b]0;never ends\nb", "a\nb"),
        ("a\x1b]0;t\x1b[1mb", "a\x1b[1mb"),
    ],
)
def test_sanitizer_shows_text_and_hides_control_sequences(piece: str, shown: str) -> None:
    assert TerminalSanitizer().sanitize(piece) == shown
    sanitizer = TerminalSanitizer()
    assert "".join(sanitizer.sanitize(each) for each in piece) == shown


@given(st.lists(st.text(st.sampled_from("\x1b[]P_^Xk\\;0c?$n\x07\x9b\x9d\x9c\n ab"))))
def test_sanitizer_of_any_pieces_sends_no_control_sequence(pieces: list[str]) -> None:
    sanitizer = TerminalSanitizer()
    shown = "".join(sanitizer.sanitize(each) for each in pieces)
    assert not re.search(r"\x1b[\]P_^XkcZ]|[\x80-\x9f]|\x1b\[[0-?]*[ -/]*[cn]", shown)
