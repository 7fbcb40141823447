"""Reads and writes times: aware UTC inside, RFC 3339 with whole seconds outside.

Invariant: what people write, also in annotations, never is a time whose sums overflow.
"""

from __future__ import annotations

from datetime import UTC, datetime

from devservers_core.times import within_range


def parse_time(text: object) -> datetime | None:
    """An RFC 3339 time with its zone, the nearest within the range of PointInTime, or None."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return within_range(moment).astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def format_time(moment: datetime) -> str:
    """`2026-11-21T12:00:00Z`; a part of a second is cut off."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def whole_seconds(moment: datetime) -> datetime:
    """The moment as a status stores it."""
    return moment.astimezone(UTC).replace(microsecond=0)
