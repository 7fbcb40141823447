"""Parses and writes durations like 2h30m.

Invariant: a duration is whole days, hours, minutes and seconds, in that order, more than zero in total.

`2h30m`, `1d`, `90m` are durations; `1h1d`, `1.5h`, `0s` and the empty string are not. The digit counts keep
every sum with a date of ours inside what datetime can hold.
"""

from __future__ import annotations

import re
from datetime import timedelta

from devservers_core.errors import InvalidValueError

PATTERN = r"^([0-9]{1,5}d)?([0-9]{1,6}h)?([0-9]{1,8}m)?([0-9]{1,9}s)?$"
"""The syntax as RE2, which the CRD repeats; it alone lets through "" and "0s"."""

HINT = "use days, hours, minutes and seconds like 2h30m or 1d, more than zero"

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_COMPILED = re.compile(PATTERN, re.ASCII)


def parse_duration(text: str) -> timedelta:
    """`2h30m` as a timedelta. Raises InvalidValueError for anything that is not a duration."""
    match = _COMPILED.fullmatch(text)
    if match is None or text.endswith("\n"):
        raise InvalidValueError(f"{text!r} is not a duration; {HINT}")
    seconds = sum(int(part[:-1]) * factor for part, (_, factor) in zip(match.groups(), _UNITS, strict=True) if part)
    if seconds <= 0:
        raise InvalidValueError(f"{text!r} is not a duration; {HINT}")
    return timedelta(seconds=seconds)


def format_duration(length: timedelta) -> str:
    """`2h30m`, as parse_duration reads it; `0s` for less than a second."""
    left, text = int(length.total_seconds()), ""
    for unit, seconds in _UNITS:
        count, left = divmod(left, seconds)
        text += f"{count}{unit}" if count else ""
    return text or "0s"
