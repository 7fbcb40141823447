"""Durations: what is one, what is none, and that writing one and reading it again changes nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devservers_core.duration import format_duration, parse_duration
from devservers_core.errors import InvalidValueError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("90m", 5400),
        ("2h30m", 9000),
        ("1d", 86400),
        ("1d2h3m4s", 93784),
        ("0h1s", 1),
        ("99999d", 8639913600),
    ],
)
def test_parse_duration_of_a_duration_gives_its_seconds(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "0s", "0d0h", "1", "h", "1h1d", "1.5h", "-1h", "1w", "1 h", " 1h", "1h\n", "1H", "100000d", "١h"]
)
def test_parse_duration_of_another_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError, match="is not a duration; use days, hours"):
        parse_duration(text)


@settings(deadline=None)
@given(st.tuples(*(st.integers(0, most) for most in (99998, 23, 59, 59))).filter(any))
def test_parse_duration_of_several_units_is_their_sum(amounts: tuple[int, int, int, int]) -> None:
    text = "".join(f"{amount}{unit}" for amount, unit in zip(amounts, "dhms", strict=True) if amount)
    days, hours, minutes, seconds = amounts
    assert parse_duration(text) == timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.9, "0s"), (59, "59s"), (60, "1m"), (5400, "1h30m"), (86400, "1d"), (90061, "1d1h1m1s")],
)
def test_format_duration_writes_what_parse_duration_reads(seconds: float, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text
    if seconds >= 1:
        assert parse_duration(text) == timedelta(seconds=seconds)
