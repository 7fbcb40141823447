"""Parses how long a server is to run: `2h30m`, or a time of day like `until 18:00`.

Invariant: pure; a time of day becomes a time with its zone, in RFC 3339, before it leaves this process.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from devctl import validation
from devservers_core.duration import parse_duration
from devservers_core.errors import USAGE, CommandError, InvalidValueError

_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_UNTIL = re.compile(r"until\s+(\S.*)", re.S)
_EXAMPLES = "write it like 2h30m, 1d or 'until 18:00'"
_TIMES = "write a time of day like 18:00, or a whole one like 2026-12-24T18:00:00+01:00"
LAST_YEAR = 2199
"""The API takes no later time."""
COMMANDS = frozenset({"create", "extend", "hold", "update"})
"""Commands that take a time of day."""
_TIME_OPTIONS = ("--time", "--ttl")


@dataclass(frozen=True)
class TimeLimit:
    """A length of time, or a point in time with its zone; one of the two is set."""

    duration: str | None = None
    at: datetime | None = None

    @property
    def seconds(self) -> int:
        """The length of time; 0 for a point in time."""
        return int(parse_duration(self.duration).total_seconds()) if self.duration else 0

    def end(self, start: datetime) -> datetime:
        """The point in time, or the one that lies `duration` after `start`."""
        if self.at is not None:
            return self.at
        try:
            end = start + timedelta(seconds=self.seconds)
        except OverflowError:
            end = datetime.max.replace(tzinfo=UTC)
        if end.year > LAST_YEAR:
            raise validation.refusal(f"{self.duration} from then is beyond the year {LAST_YEAR}", "take less")
        return end


def parse(text: str, flag: str, zone: tzinfo | None, now: datetime) -> TimeLimit:
    """Parse a duration, or `until` and a time. Raises CommandError (refused) for anything else and for the past.

    `zone` is where a time of day counts; None for this machine's.
    """
    after_until = _UNTIL.fullmatch(text.strip())
    if after_until:
        return TimeLimit(at=parse_time(after_until[1], flag, zone, now))
    try:
        parse_duration(text)
    except InvalidValueError:
        raise validation.refusal(f"{flag} {text[:60]!r} is neither a duration nor a time", _EXAMPLES) from None
    return TimeLimit(duration=text)


def parse_time(text: str, flag: str, zone: tzinfo | None, now: datetime) -> datetime:
    """Parse a time of day, the next one that comes, or an RFC 3339 time. Raises CommandError (refused)."""
    text = text.strip()
    if match := _CLOCK.fullmatch(text):
        return _next_time_of_day(int(match[1]), int(match[2]), zone, now)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise validation.refusal(f"{flag} {text[:60]!r} is not a time", _TIMES) from None
    if at.tzinfo is None:
        at = at.replace(tzinfo=zone) if zone else at.astimezone()
    if at <= now:
        raise validation.refusal(f"{flag} {show(at)} is in the past", "give a time that is still to come")
    return at


def _next_time_of_day(hour: int, minute: int, zone: tzinfo | None, now: datetime) -> datetime:
    today = now.astimezone(zone).date()
    for days in range(3):
        naive = datetime.combine(today + timedelta(days=days), datetime.min.time()).replace(hour=hour, minute=minute)
        # Without a zone this machine's rules of that day count, summer time included.
        at = naive.replace(tzinfo=zone) if zone else naive.astimezone()
        if at.astimezone(UTC) > now.astimezone(UTC):
            return at
    raise AssertionError("each time of day comes again within two days")


def one_of(word: str | None, time: str | None, until: str | None, zone: tzinfo | None, now: datetime) -> TimeLimit:
    """The one time that a command line gives: a word, --time or --until. Raises CommandError for none and for two."""
    given = [text for text in (word, time, until) if text]
    if len(given) != 1:
        what = "no time is given" if not given else "more than one time is given"
        raise CommandError(what, "give one: 2h, --time 2h or --until 18:00", USAGE)
    if until:
        return TimeLimit(at=parse_time(until, "--until", zone, now))
    return parse(given[0], "--time" if time else "the time", zone, now)


def show(at: datetime) -> str:
    """A time with its zone: `2026-11-30 18:00 Europe/Berlin`."""
    zone = getattr(at.tzinfo, "key", None) or at.tzname() or "UTC"
    return f"{at:%Y-%m-%d %H:%M} {zone}"


def rfc3339(at: datetime) -> str:
    """A time as the API stores it: UTC, whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def with_zone(arguments: Sequence[str], now: datetime) -> tuple[str, ...]:
    """A command line with each time of day as RFC 3339 in this machine's zone, for another machine.

    What can't be parsed stays as it is: the other machine says so.
    """
    command_line = list(arguments)
    for at, word in enumerate(command_line):
        flag, equals, value = word.partition("=")
        before = command_line[at - 1] if at else ""
        if equals and flag == "--until":
            command_line[at] = f"{flag}={_whole(value, now)}"
        elif equals and flag in _TIME_OPTIONS:
            command_line[at] = f"{flag}={_with_until(value, now)}"
        elif before == "--until":
            command_line[at] = _whole(word, now)
        else:
            command_line[at] = _with_until(word, now)
    return tuple(command_line)


def _with_until(text: str, now: datetime) -> str:
    match = _UNTIL.fullmatch(text.strip())
    return f"until {_whole(match[1], now)}" if match else text


def _whole(text: str, now: datetime) -> str:
    match = _CLOCK.fullmatch(text.strip())
    return _next_time_of_day(int(match[1]), int(match[2]), None, now).isoformat() if match else text
