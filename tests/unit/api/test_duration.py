"""Durations: what is one, what is none, and that writing one and reading it again changes nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devservers.api.duration import format_duration, parse_duration
from devservers.api.errors import InvalidValue


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
def test_parse(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "0s", "0d0h", "1", "h", "1h1d", "1.5h", "-1h", "1w", "1 h", " 1h", "1h\n", "1H", "100000d", "١h"]
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(InvalidValue, match="is not a duration; use days, hours"):
        parse_duration(text)


@settings(deadline=None)
@given(st.integers(1, 99999 * 86400))
def test_round_trip(seconds: int) -> None:
    value = timedelta(seconds=seconds)
    assert parse_duration(format_duration(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(days=1), "1d"),
        (timedelta(minutes=150), "2h30m"),
        (timedelta(seconds=61.9), "1m1s"),
        (timedelta(hours=24, seconds=1), "1d1s"),
    ],
)
def test_format(value: timedelta, text: str) -> None:
    assert format_duration(value) == text


@pytest.mark.parametrize("value", [timedelta(0), timedelta(seconds=-5), timedelta(milliseconds=900)])
def test_nothing_left_to_write(value: timedelta) -> None:
    with pytest.raises(InvalidValue):
        format_duration(value)
